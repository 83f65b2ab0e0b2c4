"""Bad days of many machines: real brokers, a real PostgreSQL, real processes, and exact counts."""
