"""The distributed rows: Kafka, Faust and PostgreSQL, against peers that read the same events."""
