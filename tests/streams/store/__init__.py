"""Tests of the store, on every adapter."""
