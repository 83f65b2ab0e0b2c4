"""Tests of dataset releases: rows, splits, gate, files, lineage."""
