"""Reading: pure functions from a snapshot of the views, and the log behind it, to what is shown.

What other rooms import:

- `streams.queries.counts`: `counts`, `TOKEN`: how much was said, by anything
- `streams.queries.dead_letters`: `dead_letters`, `recent_dead_letters`, `set_aside_count`,
  `settled_counts`, `TOKEN`
- `streams.queries.feedback`: `feedback`, one event's timeline, and `Lineage`, `no_lineage`, its
  releases
- `streams.queries.feedback_list`: `feedback_list`, `FeedbackFilter`, `TOKEN`: what people said,
  newest first
- `streams.queries.freshness`: `freshness`, `reached`, `lag`, `MATURITY_DAYS`: how far the views
  have come
- `streams.queries.labels`: `labels`, `override`, `refused`, `TOKEN`
- `streams.queries.models`: `model`, `models`, `TOKEN`
- `streams.queries.payloads`: `Payloads`, `latest`: events as they were sent
- `streams.queries.outcomes`: `outcomes`, `TOKEN`, `WINDOW_DAYS`
- `streams.queries.pages`: `Page`, `listing`, `token`, `parse_token`, `Int64`, and its error
  `MalformedToken`
- `streams.queries.parked`: `parked`, what waits, in groups
- `streams.queries.prediction_list`: `prediction_list`, `PredictionFilter`, `TOKEN`:
  predictions, newest first
- `streams.queries.predictions`: `prediction`, all about one, with `MOST_FEEDBACK`, `TOKEN`
- `streams.queries.votes`: `all_candidates`, the votes behind a label
- `streams.queries.waiting`: `waiting`, `waiting_count`, `TOKEN`: what is parked, and for what
"""
