"""Deciders: reconciling, and the runner."""
