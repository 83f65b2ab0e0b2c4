"""A worker of the consumer group, which keeps the store caught up with the log."""
