"""How events move: collector, block log, processors, store, dead letters and replay.

The ingest path lives here, so nothing heavy is imported: no pandas, no scikit-learn, no Great Expectations.
What the events mean is left to `schemas`, what is estimated from them to `models`, and what comes back to
people to `feedback`.
"""
