"""Where releases lie: a folder, or an object store."""
