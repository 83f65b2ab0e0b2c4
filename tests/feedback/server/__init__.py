"""Tests of the server and its door."""
