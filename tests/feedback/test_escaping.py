"""Nothing that others wrote is obeyed by a terminal, by Markdown or by HTML; JSON keeps it exactly."""

from __future__ import annotations

import ast
import json
import unicodedata
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import feedback
from feedback.cli import main
from feedback.escaping import as_code, for_markdown, for_terminal
from feedback.installation.home import Home
from tests.feedback.running import event, lines, loopline, prediction

HOSTILE = "\x1b]0;owned\x07\x1b[2K\r\x9b31m\u202eevil\u2066\u200b\ufeff\u2028\x7f\x85<b>|`[x](http://e)`"
ACTIVE = {character for character in HOSTILE if not character.isprintable()}


@given(st.text())
def test_a_line_stays_a_line_of_plain_characters(text: str) -> None:
    """No control, no mark of direction, no line end is left, and what was readable is as it was."""
    shown = for_terminal(text)
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Zl", "Zp", "Cs"}
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
    if text.isprintable():
        assert shown == text


def test_scripts_and_pictures_stay() -> None:
    """Joiners that Persian and emoji need are no tricks."""
    for text in ("Grüße", "日本語", "می\u200cخواهم", "👩\u200d🔬", "עברית"):
        assert for_terminal(text) == text


@given(st.text())
def test_markdown_says_just_the_text(text: str) -> None:
    """Every character of Markdown and HTML has a backslash or an entity, and it is one line."""
    for shown in (for_markdown(text), as_code(text)):
        assert "\n" not in shown
    bare = for_markdown(text).replace("\\\\", "")
    for character in "`*_[]|!":
        assert bare.count(character) == bare.count("\\" + character)
    assert "<" not in bare
    assert as_code(text).count("`") == 2
    assert "|" not in as_code(text)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which every text is hostile."""
    folder = tmp_path_factory.mktemp("hostile") / "home"
    Home(folder).create(1)
    made = prediction(1)
    made["data"] |= {"prediction_id": HOSTILE, "segment": HOSTILE[:60], "output": HOSTILE}
    sent = [
        {**made, "id": HOSTILE, "source": f"/{HOSTILE}"},
        event("model.declared", "d", model="m", model_version="1", output_shape={"labels": [HOSTILE, "b"]})
        | {"data": {"model": "m", "model_version": "1", "output_shape": {"labels": [HOSTILE, "b"]},
                    "description": HOSTILE}},
        event("feedback.correction", HOSTILE, prediction_id=HOSTILE, person=HOSTILE, label=HOSTILE),
        event("feedback.correction", "c2", prediction_id=HOSTILE, person="v", label="b"),
        event("feedback.comment", "c", prediction_id=HOSTILE, person=HOSTILE, text=HOSTILE),
        event("feedback.thumb", f"w{HOSTILE}", prediction_id=f"?{HOSTILE}", person="u", value="up"),
        event("feedback.thumb", f"x{HOSTILE}", prediction_id=HOSTILE, person="u", value=HOSTILE),
        event("evaluation.recorded", "ev", model="m", model_version="1", dataset="d",
              metrics=[{"name": "acc", "value": 0.5, "n": 10}]),
    ]  # fmt: skip
    loopline("send", "-", "--home", folder, stdin=lines(*sent))
    return folder


def typed(group: click.Group, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command, as it is typed."""
    found = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += typed(command, (*words, name))
        else:
            found.append((*words, name))
    return found


# What a command needs besides its name.
NEEDS: dict[tuple[str, ...], list[str]] = {
    ("labels",): ["m"],
    ("dataset", "release"): ["m"],
    ("dataset", "show"): ["m@1"],
    ("dataset", "diff"): ["m@1", "m@1"],
    ("feedback", "show"): [f"e-{HOSTILE}"],
    ("dead-letters", "show"): ["dead:0:0"],
    ("dead-letters", "replay"): ["--all"],
    ("model", "show"): ["m"],
    ("model", "declare"): ["m", "2", "--labels", "a,b"],
    ("backup",): ["BACKUP"],
    ("restore",): ["NOWHERE"],
    ("send",): ["-"],
}
SERVES = {("up",), ("demo",), ("collector",), ("worker",), ("topics", "ensure"), ("topics", "show")}


@pytest.mark.parametrize("words", [each for each in typed(main) if each not in SERVES], ids=" ".join)
def test_no_command_lets_a_terminal_obey(words: tuple[str, ...], home: Path, tmp_path: Path) -> None:
    """Whatever it answers or refuses: no byte of it is a control but line ends."""
    more = [str(tmp_path / each) if each in ("BACKUP", "NOWHERE") else each for each in NEEDS.get(words, [])]
    bad = event("feedback.thumb", HOSTILE, prediction_id=HOSTILE, value=HOSTILE)
    result = loopline(*words, *more, "--home", home, stdin=lines(bad))
    for text in (result.stdout, result.stderr.replace("\r", "")):
        assert not ACTIVE & set(text) - {"\n"}, repr(text)
    if words in (("labels",), ("waiting",), ("feedback", "show"), ("dead-letters", "show")):
        assert r"\x1b" in result.stdout


def test_json_keeps_every_text_exactly(home: Path) -> None:
    """What programs read is what was sent."""
    result = loopline("waiting", "--home", home, "--json")
    (waiting,) = json.loads(result.stdout)["items"]
    assert waiting["id"] == f"e-w{HOSTILE}"


def test_commands_write_to_a_terminal_in_one_place() -> None:
    """A new command cannot forget it: only `feedback.cli.output` and JSON documents call `echo`."""
    allowed = {"cli/output.py", "cli/answers.py", "cli/reference.py", "demo/telling.py"}
    root = Path(feedback.__file__).parent
    found = set()
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                if name in ("echo", "secho", "print", "echo_via_pager"):
                    found.add(str(path.relative_to(root)))
    assert found <= allowed
