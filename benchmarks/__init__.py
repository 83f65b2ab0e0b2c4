"""Benchmarks: what the loop costs, side by side with peers and with the limit. Run with `make bench`."""
