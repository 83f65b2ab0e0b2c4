"""Tests of homes and clusters."""
