"""Tests of how events reach the server."""
