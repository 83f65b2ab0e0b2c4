"""A validator of JSON Schema 2020-12 whose work is counted.

Whoever declares an output and whoever corrects it are not trusted with the worker's time: a schema is read in
time linear in its size, a value is checked in steps that are counted, and both end with a verdict when there
are too many. Steps, never a clock: every engine and every replay comes to the same one. `compiler` reads
schemas, `keywords` says what each word of one means; patterns are RE2's, numbers are compared as decimals.
"""
