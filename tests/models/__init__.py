"""Tests of what is estimated."""
