"""The contract of every store, on PostgreSQL."""

from __future__ import annotations

import pytest

from tests.streams.store.store_contract import StoreContract

pytestmark = pytest.mark.postgres


class TestPostgresStore(StoreContract):
    """A store of a fresh database each time."""
