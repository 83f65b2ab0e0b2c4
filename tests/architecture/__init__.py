"""Checks on the code itself: which way the rooms lean, how long things are, what may not be in it."""
