"""Engines: what drives the processors along the log."""
