"""Tests of loading releases."""
