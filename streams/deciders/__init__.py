"""What decides: deciders compare what should be with what the log says was decided, and send the difference.

What other rooms import:

- `streams.deciders.port`: `Decider`, a rule that decides, `Decision`, the event that it demands, with an id
  of rule, subject and cause; `Send`, `NotSent`, `DecisionRefused`: how its event comes into the log;
  `in_model_events`, which decisions about models the views have
- `streams.deciders.reconcile`: `reconcile`, one look of one decider, in numbered steps; `difference`
- `streams.deciders.runner`: `Runner`, which runs deciders beside an engine, on threads named
  `THREAD`, and `Turn`, the right to

A view is folded from the log and can be made anew; a decision is an event in the log. So nothing that
replays, rebuilds or verifies views comes here. The deciders of the product lie where their subject does, and
the composition root says which of them run.
"""
