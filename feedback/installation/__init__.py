"""Where a log, its views and its releases lie: a home on this machine, or a cluster."""
