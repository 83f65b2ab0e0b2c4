"""Releases over HTTP: what is published is handed out as it is, and nothing else of the disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.feedback.conftest import Loop
from tests.streams.asking import event

PARQUET = b"PAR1" + bytes(range(256)) * 2000 + b"PAR1"


def publish(folder: Path, model: str, version: int) -> Path:
    """A release as the datasets room lays it out, as far as handing it out is concerned."""
    release = folder / model / str(version)
    release.mkdir(parents=True)
    manifest = {"model": model, "version": version, "content_hash": f"hash-{version}", "rows": {"train": 7}}
    (release / "manifest.json").write_text(json.dumps(manifest))
    (release / "train.parquet").write_bytes(PARQUET)
    (release / "README.md").write_text("# digits")
    return release


def test_there_are_no_releases_before_the_first(loop: Loop) -> None:
    """Without a folder the list is empty."""
    assert loop.get("/v1/datasets") == {"items": [], "next": None}


def test_releases_are_listed_in_pages(loop: Loop) -> None:
    """By model and version, as numbers; what has no manifest is not published."""
    for version in (1, 2, 10):
        publish(loop.datasets, "digits", version)
    publish(loop.datasets, "names", 1)
    (loop.datasets / "digits" / "11").mkdir()
    (loop.datasets / "digits" / ".building-12").mkdir()
    (loop.datasets / ".kept-aside").mkdir()
    (loop.datasets / "a file").touch()
    items = loop.pages("/v1/datasets", limit=2)
    assert [item["name"] for item in items] == ["digits@1", "digits@2", "digits@10", "names@1"]
    assert items[0] == {
        "model": "digits",
        "dataset": "digits",
        "release_name": None,
        "version": 1,
        "name": "digits@1",
        "content_hash": "hash-1",
        "rows": {"train": 7},
    }


def test_a_release_and_its_files_are_handed_out_as_they_are(loop: Loop) -> None:
    """The manifest under the release's own name, every file byte for byte."""
    release = publish(loop.datasets, "digits", 3)
    answer = loop.client.get("/v1/datasets/digits/3")
    assert answer.content == (release / "manifest.json").read_bytes()
    assert answer.headers["content-type"] == "application/json"
    file = loop.client.get("/v1/datasets/digits/3/files/train.parquet", params={"after": "0:0"})
    assert file.content == PARQUET
    assert file.headers["content-type"] == "application/vnd.apache.parquet"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert loop.client.get("/v1/datasets/digits/3/files/README.md").text == "# digits"
    assert loop.client.get("/v1/datasets/digits/3/files/manifest.json").json()["version"] == 3


def test_a_release_under_a_name_is_a_dataset_of_its_own(loop: Loop) -> None:
    """`MODEL.NAME` stands in the paths; the list says whose it is."""
    publish(loop.datasets, "digits", 1)
    release = publish(loop.datasets, "digits.web", 1)
    said = {"name": "digits.web@1", "model": "digits", "release_name": "web", "version": 1}
    (release / "manifest.json").write_text(json.dumps(said))
    plain, named = loop.pages("/v1/datasets", limit=1)
    assert (plain["name"], plain["dataset"]) == ("digits@1", "digits")
    assert named == {**said, "dataset": "digits.web"}
    assert loop.get("/v1/datasets/digits.web/1") == said
    assert loop.client.get("/v1/datasets/digits.web/1/files/train.parquet").content == PARQUET


@pytest.mark.parametrize(
    "path",
    [
        "/v1/datasets/digits/4",
        "/v1/datasets/other/3",
        "/v1/datasets/digits/03",
        "/v1/datasets/digits/0",
        "/v1/datasets/digits/latest",
        "/v1/datasets/digits/3/files/test.parquet",
        "/v1/datasets/digits/3/files/",
        "/v1/datasets/digits/3/files/.hidden",
        "/v1/datasets/digits/3/files/link",
        "/v1/datasets/digits/3/files/folder",
        "/v1/datasets/digits/3/files/%2E%2E%2Fsecret",
        "/v1/datasets/digits/3/files/..%2F..%2Fsecret",
        "/v1/datasets/%2E%2E/3",
        "/v1/datasets/digits%2F..%2Fdigits/3",
        "/v1/datasets/digits/3%2F..%2F3",
        "/v1/datasets/digits/3/files/train.parquet%00",
        "/v1/datasets/digits/3/files/train.parquet%0A",
    ],
)
def test_no_name_leads_anywhere_else(loop: Loop, path: str) -> None:
    """Whatever is not a plain file of a published release is 404, links and ways out included."""
    release = publish(loop.datasets, "digits", 3)
    (loop.datasets / "secret").write_text("secret")
    (release / ".hidden").write_text("secret")
    (release / "link").symlink_to(loop.datasets / "secret")
    (release / "folder").mkdir()
    assert loop.get(path, 404)["code"] == "not_found"


def test_the_log_line_of_a_release_names_it(loop: Loop, log_lines: list[Any]) -> None:
    """Releases with filters have versions of their own, so model and version alone name another one."""
    data = {"version": 1, "content_hash": "sha256:0", "as_of": "0:1", "rows": 1}
    loop.send(
        event("dataset.released", "r-1", model="colours", name="web", **data),
        event("dataset.released", "r-2", model="colours", **data),
    )
    assert [each["name"] for each in log_lines if each["event"] == "a dataset was released"] == [
        "colours.web@1",
        "colours@1",
    ]
