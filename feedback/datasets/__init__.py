"""Datasets: labels as immutable, versioned releases that training can trust.

Nothing heavy is imported before it is needed; import from the modules, inside commands and handlers:

- `shelves.shelf_of(address)`: the `Shelf` at a folder or on an object store, where releases lie;
- `release.release(...) -> Published`: cut, judge and publish a version;
- `announce.announce(...)`: `dataset.released` for what was published and is not in the log yet (after a
  crash, or while the server was away);
- `catalogue`: what has been released, and the manifest of each;
- `diff.diff(shelf, "m@1", "m@2") -> Diff`;
- `lineage`: which versions a feedback event is in, which events are behind a version, and what a model was
  trained on;
- `errors`: why a release is refused; `errors.GateFailed` names the expectations that failed.

A release is called `MODEL@N` and lies in `MODEL/N/` of its shelf; one that failed its gate is kept aside in
`MODEL/failed/`.
"""
