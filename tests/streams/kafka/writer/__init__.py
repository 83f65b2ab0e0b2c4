"""Tests of what is written to Kafka."""
