"""The log: a sequence of blocks per partition, kept whole; the truth that every view is derived from.

What other rooms import:

- `streams.log.port`: `Log`, `LogWriter`, `LogIdentity`, `Positions`, `DEAD`, `ends_with`,
  `format_positions`, `parse_positions`, and its errors `LogRefused`, `LogDenied`,
  `LogUnavailable`, `MalformedPosition`
- `streams.log.block`: `read_block`, the items of a record
- `streams.log.sqlite`: `SqliteLog`, `create_log`: the log of a home
"""
