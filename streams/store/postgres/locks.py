"""The advisory locks of a database, as pairs of numbers: what is locked, and which one of these."""

from __future__ import annotations

MIGRATING = 0x4C6F6F70
"""With 0: the catalogue's schema and its list of stores are being changed."""

BUILDING = MIGRATING + 1
"""With 0: a store is being built by one process alone. Held by its session."""

DECLARING = MIGRATING + 2
"""With a store's number: shared by its transactions, taken alone by one that declares."""

DECIDING = MIGRATING + 3
"""With 0: deciders run in one process alone. Held by its session."""
