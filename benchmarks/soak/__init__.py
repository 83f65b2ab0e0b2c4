"""A soak: real servers under a mixed load for any time, and whether anything of them grows.

    python -m benchmarks.soak --minutes 10

`judging` says what growth is, `sampling` reads what processes hold, `load` is the product, `embedded` and
`cluster` are the servers, `running` is the plan of a run.
"""
