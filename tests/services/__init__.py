"""What tests and benchmarks start: brokers, databases, an object store, a collector's double, deployments."""
