"""How events move: collector, block log, processors, store, dead letters and replay.

The ingest path lives here, so nothing heavy is imported: no pandas, no scikit-learn, no Great Expectations.
What the events mean is left to `schemas`, what is estimated from them to `models`, and what comes back to
people to `feedback`.

What other rooms import, here and in the packages below; nothing else of this room is theirs:

- `streams.ingest.http`: `Collector`, the application behind `POST /v1/events`
- `streams.ingest.recorder`: `Recorder`, from judged events to the log
- `streams.log.writer`: `Appender`, the one writer of an embedded log
- `streams.ingest.receipts`: `Receipts`, what was received here and is not settled yet
- `streams.ingest.asgi`: `Scope`, `Receive`, `Send`, `PROBLEM_TYPE`, `problem_body`, `send_problem`:
  bare ASGI
- `streams.ingest.split`: `split_array`, `CannotSplit`: an array cut into items by bytes
- `streams.ingest.replay`: `ReplayItem`, `parse_name`, `marked`, `by_content`,
  `NotAnObject`: putting refused items back
- `streams.projection.apply`: `advance`, `check`, `OtherViews`: a store moved forward along its log
- `streams.projection.rebuild`: `rebuild`, `verify`, `Progress`: the views built anew, and compared
- `streams.projection.follow`: `Worker`, which follows an embedded log
- `streams.fold.declarations`: `serving`, which declaration serves a version
- `streams.metrics`: `Metrics`, what a server counts and times
- `streams.clocks`: `ClockWatch`, `TOLERANCE_S`, `since_start`: this machine's clock against
  others
- `streams.stillness`: `Stillness`, `while_others_did`: which partitions stand still
- `streams.gc_pause`: `without_cycle_collection`, for work without reference cycles
- `streams.crash_points`: `reached`, the numbered steps at which crash tests stop
- `streams.daemon_pool`: `DaemonPool`, `Unanswered`, `each`, `start_daemon`: threads that keep no
  process from ending
- `streams.sqlite.connections`: `translated`, what SQLite says as an error of a port
"""
