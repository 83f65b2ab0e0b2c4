"""The store in PostgreSQL: views that several workers move forward at the same time.

`PostgresStores` is the catalogue of a database's stores, `PostgresStore` one of them.
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
