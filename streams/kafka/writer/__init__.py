"""What is written to the log on Kafka, and when it is acknowledged."""
