"""Tests of where releases lie."""
