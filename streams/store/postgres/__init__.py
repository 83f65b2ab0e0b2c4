"""The store in PostgreSQL: views that several workers move forward at the same time.

What other rooms import:

- `streams.store.postgres`: `PostgresStores`, the catalogue of a database's stores, and
  `PostgresStore`, one of them
- `streams.store.postgres.store`: `schema_of`, where one lies
"""

from __future__ import annotations

from streams.store.postgres.catalogue import PostgresStores
from streams.store.postgres.errors import BuilderElsewhere
from streams.store.postgres.store import PostgresStore

__all__ = [
    "BuilderElsewhere",
    "PostgresStore",
    "PostgresStores",
]
