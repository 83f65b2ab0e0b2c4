"""A real Kafka broker for the tests and the benchmarks."""
