"""Tests of the pages that people open."""
