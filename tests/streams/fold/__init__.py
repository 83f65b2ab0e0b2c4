"""Tests of the fold, rule by rule and against the slow reference."""
