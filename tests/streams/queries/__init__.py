"""Tests of what is read from views."""
