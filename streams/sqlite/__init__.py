"""What the log and the store on SQLite files have in common."""
