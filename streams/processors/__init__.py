"""Processors: pure rules from events and state to what the views say now. No clock, no I/O, no random id."""
