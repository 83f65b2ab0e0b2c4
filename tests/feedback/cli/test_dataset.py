"""Datasets on the command line: released, listed, shown, compared, and refused with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from feedback.installation.home import Home
from tests.feedback.running import event, lines, loopline, told

LABELS = ("a", "b")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with sixty corrected predictions, and a release of them."""
    made = Home(tmp_path_factory.mktemp("datasets") / "home")
    made.create(1)
    events = [event("model.declared", "d", model="m", model_version="1", output_shape={"labels": [*LABELS]})]
    for number in range(60):
        named = {"prediction_id": f"p-{number}", "model": "m"}
        version = {"model_version": "1", "output": "a", "input": {"n": number}}
        events.append(event("prediction.made", f"p{number}", **named, **version))
        label = LABELS[number % 2]
        events.append(event("feedback.correction", f"c{number}", **named, person="u", label=label))
    assert loopline("--home", made.path, "send", "-", stdin=lines(*events)).exit_code == 0
    assert loopline("--home", made.path, "dataset", "release", "m").exit_code == 0
    return made


def test_a_release_is_listed_and_shown(home: Home) -> None:
    """By name, with its rows and splits; `latest` is the newest."""
    (item,) = told("--home", home.path, "dataset", "list")["items"]
    assert (item["name"], item["rows"]) == ("m@1", 60)
    assert told("--home", home.path, "dataset", "list", "other")["items"] == []
    shown = told("--home", home.path, "dataset", "show", "m@1")
    assert sum(split["rows"] for split in shown["splits"].values()) == 60
    assert told("--home", home.path, "dataset", "show", "m@latest") == shown
    text = loopline("--home", home.path, "dataset", "show", "m@1").stdout
    assert "a 30, b 30" in text
    assert "gate          passed" in text


def test_a_release_is_in_the_log(home: Home) -> None:
    """`dataset.released` reaches the timeline of what is in it, and the views verify."""
    (item,) = told("--home", home.path, "feedback", "show", "e-c0")["items"]
    assert "in_dataset" in [stage["stage"] for stage in item["timeline"]]
    assert told("--home", home.path, "verify")["identical"] is True


def test_two_versions_are_compared(home: Home) -> None:
    """The same log gives the same content under the next version."""
    first = told("--home", home.path, "dataset", "show", "m@1")
    result = loopline("--home", home.path, "dataset", "release", "m", "--as-of", "0:1")
    assert (result.exit_code, result.stdout.partition(":")[0]) == (0, "nothing new")
    assert told("--home", home.path, "dataset", "release", "m")["name"] == "m@1"
    released = told("--home", home.path, "dataset", "release", "m", "--as-of", "0:1", "--force")
    assert (released["name"], released["content_hash"]) == ("m@2", first["content_hash"])
    assert "the same 60 rows" in loopline("--home", home.path, "dataset", "diff", "m@1", "m@2").stdout
    assert told("--home", home.path, "dataset", "diff", "m@1", "m@2")


def test_what_has_a_name_has_versions_of_its_own(home: Home) -> None:
    """Listed with its model and alone, shown, compared; never the latest of the plain ones."""
    filters = ("--model-version", "1", "--name", "web")
    at = ("--home", home.path, "dataset")
    released = told("--home", home.path, "dataset", "release", "m", *filters)
    assert (released["name"], released["parents"], released["release_name"]) == ("m.web@1", [], "web")
    names = [item["name"] for item in told("--home", home.path, "dataset", "list", "m")["items"]]
    assert names[-1] == "m.web@1"
    assert names[0] == "m@1"
    (item,) = told("--home", home.path, "dataset", "list", "m.web")["items"]
    assert (item["model"], item["dataset"], item["version"]) == ("m", "m.web", 1)
    assert told("--home", home.path, "dataset", "show", "m@latest")["release_name"] is None
    assert told("--home", home.path, "dataset", "show", "m.web@latest")["name"] == "m.web@1"
    assert re.search("filters  +.*model_version 1", loopline(*at, "show", "m.web@1").stdout)
    assert "filters" not in loopline(*at, "show", "m@1").stdout
    found = told("--home", home.path, "dataset", "diff", "m@1", "m.web@1")
    assert (found["added"], found["removed"]) == (0, 0)
    (item,) = told("--home", home.path, "feedback", "show", "e-c0")["items"]
    stages = [stage["dataset"] for stage in item["timeline"] if stage["stage"] == "in_dataset"]
    assert "m.web@1" in stages


@pytest.mark.parametrize(
    "words,status,said",
    [
        (["release", "nobody"], 1, "there are no labels"),
        (["release", "m", "--segment", "none", "--name", "none"], 1, "outside_filters"),
        (["release", "m", "--segment", "none"], 2, "--name web for m.web@1"),
        (["release", "m", "--env", "staging"], 2, "carries a name"),
        (["release", "m", "--name", "a.b"], 2, "no dot"),
        (["release", "m", "--name", ""], 2, "a name has letters"),
        (["release", "m", "--name", "w" * 65], 2, "at most 64"),
        (["release", "m" * 128, "--name", "web"], 2, "128"),
        (["release", "m", "--as-of", "0:99999"], 2, "99999"),
        (["release", "m", "--as-of", "yesterday"], 2, "yesterday"),
        (["release", "m", "--since", "yesterday"], 2, "yesterday"),
        (["release", "m", "--allow", "everything"], 2, "label_shift"),
        (["release", "../m"], 2, "no model's name"),
        (["show", "m@99"], 1, "m@1"),
        (["show", "m"], 2, "MODEL@N"),
        (["diff", "m@1", "m@99"], 1, "m@99"),
    ],
)
def test_what_cannot_be_done_says_why(home: Home, words: list[str], status: int, said: str) -> None:
    """2 for what cannot be meant, 1 for what is not there; the message names it."""
    result = loopline("--home", home.path, "dataset", *words)
    assert result.exit_code == status, result.stderr
    assert said in result.stderr


def test_a_release_is_cut_where_the_log_is(tmp_path: Path) -> None:
    """A server elsewhere can be asked for releases, not told to cut one."""
    result = loopline("--home", tmp_path / "none", "--url", "http://127.0.0.1:9", "dataset", "release", "m")
    assert result.exit_code == 2
    assert "where the log is" in result.stderr
    result = loopline("--url", "http://127.0.0.1:9", "dataset", "diff", "m@1", "m@2")
    assert result.exit_code == 1
    assert loopline("--url", "http://127.0.0.1:9", "dataset", "list").exit_code == 3
