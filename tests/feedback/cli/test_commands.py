"""The commands on a home without a server: the same answers, under the home's lock."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from feedback.cli.commands.predictions import completeness
from feedback.installation.home import Home
from tests.feedback.running import event, lines, loopline, prediction, told


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, which the commands find by the environment."""
    made = Home(tmp_path / "home")
    made.create(2)
    monkeypatch.setenv("LOOPLINE_HOME", str(made.path))
    return made


THUMB = event("feedback.thumb", 1, prediction_id="p-1", person="u-1", value="down")
CORRECTION = event("feedback.correction", 2, prediction_id="p-1", person="u-1", label="b")
EARLY = event("feedback.thumb", 3, prediction_id="p-9", person="u-1", value="up")
UNKNOWN = event("feedback.applause", 4, prediction_id="p-1")


def test_what_is_sent_is_taken_and_what_is_refused_is_listed(home: Home) -> None:
    """Exit status 1 with index, id, code and detail; the others are in."""
    said = told("send", "-", stdin=lines(prediction(1), UNKNOWN, THUMB) + b"nonsense\n", status=1)
    assert (said["accepted"], said["refused"]) == (2, 2)
    assert [(item["index"], item["id"], item["code"]) for item in said["items"]] == [
        (1, "e-4", "unknown_type"),
        (3, None, "invalid_json"),
    ]
    assert all(item["detail"] for item in said["items"])
    said = told("send", "-", stdin=lines(prediction(1)))
    assert (said["accepted"], said["refused"], said["items"]) == (1, 0, [])


def test_files_of_each_form_are_sent(home: Home, tmp_path: Path) -> None:
    """Lines, an array over many lines, and one event."""
    forms = {
        "lines": lines(prediction(1), prediction(2)),
        "array": json.dumps([prediction(3), prediction(4)], indent=1).encode(),
        "one": json.dumps(prediction(5), indent=1).encode(),
    }
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content)
    counts = [told("send", tmp_path / name)["accepted"] for name in forms]
    assert counts == [2, 2, 1]


def test_a_file_that_was_cut_off_is_not_sent(home: Home, tmp_path: Path) -> None:
    """Half an array is refused before anything of it is sent."""
    (tmp_path / "half").write_bytes(json.dumps([prediction(1), prediction(2)]).encode()[:-9])
    result = loopline("send", tmp_path / "half")
    assert result.exit_code == 1
    assert "Nothing of it was sent" in result.stderr


def test_what_waits_is_listed_with_what_it_waits_for(home: Home) -> None:
    """Feedback without its prediction, and a label without its declaration."""
    loopline("send", "-", stdin=lines(prediction(1), CORRECTION, EARLY))
    assert {(item["id"], item["waits_for"]) for item in told("waiting")["items"]} == {
        ("e-2", "declaration:m@1"),
        ("e-3", "prediction:p-9"),
    }
    assert "prediction:p-9" in loopline("waiting").stdout
    limited = told("waiting", "--limit", "1")
    assert (len(limited["items"]), limited["more"]) == (1, True)


def test_a_declaration_lets_labels_count(home: Home) -> None:
    """From a correction to a label on the command line."""
    loopline("send", "-", stdin=lines(prediction(1), CORRECTION))
    assert told("labels", "m")["items"] == []
    declared = told("model", "declare", "m", "1", "--label", "a", "--label", "b")
    assert declared["event"]["data"]["output_shape"] == {"labels": ["a", "b"]}
    assert declared["position"]
    (label,) = told("labels", "m")["items"]
    assert (label["prediction_id"], label["label"], label["people"]) == ("p-1", "b", 1)
    assert "p-1" in loopline("labels", "m").stdout
    assert told("labels", "m", "--disagree")["items"] == []


@pytest.mark.parametrize(
    "words,kind,data",
    [
        (["declare", "m", "1", "--text", "--description", "d"], "model.declared", {"description": "d"}),
        (["declare", "m", "1", "--labels-json", "[0, 1]", "--open"], "model.declared", {}),
        (
            ["evaluated", "m", "1", "--metric", "accuracy=0.9,n=10,low=0.8,high=1", "--split", "test"],
            "evaluation.recorded",
            {"metrics": [{"name": "accuracy", "value": 0.9, "n": 10, "low": 0.8, "high": 1.0}]},
        ),
        (["deployed", "m", "1", "--dataset", "m@1"], "model.deployed", {"datasets": ["m@1"]}),
        (["rolled-back", "m", "1", "--why", "worse"], "model.rolled_back", {"why": "worse"}),
    ],
)
def test_what_is_said_of_a_model_is_in_the_log(
    home: Home, words: list[str], kind: str, data: dict[str, object]
) -> None:
    """Each command appends one event of its type, and ends with 0."""
    said = told("model", *words)["event"]
    assert said["type"] == f"loopline.{kind}.v1"
    assert (said["data"]["model"], said["data"]["model_version"]) == ("m", "1")
    for name, wanted in data.items():
        assert said["data"][name] == wanted


def test_a_second_declaration_of_another_shape_does_not_hold(home: Home) -> None:
    """It ends with 1 and is told in words, with nobody's server around too."""
    assert told("model", "declare", "m", "1", "--text")["judged"] is True
    result = loopline("model", "declare", "m", "1", "--label", "a")
    assert result.exit_code == 1
    assert "the first holds" in result.stderr
    said = told("model", "declare", "m", "1", "--label", "a", status=1)
    assert (said["judged"], said["code"]) == (True, "declaration_conflict")


def test_what_may_be_a_slip_about_a_version_is_noted(home: Home) -> None:
    """A version never seen and a release that is not there are no refusals: the note names them."""
    loopline("model", "declare", "m", "1", "--text")
    result = loopline("model", "deployed", "m", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    result = loopline("model", "deployed", "m", "1", "--dataset", "m@77")
    assert result.exit_code == 0
    assert "there is no release m@77" in result.stderr
    result = loopline("model", "rolled-back", "m", "99")
    assert result.exit_code == 0
    assert "nothing was known of m 99" in result.stderr


def test_a_file_of_something_else_is_not_sent(home: Home, tmp_path: Path) -> None:
    """Where none of the first 20 items is JSON nothing is sent, unless somebody wants that."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not an event\n" * 30)
    result = loopline("send", path)
    assert result.exit_code == 1
    assert "no file of events" in result.stderr
    assert told("dead-letters", "list")["items"] == []
    assert told("send", path, "--all", status=1)["refused"] == 30
    path.write_bytes(b"not an event\n" * 19 + lines(prediction(1)))
    assert told("send", path, status=1)["accepted"] == 1


def test_nothing_is_told_by_name(home: Home) -> None:
    """A model or a dataset that nobody knows is named, with the way on; no bare titles stand alone."""
    result = loopline("model", "show", "nomodel")
    assert result.exit_code == 1
    assert "the model nomodel; `loopline model list`" in result.stderr
    assert "released of nomodel" in loopline("dataset", "list", "nomodel").stdout
    assert loopline("counts", "--by", "kind").stdout.startswith("There is nothing to count")


def test_what_to_do_about_a_dead_letter_is_no_state(home: Home) -> None:
    """One that is open says what to do; one that was put back says that."""
    loopline("send", "-", stdin=lines(UNKNOWN))
    assert (
        "to do     loopline dead-letters replay dead:0:0"
        in loopline("dead-letters", "show", "dead:0:0").stdout
    )


def test_a_schema_is_read_from_a_file(home: Home, tmp_path: Path) -> None:
    """A declaration by JSON Schema; one that is no schema is refused by the server's words."""
    path = tmp_path / "schema.json"
    path.write_text('{"type": "string"}')
    assert told("model", "declare", "m", "1", "--json-schema", path)["event"]
    path.write_text('{"type": "nonsense"}')
    result = loopline("model", "declare", "m", "2", "--json-schema", path)
    assert result.exit_code == 1
    assert "invalid_value" in result.stderr


def test_feedback_is_shown_with_its_timeline(home: Home) -> None:
    """Stages in order; an unknown id ends with 1 and says where to look."""
    loopline("send", "-", stdin=lines(THUMB, prediction(1)))
    (item,) = told("feedback", "show", "e-1")["items"]
    assert [stage["stage"] for stage in item["timeline"]] == ["received", "joined", "in_effect"]
    assert "joined" in loopline("feedback", "show", "e-1").stdout
    result = loopline("feedback", "show", "nobody's")
    assert result.exit_code == 1
    assert "dead-letters" in result.stderr


def test_a_refused_item_is_kept_with_its_bytes(home: Home) -> None:
    """Listed with its code, shown with its bytes, and given out as it was sent."""
    loopline("send", "-", stdin=lines(UNKNOWN) + b'\xff{"a": 1}\n')
    items = told("dead-letters", "list")["items"]
    assert [(item["dead_letter"], item["code"]) for item in items] == [
        ("dead:0:0", "unknown_type"),
        ("dead:0:1", "not_utf8"),
    ]
    assert [item["dead_letter"] for item in told("dead-letters", "list", "--code", "not_utf8")["items"]] == [
        "dead:0:1"
    ]
    assert loopline("dead-letters", "show", "dead:0:1", "--bytes").stdout_bytes == b'\xff{"a": 1}'
    assert "applause" in loopline("dead-letters", "show", "dead:0:0").stdout
    for name in ("dead:0:2", "dead:9:0", "0:0:0"):
        assert loopline("dead-letters", "show", name).exit_code == 1
    assert loopline("dead-letters", "show", "first").exit_code == 2


def test_a_corrected_item_is_put_back_and_leaves_the_list(home: Home, tmp_path: Path) -> None:
    """Refused again it stays, with exit status 1; corrected it counts, and is settled."""
    loopline("send", "-", stdin=lines(prediction(1), UNKNOWN))
    again = told("dead-letters", "replay", "dead:0:0", status=1)
    assert [item["dead_letter"] for item in again["refused"]] == ["dead:0:0"]
    fixed = tmp_path / "item.json"
    right = {**event("feedback.thumb", 4, prediction_id="p-1", value="up"), "id": UNKNOWN["id"]}
    fixed.write_text(json.dumps(right, indent=1))
    assert told("dead-letters", "replay", "dead:0:0", "--with", fixed)["accepted"] == ["dead:0:0"]
    listed = told("dead-letters", "list")
    assert (listed["items"], listed["settled"]) == ([], 1)
    assert "1 settled" in loopline("dead-letters", "list").stdout
    [item] = told("dead-letters", "list", "--put-back")["items"]
    assert (item["dead_letter"], item["settled"]) == ("dead:0:0", True)
    assert "settled  dead:0:0" in loopline("dead-letters", "list", "--put-back").stdout
    assert told("feedback", "show", right["id"])["items"][0]["effective"] is True
    result = loopline("dead-letters", "replay", "dead:0:0")
    assert result.exit_code == 1
    assert "before" in result.stderr


def test_putting_back_in_vain_does_not_multiply_them(home: Home) -> None:
    """However often all are put back before the fix, alone or among others of the same bytes."""
    loopline("send", "-", stdin=lines(UNKNOWN, UNKNOWN))
    for _ in range(3):
        for which in (["--all"], ["--code", "unknown_type"], ["dead:0:1"]):
            said = told("dead-letters", "replay", *which, status=1)
            assert len(said["refused"]) == (1 if which == ["dead:0:1"] else 2)
    assert len(told("dead-letters", "list")["items"]) == 2


def test_what_can_never_be_an_event_is_not_sent_again(home: Home) -> None:
    """Bytes that are no object stay as they are, and no second dead letter is made of them."""
    loopline("send", "-", stdin=b"nonsense\n")
    (item,) = told("dead-letters", "replay", "--code", "invalid_json", status=1)["refused"]
    assert "--with" in item["detail"]
    assert len(told("dead-letters", "list")["items"]) == 1


def test_a_verdict_of_the_worker_is_not_sent_again(home: Home) -> None:
    """It is judged again by itself; its standing is told."""
    other = event("prediction.made", "x", prediction_id="p-1", model="m", model_version="1", output="other")
    loopline("send", "-", stdin=lines(prediction(1), other))
    (item,) = told("dead-letters", "list")["items"]
    assert item["code"] == "prediction_conflict"
    said = told("dead-letters", "replay", "--all")
    assert [each["dead_letter"] for each in said["judged_by_the_worker"]] == [item["dead_letter"]]
    assert said["accepted"] == said["refused"] == []


def test_verify_says_identical(home: Home) -> None:
    """Rebuilt aside, compared row by row, and nothing is left behind."""
    loopline("send", "-", stdin=lines(prediction(1), THUMB, CORRECTION, EARLY, UNKNOWN))
    said = told("verify")
    assert said["identical"] is True
    assert said["events"] == 4
    assert loopline("verify").stdout.startswith("identical: 4 events, ")
    assert list(home.path.glob("scratch-*")) == []


def test_a_view_that_was_changed_is_found_and_built_anew(home: Home) -> None:
    """verify shows the difference and ends with 1; replay mends it."""
    loopline("send", "-", stdin=lines(prediction(1), THUMB))
    path = home.current_path()
    assert path is not None
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE counts SET n = n + 1")
    said = told("verify", status=1)
    assert said["identical"] is False
    assert {each["table"] for each in said["differences"]} == {"counts"}
    assert "loopline replay" in loopline("verify").stdout
    assert told("replay")["store"] != path.name
    assert told("verify")["identical"] is True


def test_a_damaged_store_is_told_and_built_anew(home: Home) -> None:
    """The log has everything: no view is precious."""
    loopline("send", "-", stdin=lines(prediction(1), THUMB))
    path = home.current_path()
    assert path is not None
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    path.write_bytes(b"nonsense" * 1000)
    result = loopline("waiting")
    assert result.exit_code == 1
    assert "loopline replay" in result.stderr
    assert loopline("replay").exit_code == 0
    assert told("verify")["identical"] is True


def test_a_store_of_another_log_is_refused(home: Home, tmp_path: Path) -> None:
    """Reading says so and what to do; nothing is guessed."""
    loopline("send", "-", stdin=lines(prediction(1)))
    other = Home(tmp_path / "other")
    other.create(2)
    for path in (
        home.log_path,
        home.log_path.with_name("log.sqlite-wal"),
        home.log_path.with_name("log.sqlite-shm"),
    ):
        path.unlink(missing_ok=True)
    other.log_path.rename(home.log_path)
    for words in (["waiting"], ["verify"]):
        result = loopline(*words)
        assert result.exit_code == 1
        assert "another log" in result.stderr or "was built from log" in result.stderr
        assert "loopline replay" in result.stderr
    findings = told("doctor", status=1)["findings"]
    assert ("views", "fail") in {(finding["subject"], finding["state"]) for finding in findings}


def test_a_held_home_says_who_holds_it(home: Home) -> None:
    """Exit status 3: somebody is there and does not answer."""
    lock = home.lock("a long job")
    result = loopline("waiting", lock_wait_s=0.1)
    lock.release()
    assert result.exit_code == 3
    assert "a long job" in result.stderr


def test_doctor_finds_a_healthy_home_healthy(home: Home) -> None:
    """Every line has a state; nothing fails; what was refused is counted by code."""
    loopline("send", "-", stdin=lines(prediction(1), EARLY, UNKNOWN))
    said = told("doctor")
    assert said["ok"] is True
    by_subject = {finding["subject"]: finding for finding in said["findings"]}
    assert set(by_subject) >= {
        *("python", "sqlite", "home", "disk", "fsync", "lock", "log", "views", "worker", "waiting"),
        *("dead letters", "clock", "server"),
    }
    assert "unknown_type 1" in by_subject["dead letters"]["said"]
    assert by_subject["waiting"]["said"].startswith("1 ")
    assert by_subject["dead letters"]["state"] == "warn"
    assert "ok    sqlite" in loopline("doctor").stdout


def test_doctor_says_when_the_port_is_taken(home: Home) -> None:
    """Before `up` finds out; and which other one can be taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        findings = {each["subject"]: each for each in told("doctor", "--port", port)["findings"]}
        assert findings["port"]["state"] == "warn"
        assert "--port 0" in findings["port"]["said"]
    findings = {each["subject"]: each for each in told("doctor", "--port", 0)["findings"]}
    assert findings["port"]["state"] == "ok"


def test_doctor_warns_of_an_open_home(home: Home) -> None:
    """Others on the machine should not read what people said."""
    home.path.chmod(0o755)
    by_subject = {finding["subject"]: finding for finding in told("doctor")["findings"]}
    assert by_subject["home"]["state"] == "warn"
    assert "chmod 700" in by_subject["home"]["do"]


def test_what_waits_is_told_in_groups_with_what_to_do(home: Home) -> None:
    """One line a group: labels of an undeclared version, with the command; events without a prediction."""
    loopline("send", "-", stdin=lines(prediction(1), CORRECTION, EARLY))
    said = told("waiting")
    assert said["groups"] == [
        {"waits_for": "declaration:m@1", "events": 1, "more": False},
        {"waits_for": "prediction", "events": 1, "more": False},
    ]
    text = loopline("waiting").stdout
    assert "declaration:m@1: 1 label\n" in text
    assert "loopline model declare m 1 --label" in text
    assert "prediction: 1 event\n" in text
    findings = [each for each in told("doctor")["findings"] if each["subject"] == "waits for"]
    assert [(each["state"], each["said"]) for each in findings] == [
        ("warn", "declaration:m@1: 1 label"),
        ("ok", "prediction: 1 event"),
    ]
    assert "loopline model declare m 1" in findings[0]["do"]


def test_labels_without_a_dispute_say_so(home: Home) -> None:
    """Nobody disagrees, which is another thing than that there are no labels."""
    assert "There are no labels for m yet." in loopline("labels", "m", "--disagree").stdout
    loopline("send", "-", stdin=lines(prediction(1), CORRECTION))
    loopline("model", "declare", "m", "1", "--label", "b")
    assert "Nobody disagrees" in loopline("labels", "m", "--disagree").stdout


def test_labels_that_were_refused_are_counted_below_the_others(home: Home) -> None:
    """How many of how many, how sure the share is, and why."""
    loopline("model", "declare", "m", "1", "--label", "a")
    loopline("send", "-", stdin=lines(prediction(1), CORRECTION))
    text = loopline("labels", "m").stdout
    assert "1 of 1 correction gave no label (label_invalid)" in text
    assert "not enough data yet (n = 1)" in text
    assert told("labels", "m")["refused"] == {"label_invalid": 1, "corrections": 1}


def test_counts_say_how_complete_they_are_or_that_it_is_not_known() -> None:
    """A sentence about an instant is only said where there is one."""
    assert completeness("2026-11-20T00:00:00Z") == (
        "Everything received up to 2026-11-20T00:00:00Z is in these numbers."
    )
    assert completeness(None) == "How complete these numbers are is not known yet."


def test_models_predictions_feedback_and_counts_are_read_back(home: Home) -> None:
    """What was sent is listed, newest first, as text and as one document."""
    loopline("send", "-", stdin=lines(prediction(1), prediction(2), THUMB, CORRECTION))
    metric = "accuracy=0.9,n=10,low=0.6,high=0.99"
    loopline("model", "declare", "m", "1", "--label", "a", "--label", "b")
    loopline("model", "evaluated", "m", "1", "--metric", metric, "--dataset", "our set")
    loopline("model", "deployed", "m", "1", "--dataset", "m@1")
    (model,) = told("model", "list")["items"]
    assert (model["model"], model["serving"]) == ("m", "1")
    shown = loopline("model", "show", "m").stdout
    for words in ("m: version 1 serves", "labels a, b", "until now", "m@1", "our set"):
        assert words in shown
    assert "accuracy 0.9 (0.6 to 0.99, n = 10)" in shown
    assert loopline("model", "show", "other").exit_code == 1
    (listed,) = told("predictions", "list", "--feedback", "thumb:down")["items"]
    assert listed["prediction"]["prediction_id"] == "p-1"
    assert "correction, thumb:down" in loopline("predictions", "list", "--model", "m").stdout
    assert [item["id"] for item in told("feedback", "list", "--kind", "thumb")["items"]] == ["e-1"]
    assert "u-1" in loopline("feedback", "list", "--limit", "1").stdout
    counted = told("counts", "--by", "kind,value")
    assert {"kind": "feedback.thumb", "value": "down", "n": 1, "events": 1} in counted["items"]
    assert counted["complete_up_to"]
    assert "feedback.thumb" in loopline("counts", "--by", "kind").stdout
    assert loopline("counts", "--by", "colour").exit_code == 1
