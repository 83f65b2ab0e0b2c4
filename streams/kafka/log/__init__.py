"""The log on Kafka, as its readers see it."""
