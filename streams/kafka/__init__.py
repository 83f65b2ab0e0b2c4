"""Apache Kafka behind the ports: the one folder that may import its clients."""
