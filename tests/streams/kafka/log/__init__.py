"""Tests of the log on Kafka."""
