"""Datasets: labels as immutable, versioned releases that training can trust.

Nothing heavy is imported before it is needed: what others import, inside commands and handlers, is

- `feedback.datasets.shelf.address`: `shelf_of`, the shelf at a folder or on an object store, where
  releases lie
- `feedback.datasets.shelf.port`: `Shelf`, its port, and `FileBody`, a file that is handed out
- `feedback.datasets.release`: `release`: cut, judge and publish a version; `wanted`,
  `Published`
- `feedback.datasets.announce`: `ReleaseAnnouncer`, the decider that finds what was published and
  is not in the log yet; `announce`, `unannounced`: one look of it
- `feedback.datasets.catalogue`: `datasets`, `datasets_of`, `list_releases`, `show`: what has
  been released
- `feedback.datasets.diff`: `diff`, what changed from one version to another
- `feedback.datasets.lineage`: `releases_with`, the versions that a feedback event is in
- `feedback.datasets.names`: `parse_name`, `is_model`, `is_version`, `MANIFEST`: what may become
  a folder's name
- `feedback.datasets.pages`: `put_pages`, the pages above releases
- `feedback.datasets.errors`: `BadRequest`, `EventRefused`, `NotAnnounced`, `ShelfUnreachable`,
  which others tell apart

A release is called `MODEL@N` and lies in `MODEL/N/` of its shelf; one that failed its gate is kept aside in
`MODEL/failed/`.
"""
