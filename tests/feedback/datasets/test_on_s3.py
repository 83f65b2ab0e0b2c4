"""Datasets on an object store, from the command line to a notebook, against a server and an S3 here."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from feedback.datasets.errors import ShelfUnreachable
from feedback.installation.home import Home
from loopline import datasets
from loopline.errors import DatasetError, ReleaseNotFound, Unreachable
from tests.docs.pages import blocks
from tests.feedback.conftest import Loop
from tests.feedback.datasets.conftest import open_gate
from tests.feedback.datasets.shelf.shelf_contract import publish
from tests.feedback.running import event, lines, loopline, server_on, told
from tests.services.s3 import S3, connection, s3_server

GONE = f"s3://releases/x?{connection('127.0.0.1', 9)}"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """One server for the tests here."""
    with s3_server() as server:
        yield server


@pytest.fixture
def shelf(s3: S3) -> str:
    """An address at which nothing lies yet."""
    return s3.uri(uuid4().hex)


def labelled(rows: int) -> bytes:
    """A declared model, and predictions that a person corrected."""
    events = [event("model.declared", "d", model="m", model_version="1", output_shape={"labels": ["a", "b"]})]
    for number in range(rows):
        named = {"prediction_id": f"p-{number}", "model": "m"}
        made = {"model_version": "1", "output": "a", "input": number}
        events.append(event("prediction.made", f"p{number}", **named, **made))
        events.append(event("feedback.correction", f"c{number}", **named, person="u", label="ab"[number % 2]))
    return lines(*events)


def test_a_release_goes_from_the_server_to_s3_and_into_a_notebook(
    tmp_path: Path, shelf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut beside the server, handed out by it, loaded by its address and by the store's: the same rows."""
    home = tmp_path / "home"
    said = ("--home", home, "--datasets", shelf)
    with server_on(home, "--datasets", shelf) as running:
        assert loopline(*said, "send", "-", stdin=labelled(60)).exit_code == 0
        released = told(*said, "dataset", "release", "m")
        assert released["folder"] == f"{shelf.partition('?')[0]}/m/1"
        assert not (home / "datasets").exists()
        by_url = datasets.load("m", url=running.url)
        direct = datasets.load("m@1", shelf=shelf)
        assert by_url.num_rows == released["rows"] - released["splits"]["audit"]["rows"]
        assert direct.equals(by_url)
        monkeypatch.setenv("LOOPLINE_DATASETS", shelf)
        assert datasets.load("m", split="train").num_rows == released["splits"]["train"]["rows"]
        monkeypatch.delenv("LOOPLINE_DATASETS")
        assert [item["name"] for item in told("--url", running.url, "dataset", "list")["items"]] == ["m@1"]
        (item,) = told(*said, "feedback", "show", "e-c0")["items"]
        assert "in_dataset" in [stage["stage"] for stage in item["timeline"]]
        assert told(*said, "dataset", "release", "m")["new"] is False
        again = told(*said, "dataset", "release", "m", "--force")
        assert again["content_hash"] == released["content_hash"]
        assert [item["name"] for item in told(*said, "dataset", "list")["items"]] == ["m@1", "m@2"]
        assert told(*said, "dataset", "show", "m@latest")["parents"] == ["m@1"]
        assert "same 60 rows" in loopline(*said, "dataset", "diff", "m@1", "m@2").stdout
        with urllib.request.urlopen(f"{running.url}/v1/datasets/m/2/files/train.parquet") as answer:
            body = answer.read()
        assert (
            len(body) == int(answer.headers["content-length"]) == released["files"]["train.parquet"]["bytes"]
        )


def test_a_store_that_is_away_is_exit_status_3(tmp_path: Path, s3: S3) -> None:
    """Nothing is released and nothing hangs: the message names the place and what to look at."""
    home = tmp_path / "home"
    Home(home).create(1)
    assert loopline("--home", home, "send", "-", stdin=labelled(4)).exit_code == 0
    for words in (["dataset", "list"], ["dataset", "release", "m"], ["dataset", "show", "m@1"]):
        result = loopline("--home", home, "--datasets", GONE, *words)
        assert result.exit_code == 3, result.stderr
        assert "s3://releases/x cannot be reached" in result.stderr
        assert "endpoint_override" in result.stderr


@pytest.mark.parametrize("wrong", ["away", "no bucket"])
def test_the_doctor_of_a_cluster_looks_at_the_datasets(s3: S3, shelf: str, wrong: str) -> None:
    """What a release would be the first to meet is said beside everything else that is wrong."""
    nobody = ["--log", "kafka://127.0.0.1:1", "--store", "postgresql://u@127.0.0.1:1/d", "--port", "1"]
    found = loopline("doctor", *nobody, "--datasets", shelf)
    assert "ok    datasets         s3://" in found.stdout
    place = GONE if wrong == "away" else shelf.replace("s3://", "s3://no-such-", 1)
    found = loopline("doctor", *nobody, "--datasets", place)
    assert found.exit_code == 1
    assert "fail  datasets" in found.stdout
    assert ("cannot be reached" if wrong == "away" else "create it") in found.stdout


def test_what_is_no_place_for_datasets_is_usage(tmp_path: Path) -> None:
    """It says what an address looks like."""
    result = loopline("--home", tmp_path, "--datasets", "ftp://host/x", "dataset", "show", "m@1")
    assert result.exit_code == 2, result.stderr
    assert "s3://BUCKET/PREFIX" in result.stderr


def test_a_server_whose_store_is_away_says_so(s3: S3) -> None:
    """503 with the reason for what lies there; everything else is answered."""
    loop = Loop(GONE)
    with loop.client:
        for path in ("/v1/datasets", "/v1/datasets/m/1", "/v1/datasets/m/1/files/train.parquet"):
            problem = loop.get(path, 503)
            assert "s3://releases/x cannot be reached" in problem["detail"]
            assert "9" not in problem["detail"].partition("(")[0]
        page = loop.client.get("/")
        assert page.status_code == 200
        assert "cannot be reached at the moment" in page.text or "Nothing has arrived" in page.text
        assert loop.get("/v1/waiting")["items"] == []
    loop.appender.stop()


def test_a_server_lists_and_hands_out_what_lies_there(shelf: str) -> None:
    """In pages, byte for byte, and nothing that is not published."""
    loop = Loop(shelf)
    with loop.client:
        assert loop.get("/v1/datasets") == {"items": [], "next": None}
        content = bytes(range(256)) * 40_000
        for _ in range(3):
            publish(loop.shelf, content)
        names = [item["name"] for item in loop.pages("/v1/datasets", limit=2)]
        assert names == ["reader@1", "reader@2", "reader@3"]
        answer = loop.client.get("/v1/datasets/reader/2/files/train.parquet")
        assert answer.content == content
        assert answer.headers["content-length"] == str(len(content))
        for path in (
            "reader/4",
            "reader/2/files/other",
            "reader/2/files/..%2F1%2Fmanifest.json",
            "x/1",
        ):
            assert loop.get(f"/v1/datasets/{path}", 404)["code"] == "not_found"
    loop.appender.stop()


def test_a_notebook_is_told_what_is_wrong_with_the_store(shelf: str) -> None:
    """Away, without the release, or no store at all: three errors of one tree."""
    with pytest.raises(Unreachable, match="s3://releases/x cannot be read"):
        datasets.load("m", shelf=GONE)
    with pytest.raises(ReleaseNotFound, match="m@latest"):
        datasets.load("m", shelf=shelf)
    with pytest.raises(DatasetError, match="no address of an object store"):
        datasets.load("m", shelf="ftp://host/x")


def test_a_folder_of_releases_is_a_shelf_too(tmp_path: Path) -> None:
    """By its path and by its address."""
    for where in (tmp_path, f"file://{tmp_path}"):
        with pytest.raises(ReleaseNotFound, match=str(tmp_path)):
            datasets.load("m", shelf=where)


def test_a_store_that_breaks_off_ends_the_answer(shelf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file never looks like a whole one: the connection ends before its length is reached."""
    loop = Loop(shelf)
    publish(loop.shelf, b"x" * 1000)
    body = loop.shelf.body("reader", 1, "train.parquet")

    def broken() -> Iterator[bytes]:
        yield b"x" * 10
        raise ShelfUnreachable("gone")

    monkeypatch.setattr(loop.shelf, "body", lambda *names: body._replace(pieces=broken()))
    with loop.client:
        answer = loop.client.get("/v1/datasets/reader/1/files/train.parquet")
        assert (len(answer.content), answer.headers["content-length"]) == (10, "1000")
    loop.appender.stop()


def test_the_page_of_datasets_holds_for_an_object_store(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting and the line of Python that it shows, with the address of the store here."""
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "datasets.md").read_text()
    named = "s3://loopline-datasets/releases?region=eu-central-1"
    (setting,) = [block.text for block in blocks(page) if named in block.text]
    (loading,) = re.findall(r"`(datasets\.load\(.*s3://.*\))`", page)
    here = s3.uri("page")
    publish_labelled(tmp_path, here, monkeypatch)
    (tmp_path / "loopline.toml").write_text(setting.replace(named, here))
    monkeypatch.chdir(tmp_path)
    assert [item["name"] for item in told("--home", "home", "dataset", "list")["items"]] == ["colours@1"]
    assert eval(loading.replace(named, here)).num_rows > 0


def test_a_backup_says_what_is_not_in_it(tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home's copy has no datasets that lie elsewhere, and nor has what is restored from it."""
    home, here = tmp_path / "home", s3.uri("backup")
    publish_labelled(tmp_path, here, monkeypatch)
    taken = loopline("--home", home, "--datasets", here, "backup", tmp_path / "copy")
    assert taken.exit_code == 0, taken.stderr
    assert "the datasets at s3://releases/backup are not in this backup" in taken.stderr
    assert not (tmp_path / "copy" / "datasets").exists()


def publish_labelled(folder: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home in the folder, and a release of it."""
    home = folder / "home"
    Home(home).create(1)
    said = labelled(60).replace(b'"m"', b'"colours"')
    assert loopline("--home", home, "send", "-", stdin=said).exit_code == 0
    monkeypatch.setattr("feedback.datasets.release.judge", open_gate)
    assert loopline("--home", home, "--datasets", where, "dataset", "release", "colours").exit_code == 0
