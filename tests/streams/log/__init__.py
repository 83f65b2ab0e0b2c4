"""Tests of the log, on every adapter."""
