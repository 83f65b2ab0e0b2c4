"""Loading a release: found by home or server, checked against its hash, for Arrow or pandas."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import loopline
from loopline import datasets
from loopline.datasets.content import CONTENT_SPLITS, content_hash, split_hash
from loopline.errors import (
    DatasetError,
    DependencyMissing,
    LooplineError,
    Refused,
    ReleaseDamaged,
    ReleaseNotFound,
    Unreachable,
)
from tests.services.fake_server import FakeServer, problem

COLUMNS = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("input_ref", pa.string()),
        ("input", pa.string()),
        ("output", pa.string()),
        ("label", pa.string()),
        ("agreement", pa.float64()),
        ("people", pa.int64()),
        ("confidence", pa.float64()),
        ("segment", pa.string()),
        ("model_version", pa.string()),
        ("channel", pa.string()),
        ("ask_probability", pa.float64()),
        ("audit_probability", pa.float64()),
        ("at", pa.timestamp("ns", tz="UTC")),
    ]
)


def rows(count: int, first: int = 0, inputs: bool = False) -> pa.Table:
    """So many rows of a release."""
    return pa.Table.from_pylist(
        [
            {
                "prediction_id": f"p-{number}",
                "input_ref": f"{number % 3:064x}",
                "input": json.dumps({"n": number}) if inputs and number % 2 else None,
                "output": "smith",
                "label": "smyth" if number % 2 else "smith",
                "agreement": 1.0,
                "people": 1,
                "confidence": 0.5 if number % 4 else None,
                "model_version": "3",
                "channel": "correction",
                "at": datetime(2026, 11, 20, 9, number % 60, tzinfo=UTC),
            }
            for number in range(first, first + count)
        ],
        schema=COLUMNS,
    )


SPLITS = {
    "train": rows(8, inputs=True),
    "validation": rows(2, 8),
    "test": rows(2, 10),
    "audit": rows(3, 12),
    "lineage": pa.table({"prediction_id": ["p-0"], "source": ["/a"], "id": ["e-1"]}),
}


def write(
    home: Path, model: str, version: int, tables: dict[str, pa.Table] = SPLITS, **manifest: Any
) -> Path:
    """A release as the platform writes it."""
    folder = home / "datasets" / model / str(version)
    folder.mkdir(parents=True)
    files = {}
    for split, table in tables.items():
        path = folder / f"{split}.parquet"
        pq.write_table(table, path)
        body = path.read_bytes()
        files[path.name] = {
            "sha256": hashlib.sha256(body).hexdigest(),
            "rows": table.num_rows,
            "bytes": len(body),
        }
    said = {
        "model": model,
        "version": version,
        "content_hash": content_hash(tables),
        "encoding": {"label": "string", "output": "string", "input": "json"},
        "splits": {split: {"hash": split_hash(tables[split])} for split in CONTENT_SPLITS},
        "files": files,
        **manifest,
    }
    (folder / "manifest.json").write_text(json.dumps(said))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with three versions of one model's dataset."""
    for version in (1, 2, 10):
        write(tmp_path, "name-matcher", version)
    (tmp_path / "datasets" / "name-matcher" / "failed" / "11").mkdir(parents=True)
    (tmp_path / "datasets" / "name-matcher" / "11").mkdir()
    return tmp_path


@pytest.fixture
def url(server: FakeServer, home: Path) -> str:
    """A server that hands out the same releases, its list in two pages."""
    for manifest in (home / "datasets").rglob("manifest.json"):
        serve(server, manifest.parent)
    items = [{"model": "name-matcher", "version": version} for version in (1, 2, 10)]
    items.append({"model": "name-matcher", "dataset": "name-matcher.web", "version": 11})
    other = [{"model": "other", "version": 99}]
    server.pages["/v1/datasets"] = (200, json.dumps({"items": other + items[:1], "next": "b=/"}).encode())
    server.pages["/v1/datasets?next=b%3D%2F"] = (200, json.dumps({"items": items[1:]}).encode())
    return server.url


def serve(server: FakeServer, folder: Path) -> None:
    """Let a server hand out a release, and list it alone."""
    model, version = folder.parts[-2:]
    for path in folder.iterdir():
        server.pages[f"/v1/datasets/{model}/{version}/files/{path.name}"] = (200, path.read_bytes())
    server.pages[f"/v1/datasets/{model}/{version}"] = (200, (folder / "manifest.json").read_bytes())
    items = [{"model": model, "version": int(version)}]
    server.pages["/v1/datasets"] = (200, json.dumps({"items": items, "next": None}).encode())


def test_a_split_is_an_arrow_table_as_it_was_written(home: Path) -> None:
    """One line gives the rows of a split, of the latest version."""
    for split in ("train", "validation", "test", "audit", "lineage"):
        assert datasets.load("name-matcher", split=split, home=home).equals(SPLITS[split])


def test_without_a_split_everything_to_learn_from_comes_together(home: Path) -> None:
    """Train, validation and test in this order, told apart by a column; audited rows stay out."""
    table = loopline.datasets.load("name-matcher", home=home)
    assert table.num_rows == 12
    assert table.column("split").to_pylist() == ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    assert table.drop_columns("split").slice(8, 2).equals(SPLITS["validation"])


def test_a_pandas_frame_for_those_who_want_one(home: Path) -> None:
    """The same rows as a frame, with times that know their zone."""
    frame = datasets.load("name-matcher", split="train", as_="pandas", home=home)
    assert isinstance(frame, pd.DataFrame)
    assert frame["label"].tolist() == SPLITS["train"].column("label").to_pylist()
    assert str(frame["at"].dt.tz) == "UTC"


@pytest.mark.parametrize("wanted", [("name-matcher", 2), ("name-matcher", "2"), ("name-matcher@2",)])
def test_a_version_is_named_by_number_or_behind_the_model(home: Path, wanted: tuple[Any, ...]) -> None:
    """`load("m", 2)`, `load("m", "2")` and `load("m@2")` are the same; only that folder is opened."""
    (home / "datasets" / "name-matcher" / "10" / "manifest.json").write_text("damaged")
    load: Any = datasets.load
    assert load(*wanted, split="test", home=home).equals(SPLITS["test"])


def test_the_latest_version_is_the_greatest_number(home: Path) -> None:
    """Version 10 comes after version 2; a folder without a manifest is not a release."""
    write(home, "other", 3)
    newest = home / "datasets" / "name-matcher" / "10" / "manifest.json"
    newest.write_text(newest.read_text().replace('"version": 10', '"version": 9'))
    with pytest.raises(ReleaseDamaged, match=r"name-matcher@10 .* calls itself name-matcher@9"):
        datasets.load("name-matcher", home=home)


def test_a_release_comes_over_http_too(url: str, server: FakeServer) -> None:
    """By server: its list is read to the last page, then the manifest, then the files."""
    assert datasets.load("name-matcher", split="train", url=url).equals(SPLITS["train"])
    assert datasets.load("name-matcher@1", url=url).num_rows == 12
    asked = [path for path, _, _ in server.requests]
    assert asked[:3] == ["/v1/datasets", "/v1/datasets?next=b%3D%2F", "/v1/datasets/name-matcher/10"]


def test_a_server_is_told_who_asks(url: str, server: FakeServer) -> None:
    """By user and password in the address, or by headers, with every request; the error shows neither."""
    known = url.replace("http://", "http://ann:secret@")
    datasets.load("name-matcher", url=known, split="test")
    assert {headers["Authorization"] for _, headers, _ in server.requests} == {"Basic YW5uOnNlY3JldA=="}
    server.requests.clear()
    datasets.load("name-matcher", url=url, split="test", headers={"X-Tenant": "shop"})
    assert {headers["X-Tenant"] for _, headers, _ in server.requests} == {"shop"}
    with pytest.raises(ReleaseNotFound) as missing:
        datasets.load("nobody", url=known)
    assert "secret" not in str(missing.value)


def test_where_to_look_is_said_by_the_caller_then_the_environment_then_the_folder(
    home: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """home= and url=, else LOOPLINE_HOME and LOOPLINE_URL, else .loopline; homes are asked first."""
    monkeypatch.setenv("LOOPLINE_HOME", str(home))
    assert datasets.load("name-matcher").num_rows == 12
    monkeypatch.setenv("LOOPLINE_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("LOOPLINE_URL", url)
    assert datasets.load("name-matcher").num_rows == 12
    with pytest.raises(ReleaseNotFound, match="empty"):
        datasets.load("name-matcher", home=tmp_path / "empty")
    monkeypatch.delenv("LOOPLINE_HOME")
    monkeypatch.delenv("LOOPLINE_URL")
    (tmp_path / "here").mkdir()
    write(tmp_path / "here" / ".loopline", "mine", 1)
    monkeypatch.chdir(tmp_path / "here")
    assert datasets.load("mine").num_rows == 12


@pytest.mark.parametrize("where", ["home", "url"])
def test_a_release_that_is_not_there_is_told_with_those_that_are(home: Path, url: str, where: str) -> None:
    """The error lists the versions there are and says what to do next."""
    place: dict[str, Any] = {"home": home} if where == "home" else {"url": url}
    with pytest.raises(ReleaseNotFound) as missing:
        datasets.load("name-matcher", 7, **place)
    assert missing.value.available == ["name-matcher@1", "name-matcher@2", "name-matcher@10"]
    assert "name-matcher@10" in str(missing.value)
    with pytest.raises(ReleaseNotFound, match="loopline dataset release nobody"):
        datasets.load("nobody", **place)
    with pytest.raises(ReleaseNotFound, match="`loopline dataset release nobody --name nix`"):
        datasets.load("nobody", name="nix", **place)


def test_a_file_that_was_changed_is_refused(home: Path) -> None:
    """One flipped byte in a file that is read is seen; a split that is not asked for is not read."""
    path = home / "datasets" / "name-matcher" / "10" / "validation.parquet"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    with pytest.raises(ReleaseDamaged, match=r"name-matcher@10 .* validation\.parquet has SHA-256"):
        datasets.load("name-matcher", home=home)
    assert datasets.load("name-matcher", split="train", home=home).num_rows == 8


def test_rows_that_were_exchanged_are_refused(tmp_path: Path) -> None:
    """Files that fit a manifest made for them, but not the hash of the split, are no release."""
    honest = {"splits": {split: {"hash": split_hash(SPLITS[split])} for split in CONTENT_SPLITS}}
    exchanged = {**SPLITS, "test": rows(2, 40)}
    write(tmp_path, "m", 1, exchanged, **honest, content_hash=content_hash(SPLITS))
    with pytest.raises(ReleaseDamaged, match="rows in test"):
        datasets.load("m", home=tmp_path)


def test_hashes_of_splits_that_are_not_the_content_hash_are_refused(tmp_path: Path) -> None:
    """Neither can a manifest be rewritten for other rows under the content hash that the log knows."""
    write(tmp_path, "m", 1, {**SPLITS, "test": rows(2, 40)}, content_hash=content_hash(SPLITS))
    with pytest.raises(ReleaseDamaged, match="content hash"):
        datasets.load("m", split="train", home=tmp_path)


def test_the_same_rows_in_other_files_are_the_same_release(tmp_path: Path) -> None:
    """Compression, row groups, dictionaries and string widths do not count; rows and their order do."""
    folder = write(tmp_path, "m", 1)
    path = folder / "train.parquet"
    wide = SPLITS["train"].cast(
        pa.schema([(field.name, _wide(field.type)) for field in SPLITS["train"].schema])
    )
    pq.write_table(wide, path, compression="zstd", row_group_size=3, use_dictionary=["label"])
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["train.parquet"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert datasets.load("m", split="train", home=tmp_path).num_rows == 8
    backwards = SPLITS["train"].take(list(range(7, -1, -1)))
    assert content_hash({**SPLITS, "train": backwards}) != content_hash(SPLITS)


def _wide(kind: pa.DataType) -> pa.DataType:
    return pa.large_string() if kind == pa.string() else kind


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"files": {}, "model": "m", "version": 1}',
        b'{"files": {"train.parquet": {"sha256": ""}}, "model": "m", "version": 1}',
        b'{"files": {}, "model": "m", "version": 1, "splits": {"train": "x"}}',
    ],
)
def test_a_manifest_that_says_too_little_is_refused(tmp_path: Path, content: bytes) -> None:
    """A manifest that is not one raises ReleaseDamaged, never a KeyError."""
    (write(tmp_path, "m", 1) / "manifest.json").write_bytes(content)
    with pytest.raises(ReleaseDamaged):
        datasets.load("m", home=tmp_path)


def test_inputs_are_filled_in_where_the_release_has_none(home: Path) -> None:
    """The function is asked once per reference; what it gives is stored as the column stores inputs."""
    asked: list[str] = []

    def inputs(ref: str) -> object:
        asked.append(ref)
        return None if ref == f"{2:064x}" else {"from": ref[-1]}

    table = datasets.load("name-matcher", split="train", home=home, inputs=inputs)
    assert table.schema == COLUMNS
    assert len(asked) == len(set(asked)) == 3
    filled = table.column("input").to_pylist()
    assert filled[0] == '{"from":"0"}'
    assert filled[1] == '{"n": 1}'
    assert filled[2] is None


def test_inputs_of_a_release_of_plain_text_are_text(tmp_path: Path) -> None:
    """Where all are text they are plain; one that is not, and the whole column is JSON text, and says so."""
    texts = SPLITS["audit"].set_column(2, "input", pa.array(["Smith", None, None]))
    write(tmp_path, "m", 1, {**SPLITS, "audit": texts}, encoding={"input": "string"})
    table = datasets.load("m", split="audit", home=tmp_path, inputs=lambda ref: "Smth")
    assert table.column("input").to_pylist() == ["Smith", "Smth", "Smth"]
    assert table.schema.field("input").metadata == {b"encoding": b"string"}
    table = datasets.load("m", split="audit", home=tmp_path, inputs=lambda ref: 7)
    assert table.column("input").to_pylist() == ['"Smith"', "7", "7"]
    assert table.schema.field("input").metadata == {b"encoding": b"json"}


@dataclass
class Case:
    """A product's own kind of input."""

    name: str
    scores: list[float]


@pytest.mark.parametrize("where", ["home", "url"])
@pytest.mark.parametrize(
    "given, expected",
    [
        ({"text": "a", "n": 1}, {"text": "a", "n": 1}),
        ([1, 2.5, None], [1, 2.5, None]),
        (5, 5),
        (False, False),
        (np.arange(3), [0, 1, 2]),
        (np.float64(0.5), 0.5),
        (np.array([[1.5], [2.5]]), [[1.5], [2.5]]),
        (pd.Timestamp("2026-11-20T09:12:31Z"), "2026-11-20T09:12:31Z"),
        (Case("x", [0.25]), {"name": "x", "scores": [0.25]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_inputs_of_any_kind_fill_a_column_without_a_value(
    home: Path, server: FakeServer, where: str, given: Any, expected: Any
) -> None:
    """A product that sends references only gives what it has; from a folder and over HTTP alike."""
    empty = {**SPLITS, "train": rows(8)}
    folder = write(home, "kept", 1, empty, encoding={"input": "string"}, inputs={"included": 0})
    serve(server, folder)
    place: dict[str, Any] = {"home": home} if where == "home" else {"url": server.url}
    for as_ in ("arrow", "pandas"):
        loaded = datasets.load("kept", split="train", as_=as_, inputs=lambda ref: given, **place)
        values = list(loaded["input"]) if as_ == "pandas" else loaded["input"].to_pylist()
        text = isinstance(expected, str)
        assert [value if text else json.loads(value) for value in values] == [expected] * 8
    assert loaded.attrs["encoding"]["input"] == ("string" if text else "json")


def test_inputs_of_mixed_types_are_json_texts(home: Path) -> None:
    """Text among them too, so that one reading fits the whole column; what is not known stays empty."""
    write(home, "kept", 1, {**SPLITS, "train": rows(8)}, inputs={"included": 0})
    mixed = {f"{0:064x}": "text", f"{1:064x}": {"a": 1}}
    table = datasets.load("kept", split="train", home=home, inputs=mixed.get)
    assert table["input"].to_pylist()[:3] == ['"text"', '{"a":1}', None]
    texts = {f"{0:064x}": "text", f"{1:064x}": "more"}
    table = datasets.load("kept", split="train", home=home, inputs=texts.get)
    assert table["input"].to_pylist()[:3] == ["text", "more", None]


@pytest.mark.parametrize("given", [float("nan"), object(), {"a": 1 + 2j}, b"bytes", pd.NaT])
def test_an_input_that_is_no_json_is_told_without_its_value(home: Path, given: object) -> None:
    """With its path and kind: nothing is nulled, rounded or encoded on the way."""
    write(home, "kept", 1, {**SPLITS, "train": rows(8)}, inputs={"included": 0})
    with pytest.raises(DatasetError, match=r"^inputs\(\.\.\.\)"):
        datasets.load("kept", split="train", home=home, inputs=lambda ref: given)


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "../etc"},
        {"model": "m", "version": "newest"},
        {"model": "m", "split": "all"},
        {"model": "m", "as_": "polars"},
    ],
)
def test_what_makes_no_sense_is_told(home: Path, arguments: dict[str, Any]) -> None:
    """Names, versions, splits and formats that cannot be are errors of the library's tree."""
    write(home, "m", 1)
    with pytest.raises(DatasetError):
        datasets.load(**arguments, home=home)


def test_a_server_that_is_away_or_refuses_is_told(url: str, server: FakeServer) -> None:
    """Over HTTP, what can go wrong is Unreachable or Refused, both LooplineError."""
    server.pages["/v1/datasets"] = (503, json.dumps(problem("unavailable", "later")).encode())
    with pytest.raises(Refused, match="later"):
        datasets.load("name-matcher", url=url)
    with pytest.raises(Unreachable) as away:
        datasets.load("name-matcher", url="http://127.0.0.1:9")
    assert isinstance(away.value, LooplineError)


def test_a_missing_library_is_told_with_the_command_that_installs_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products install only the client; a notebook without pyarrow learns how to get it."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DependencyMissing, match=r"loopline\[datasets\]"):
        datasets.load("name-matcher", home=home)
