"""The log: a sequence of blocks per partition, kept whole; the truth that every view is derived from."""
