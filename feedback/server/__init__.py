"""The HTTP server: one application behind one door."""
