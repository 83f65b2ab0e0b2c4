"""Releases on an object store, against moto's S3 on this machine."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from feedback.datasets.catalogue import list_releases, show
from feedback.datasets.errors import BadRequest, ClaimTooOld, PublishingUnsure, ShelfUnreachable
from feedback.datasets.shelf.address import shelf_of
from feedback.datasets.shelf.bucket import Objects, objects_at
from feedback.datasets.shelf.claims import TIMES, Claims
from feedback.datasets.shelf.objects import ObjectShelf
from loopline.backoff import RetryPolicy
from tests.feedback.datasets.shelf.shelf_contract import ShelfContract, contents, made, publish
from tests.feedback.datasets.world import MODEL
from tests.services.kafka.secured import certificates, openssl_is_here
from tests.services.s3 import BUCKET, S3, connection, s3_over_tls, s3_server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """One server for all tests here; each has a prefix of its own."""
    with s3_server() as server:
        yield server


@pytest.fixture
def where(s3: S3) -> str:
    """A prefix of a bucket, at which nothing lies yet."""
    return s3.uri(f"home/{uuid4().hex}")


def seen(where: str, **times: Any) -> ObjectShelf:
    """The shelf, with fresh eyes; its claims are good for other times, where some are given."""
    shelf = shelf_of(where)
    assert isinstance(shelf, ObjectShelf)
    return ObjectShelf(shelf.objects, TIMES._replace(**times)) if times else shelf


def paths(where: str) -> set[str]:
    """All objects of the model, by their paths below it."""
    entries = seen(where).objects.listed(MODEL, deep=True)
    return {entry.path.partition(f"/{MODEL}/")[2] for entry in entries if entry.is_file}


class TestObjects(ShelfContract):
    """The contract, on S3."""

    @pytest.fixture
    def where(self, s3: S3) -> str:
        """A prefix of a bucket."""
        return s3.uri(f"contract/{uuid4().hex}")


# ------------------------------------------------------------------------------------- killed on the way

PUBLISH = """
import os, signal, sys
from feedback.datasets.shelf import objects
from feedback.datasets.shelf.address import shelf_of
from tests.feedback.datasets.shelf.shelf_contract import publish

left = int(sys.argv[3])

def reached(step):
    global left
    left -= step == sys.argv[2]
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

objects.reached = reached
for _ in range(int(sys.argv[4])):
    publish(shelf_of(sys.argv[1]))
"""


def publishing(where: str, crash_at: str = "", passing: int = 1, times: int = 1) -> subprocess.Popen[bytes]:
    """A process that publishes so many releases, or is killed when it passes a step."""
    words = [sys.executable, "-c", PUBLISH, where, crash_at, str(passing), str(times)]
    return subprocess.Popen(words, cwd=Path(__file__).parents[4])


@pytest.mark.crash
@pytest.mark.parametrize(
    "step, left, there",
    [
        ("objects.2", set(), []),
        ("objects.3", {"1/train.parquet"}, []),
        ("objects.4", {"1/train.parquet", "1/manifest.json"}, [1]),
        ("objects.5", {"1/train.parquet", "1/manifest.json"}, [1]),
    ],
)
def test_a_killed_release_is_not_there_or_is_there_whole(
    where: str, step: str, left: set[str], there: list[int]
) -> None:
    """At every step; the next release takes another number, and nothing of the dead one is in it."""
    assert publishing(where, step).wait(60) == -signal.SIGKILL
    assert seen(where).versions(MODEL) == there
    assert {path for path in paths(where) if not path.startswith(".claims")} == left
    if not there:
        with pytest.raises(FileNotFoundError):
            seen(where).body(MODEL, 1, "train.parquet")
    assert publish(seen(where), b"later") == 2
    assert seen(where).versions(MODEL) == [*there, 2]
    assert seen(where).read(MODEL, 2, "train.parquet") == b"later"


@pytest.mark.crash
def test_processes_that_release_at_once_get_numbers_without_gaps(where: str) -> None:
    """Three processes, four releases each: twelve versions, and no claim is left."""
    processes = [publishing(where, times=4) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert seen(where).versions(MODEL) == list(range(1, 13))
    assert not [path for path in paths(where) if path.startswith(".claims")]


def test_the_files_of_a_dead_release_are_removed_after_a_day(where: str) -> None:
    """Not before, for it may be slow; its claim stays, so that its number is never written to again."""
    objects = seen(where).objects
    objects.write(f"{MODEL}/.claims/1-dead", b"{}")
    objects.write(f"{MODEL}/1/train.parquet", b"half")
    assert publish(seen(where)) == 2
    assert "1/train.parquet" in paths(where)
    assert publish(seen(where, swept_after=timedelta(seconds=-1))) == 3
    assert paths(where) == {".claims/1-dead"} | {
        f"{n}/{name}" for n in (2, 3) for name in ("train.parquet", "manifest.json")
    }


# ------------------------------------------------------------------------------------------------ claims


def test_of_two_who_claim_a_number_never_both_have_it(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second writes its claim between the first one's claim and its look: at most one stays."""
    soon = RetryPolicy(first_s=0.002, longest_s=0.002, jitter=1.0)
    first, second = (Claims(seen(where), MODEL, retry=soon, look_s=0.001) for _ in range(2))
    write, taken = Objects.write, []

    def both(self: Objects, path: str, content: bytes) -> None:
        write(self, path, content)
        monkeypatch.setattr(Objects, "write", write)
        taken.append(second.take())

    monkeypatch.setattr(Objects, "write", both)
    taken.append(first.take())
    assert len(set(taken)) == 2


def test_a_number_that_was_published_meanwhile_is_not_taken(where: str) -> None:
    """The other one's claim is gone by then: the manifest keeps the number."""

    class Overtaken(ObjectShelf):
        """A shelf to which somebody publishes right after a look at its versions."""

        published_meanwhile: int | None = None

        def versions(self, model: str) -> list[int]:
            found = super().versions(model)
            if self.published_meanwhile is None:
                self.published_meanwhile = publish(seen(where))
            return found

    shelf = Overtaken(seen(where).objects)
    assert Claims(shelf, MODEL).take() == 2
    assert shelf.published_meanwhile == 1


def test_a_claim_that_is_too_old_publishes_nothing(where: str) -> None:
    """Its files may have been cleaned up by then."""
    with pytest.raises(ClaimTooOld, match="reader@1 was not published"):
        publish(seen(where, good_for_s=-1.0))
    assert seen(where).versions(MODEL) == []
    assert publish(seen(where)) == 2


# ---------------------------------------------------------------------------------------- writes that fail


def lose(monkeypatch: pytest.MonkeyPatch, name: str, arrives: bool) -> None:
    """Lose the answer to the write of a file, and perhaps the write too."""
    for kind in ("write", "upload"):
        original = getattr(Objects, kind)

        def lost(self: Objects, *given: object, original: object = original) -> None:
            if not any(str(each).endswith(name) for each in given):
                return original(self, *given)  # type: ignore[operator,no-any-return]
            if arrives:
                original(self, *given)  # type: ignore[operator]
            raise ShelfUnreachable("the answer was lost")

        monkeypatch.setattr(Objects, kind, lost)


@pytest.mark.parametrize("arrives", [True, False])
def test_a_file_whose_write_failed_is_never_written_by_another(
    where: str, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    """It may still arrive, so the number is not given back."""
    with monkeypatch.context() as patched:
        lose(patched, "train.parquet", arrives)
        with pytest.raises(ShelfUnreachable):
            publish(seen(where))
    assert seen(where).versions(MODEL) == []
    assert publish(seen(where)) == 2


def test_a_manifest_whose_answer_was_lost_is_looked_for(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there: the release is published."""
    lose(monkeypatch, "manifest.json", arrives=True)
    assert publish(seen(where)) == 1
    assert seen(where).versions(MODEL) == [1]


def test_a_manifest_that_cannot_be_found_leaves_it_open(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that nobody can know, and what to do; the number is nobody else's."""
    with monkeypatch.context() as patched:
        lose(patched, "manifest.json", arrives=False)
        with pytest.raises(PublishingUnsure, match="dataset list"):
            publish(seen(where))
    assert publish(seen(where)) == 2


# ------------------------------------------------------------------------------------------- many, and away


def test_more_objects_than_a_page_holds(s3: S3) -> None:
    """A listing goes on behind the first thousand."""
    prefix = f"many/{uuid4().hex}"
    objects = seen(s3.uri(prefix)).objects
    objects.write(f"{MODEL}/1/a", b"{}")
    for number in range(1, 340):
        for name in ("a", "b", "manifest.json"):
            s3.put(f"{prefix}/{MODEL}/{number}/{name}", b"{}")
    assert seen(s3.uri(prefix)).versions(MODEL) == list(range(1, 340))
    assert len(objects.listed(MODEL)) == 339


def test_what_was_seen_is_not_looked_for_again(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list costs a request for the models, one for each model, and nothing for releases that are known."""
    for _ in range(3):
        publish(seen(where))
    shelf = seen(where)
    shelf.versions(MODEL)
    asked: list[str] = []
    for kind in ("listed", "described"):
        original = getattr(Objects, kind)

        def counted(self: Objects, what: object, original: object = original, **options: object) -> object:
            asked.append(str(what))
            return original(self, what, **options)  # type: ignore[operator]

        monkeypatch.setattr(Objects, kind, counted)
    shelf.models()
    shelf.versions(MODEL)
    assert asked == ["", MODEL, "[]"] or asked == ["", MODEL]


def away() -> tuple[socket.socket, str]:
    """An address at which somebody listens and never answers."""
    silent = socket.create_server(("127.0.0.1", 0))
    host, port = silent.getsockname()
    return silent, f"s3://releases/x?{connection(host, port)}"


def test_a_store_that_is_away_is_named_at_once(s3: S3) -> None:
    """Nothing listens: a refusal that says what to look at, without a password or key in it."""
    silent, where = away()
    silent.close()
    started = time.monotonic()
    with pytest.raises(ShelfUnreachable, match=r"s3://releases/x cannot be reached.*endpoint_override"):
        list_releases(shelf_of(where.replace("//", "//key:hidden@", 1)))
    assert time.monotonic() - started < 10


def test_a_store_that_never_answers_is_given_up(s3: S3) -> None:
    """It is away too, after seconds and not minutes."""
    silent, where = away()
    with silent:
        started = time.monotonic()
        with pytest.raises(ShelfUnreachable, match="cannot be reached"):
            shelf_of(where).versions(MODEL)
        assert time.monotonic() - started < 40


@pytest.mark.skipif(not openssl_is_here(), reason="openssl makes the certificates")
@pytest.mark.usefixtures("s3")
def test_a_store_behind_tls_is_trusted_by_a_file_and_refused_with_what_to_do(tmp_path: Path) -> None:
    """A private authority is named in the address; a wrong certificate, host or file is said as such."""
    files = certificates(tmp_path)
    with s3_over_tls(files.broker) as port:

        def at(host: str, **more: object) -> str:
            query = urlencode({"endpoint_override": f"{host}:{port}", "region": "us-east-1", **more})
            return f"s3://{BUCKET}/tls/{uuid4().hex}?{query}"

        trusted = shelf_of(at("localhost", tls_ca_file_path=files.ca))
        version = publish(trusted)
        assert trusted.read(MODEL, version, "train.parquet") == b"rows"
        for elsewhere, advice in (
            (at("localhost"), "tls_ca_file_path=FILE"),
            (at("localhost", tls_ca_file_path=files.stranger), "tls_ca_file_path=FILE"),
            (at("127.0.0.1", tls_ca_file_path=files.ca), "as it names it"),
            (at("localhost", tls_ca_file_path=tmp_path / "none"), "cannot be read"),
        ):
            with pytest.raises(ShelfUnreachable, match=advice):
                list_releases(ObjectShelf(objects_at(elsewhere, attempts=1)))


def test_a_bucket_that_is_not_there_is_named(s3: S3) -> None:
    """Looking and releasing say so, instead of finding nothing."""
    shelf = shelf_of(s3.uri("x", bucket="another"))
    with pytest.raises(ShelfUnreachable, match="no bucket another"):
        list_releases(shelf)
    with pytest.raises(ShelfUnreachable, match="bucket"):
        publish(shelf)


def test_an_address_that_pyarrow_does_not_understand_is_refused(s3: S3) -> None:
    """When it is used, by the name that people know."""
    with pytest.raises(BadRequest, match="s3://releases/x"):
        shelf_of("s3://releases/x?nonsense=1").models()


@pytest.mark.usefixtures("ungated")
def test_a_key_in_the_address_is_shown_to_nobody(s3: S3) -> None:
    """Places and messages carry bucket and prefix alone."""
    where = s3.uri(f"secret/{uuid4().hex}").replace("s3://", "s3://loopline:hidden@")
    world = made(where)
    world.labelled(range(10))
    published = world.release()
    assert "hidden" not in published.place + world.shelf.name + str(show(world.shelf, published.name))
    assert contents(world.shelf, 1)
