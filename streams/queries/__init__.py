"""Reading: pure functions from a snapshot of the views, and the log behind it, to what is shown."""
