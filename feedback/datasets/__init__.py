"""Datasets: labels as immutable, versioned releases that training can trust.

Nothing heavy is imported before it is needed; import from the modules, inside commands and handlers:

- `release.release(log, store, folder, model, *, as_of, since, model_version, segment, env, allow, wait,
  scratch, emit, now, progress) -> Published`: cut, judge and publish a version;
- `announce.announce(snapshot, folder, emit, model=None) -> list[str]`: `dataset.released` for what was
  published and is not in the log yet (after a crash, or while the server was away);
- `catalogue.models(folder)`, `catalogue.versions(folder, model)`,
  `catalogue.list_releases(folder, model=None)`, `catalogue.show(folder, name) -> manifest`,
  `catalogue.file_path(folder, model, version, name)`, `catalogue.parse_name("m@3")`;
- `diff.diff(folder, "m@1", "m@2") -> Diff`;
- `lineage.versions_with(folder, model, source, id) -> list[int]`, and back:
  `lineage.events_behind(folder, "m@3")`, `lineage.trained_on(snapshot, model, model_version)`;
- errors: `errors.DatasetError` is the root; `errors.GateFailed` names the expectations that failed.

`folder` is the home's `datasets`. A release lies in `folder/MODEL/N/`; one that failed its gate is kept
aside in `folder/MODEL/failed/`.
"""
