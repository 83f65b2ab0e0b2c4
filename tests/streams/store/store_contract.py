"""What every store does, whatever it is made of: one class that each adapter's tests inherit."""

from __future__ import annotations

from tests.streams.store.store_rows import RowsContract
from tests.streams.store.store_transactions import TransactionsContract


class StoreContract(RowsContract, TransactionsContract):
    """Inherit, and give a fixture `store` with an empty store of `IDENTITY`, open for writing."""
