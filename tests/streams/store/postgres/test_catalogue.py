"""The catalogue: migrations, and which store is current while others are built beside it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from streams.log.port import LogIdentity
from streams.store.port import StoreReplaced, StoreUnavailable, StoreUnreadable
from streams.store.postgres import (
    BuilderElsewhere,
    PostgresStore,
    PostgresStores,
)
from streams.store.postgres.catalogue import Entry
from streams.store.postgres.migrations import MIGRATIONS, migrate
from streams.store.tables import CASES, VIEWS_VERSION
from streams.views.registry import TABLES
from tests.services.postgres import PostgresServer
from tests.streams.store.postgres.working import Working
from tests.streams.store.rows import case
from tests.streams.store.storing import IDENTITY, everything, put

pytestmark = pytest.mark.postgres

NEXT = VIEWS_VERSION + 1


class Closing(PostgresStores):
    """A catalogue that closes with itself the stores that it gave."""

    def __init__(self, dsn: str) -> None:
        self.given: list[PostgresStore] = []
        super().__init__(dsn, TABLES)

    def opened(self, entry: Entry) -> PostgresStore:
        self.given.append(super().opened(entry))
        return self.given[-1]

    def close(self) -> None:
        for store in self.given:
            store.close()
        super().close()


@pytest.fixture
def stores(postgres_url: str) -> Iterator[PostgresStores]:
    """A catalogue of its own for each test."""
    stores = Closing(postgres_url)
    yield stores
    stores.close()


def test_processes_that_start_at_once_make_one_catalogue(postgres_url: str) -> None:
    """However many come first at the same time, each migration runs once, and all work in one store."""

    def start() -> int:
        stores = PostgresStores(postgres_url, TABLES)
        store = stores.for_work(IDENTITY)
        store.close()
        stores.close()
        return store.number

    workers = [Working(start) for _ in range(6)]
    assert {worker.result() for worker in workers} == {1}
    with psycopg.connect(postgres_url) as connection:
        numbers = connection.execute("SELECT number FROM loopline.migrations ORDER BY 1").fetchall()
    assert numbers == [(number + 1,) for number in range(len(MIGRATIONS))]


def test_later_migrations_run_once_and_whole(stores: PostgresStores) -> None:
    """A new version's migrations follow the old ones; one that fails leaves the catalogue as it was."""
    more = (*MIGRATIONS, "ALTER TABLE loopline.stores ADD COLUMN note text")
    with stores.connections.borrowed() as connection:
        assert migrate(connection, "here", MIGRATIONS) == 0
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(connection, "here", (*more, "SELECT 1 / 0"))
        assert migrate(connection, "here", more) == 1
        assert migrate(connection, "here", more) == 0
        connection.execute("SELECT note FROM loopline.stores")


def test_a_newer_catalogue_is_refused(stores: PostgresStores, postgres_url: str) -> None:
    """Where a newer version was, this one does nothing, and says so."""
    with stores.connections.borrowed() as connection:
        connection.execute("INSERT INTO loopline.migrations (number) VALUES (99)")
    with pytest.raises(StoreUnreadable, match="newer version of Loopline"):
        PostgresStores(postgres_url, TABLES)


def test_the_first_store_is_current_at_once(stores: PostgresStores) -> None:
    """Where nothing can be read anyway, readers need not wait for the first store to catch up."""
    assert stores.current() is None
    store = stores.for_work(IDENTITY)
    found = stores.current()
    assert found is not None
    assert (found.number, found.log, found.views_version) == (store.number, IDENTITY, VIEWS_VERSION)
    assert stores.is_current(store)


def test_a_new_version_is_built_beside_the_old_one(stores: PostgresStores, postgres_url: str) -> None:
    """Workers of a new version share one store, current once it is switched to; the old work on."""
    old = stores.for_work(IDENTITY)
    new = stores.for_work(IDENTITY, NEXT)
    assert stores.for_work(IDENTITY, NEXT).number == new.number != old.number
    assert stores.current(NEXT) is None
    put(new, CASES, [case(b"k", b"new")])
    put(old, CASES, [case(b"k", b"old")])
    stores.switch(new)
    stores.switch(new)
    assert stores.is_current(new)
    assert stores.is_current(old)
    put(old, CASES, [case(b"k", b"old")])
    assert stores.drop_stale(3600) == []
    assert stores.drop_stale(-1) == [old.number]
    with pytest.raises(StoreReplaced):
        put(old, CASES, [])
    assert everything(new, CASES) == [case(b"k", b"new")]
    with psycopg.connect(postgres_url) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'loopline_views%'")
        assert schemas.fetchall() == [(f"loopline_views_{NEXT}_{new.number}",)]


def test_a_replaced_store_is_noticed(stores: PostgresStores) -> None:
    """After a switch, who comes to the old store is told to open the new one; who is in it goes on."""
    old = stores.for_work(IDENTITY)
    put(old, CASES, [case(b"k", b"1")])
    new = stores.new_store(IDENTITY)
    with old.snapshot() as before, old.transaction([1]) as working:
        stores.switch(new)
        assert before.count(CASES) == 1
        working.put(CASES, [case(b"k", b"2")])
    with pytest.raises(StoreReplaced, match="replaced"), old.transaction([0]):
        pass
    with pytest.raises(StoreReplaced, match="replaced"), old.snapshot():
        pass
    assert stores.for_work(IDENTITY).number == new.number
    assert everything(new, CASES) == []


def test_a_store_that_is_read_is_dropped_later(stores: PostgresStores) -> None:
    """Who still reads a store out of use is not disturbed, and holds nobody up."""
    old = stores.for_work(IDENTITY)
    put(old, CASES, [case(b"k", b"1")])
    with old.snapshot() as reading:
        assert reading.count(CASES) == 1
        stores.switch(stores.new_store(IDENTITY))
        assert stores.drop_stale(-1) == []
        assert reading.count(CASES) == 1
    assert stores.drop_stale(-1) == [old.number]


def test_two_builders_are_one_too_many(stores: PostgresStores, postgres_url: str) -> None:
    """While one process builds a store, another is refused; workers and readers leave that store alone."""
    old = stores.for_work(IDENTITY)
    building = stores.new_store(IDENTITY)
    assert stores.for_work(IDENTITY).number == old.number
    others = PostgresStores(postgres_url, TABLES)
    with pytest.raises(BuilderElsewhere):
        others.new_store(IDENTITY)
    with pytest.raises(BuilderElsewhere):
        stores.new_store(IDENTITY)
    stores.abandon(building)
    assert [entry.number for entry in stores.entries()] == [old.number]
    stores.switch(others.new_store(IDENTITY))
    assert not stores.is_current(old)
    others.close()


def test_what_a_dead_builder_left_is_dropped(stores: PostgresStores, postgres_url: str) -> None:
    """A builder that vanished holds nobody up, and what it had built goes."""
    others = PostgresStores(postgres_url, TABLES)
    left = others.new_store(IDENTITY)
    others.close()
    new = stores.new_store(IDENTITY)
    assert left.number not in [entry.number for entry in stores.entries()]
    stores.switch(new)
    with pytest.raises(StoreReplaced):
        stores.switch(left)


def test_an_epoch_is_entered_forward_only(stores: PostgresStores) -> None:
    """The store writes down the epochs of its log; an older one, or another log, changes nothing."""
    store = stores.for_work(IDENTITY)
    second = LogIdentity(IDENTITY.id, 2, 4, (2,))
    stores.enter(store, second)
    assert store.log == second
    others = [LogIdentity("another", 3, 1, (2, 4)), *(LogIdentity(IDENTITY.id, 3, 1, (2, n)) for n in (1, 3))]
    for other in (IDENTITY, *others, LogIdentity(IDENTITY.id, 3, 1, (3, 4))):
        stores.enter(store, other)
        assert store.log == second
    found = stores.current()
    assert found is not None
    assert found.log == second
    put(found, CASES, [])
    with found.transaction([5]) as transaction:
        assert transaction.shard == 5


def test_an_epoch_may_have_grown_before_it_was_sealed(stores: PostgresStores) -> None:
    """Partitions that were added to the last known epoch are written down with the one that sealed it."""
    store = stores.for_work(IDENTITY)
    grown = LogIdentity(IDENTITY.id, 2, 4, (3,))
    stores.enter(store, grown)
    assert store.log == grown


@pytest.mark.parametrize(
    "address", ["postgresql://u:hush@127.0.0.1:1/x", "postgresql://u:hu sh@h:1/x", "host=h password='hush"]
)
def test_no_message_shows_the_password(address: str) -> None:
    """An address that cannot be reached, or read, is named without its password."""
    with pytest.raises((StoreUnavailable, StoreUnreadable)) as raised:
        PostgresStores(address, TABLES)
    shown = str(raised.value)
    assert "hush" not in shown
    assert "hu sh" not in shown
    assert "try again" in shown or "looks like" in shown


@pytest.mark.parametrize("crash", [False, True])
def test_a_store_lives_through_a_restart(own_server: PostgresServer, crash: bool) -> None:
    """While the server is away a store is unavailable; when it is back, the same object works again."""
    stores = PostgresStores(own_server.fresh_database(), TABLES)
    store = stores.for_work(IDENTITY)
    put(store, CASES, [case(b"k", b"1")])

    def cut_off() -> None:
        with store.transaction([0]) as transaction:
            transaction.put(CASES, [case(b"k", b"2")])
            # Commits do not wait for the disk, and this one is meant to be there after a crash.
            with psycopg.connect(own_server.url, autocommit=True) as connection:
                connection.execute("CHECKPOINT")
            own_server.stop(crash=crash)
            transaction.put(CASES, [case(b"k", b"3")])

    with pytest.raises(StoreUnavailable):
        cut_off()
    with pytest.raises(StoreUnavailable, match="try again"):
        everything(store, CASES)
    with pytest.raises(StoreUnavailable, match="Nothing is lost"):
        stores.current()
    own_server.start()
    assert everything(store, CASES) == [case(b"k", b"1")]
    put(store, CASES, [case(b"k", b"2")])
    assert stores.is_current(store)
    store.close()
    stores.close()


def test_a_connection_that_the_server_ended_is_replaced(store: PostgresStore, postgres_address: str) -> None:
    """Idle connections that were ended are not handed out again."""
    put(store, CASES, [case(b"k", b"1")])
    with psycopg.connect(postgres_address, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loopline'"
        )
    assert everything(store, CASES) == [case(b"k", b"1")]
    put(store, CASES, [case(b"k", b"2")])
