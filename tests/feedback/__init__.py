"""Tests of what comes back: datasets, page, command line, demo."""
