"""The store, moved forward along the log: applied exactly once, rebuilt, followed."""
