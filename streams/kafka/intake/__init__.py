"""The intake topic as a way in."""
