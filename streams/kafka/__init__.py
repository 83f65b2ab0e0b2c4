"""Apache Kafka behind the ports: the one folder that may import its clients.

What other rooms import:

- `streams.kafka.address`: `Address`, where the brokers are
- `streams.kafka.security`: `Security`, `PROTOCOLS`, `MECHANISMS`, `derived_protocol`: how they
  are reached
- `streams.kafka.connect`: `admin`, `look_up`: a connection for commands, and which log is
  there
- `streams.kafka.topics.admin`: `Topics`, `ensure`, `show`, `newest_appends`, `UnsafeTopics`: the
  topics made and checked
- `streams.kafka.topics.policy`: `Topic`, `TopicFinding`, `UNSAFE`, `NOTE`, `SEALED`, `as_remembered`: what
  is wrong with them
- `streams.kafka.log.reader`: `KafkaLog`, `PATIENCE_S`: the log to read from
- `streams.kafka.writer.writer`: `KafkaAppender`, `APPEND_S`: the log to append to
- `streams.kafka.intake.consumer`: `Intake`, the intake topic as a way in
- `streams.kafka.worker.engine`: `Engine`, `EngineStuck`: a worker of the group
- `streams.kafka.worker.progress`: `WorkerProgress`, how far a worker has come
- `streams.kafka.worker.health`: `Health`, a worker's `/healthz`, `/readyz` and `/metrics`
"""
