"""What people and programs rely on is described where they look for it, and what is described is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from feedback.api import metrics as view_metrics
from feedback.cli import main, reference
from feedback.server.app import ROUTES
from feedback.settings import SETTINGS
from schemas import catalog, problems
from schemas.describe import reference as contract
from schemas.kinds import KINDS
from schemas.stages import Stage
from streams.kafka.worker.progress import WorkerProgress
from streams.metrics import Metrics
from tests.docs.pages import ROOT, blocks, pages

REFERENCE = ROOT / "docs" / "reference"
OWN_PAGES = [*pages(), ROOT / "clients" / "python" / "README.md", ROOT / "CONTRIBUTING.md"]

_LINK = re.compile(r"\]\((?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_PATH = re.compile(r"`((?:schemas|models|streams|feedback|tests|clients|docs|benchmarks)/[\w./-]+)`")
_COMMAND = re.compile(r"(?:^|[`$|;(] ?|&& )loopline (?P<words>[a-z][^`\n|;#]*)", re.MULTILINE)

_MAKE = re.compile(r"(?:(?:\w+=\S+ )*make .*\n)+")
_TARGET = re.compile(r"^(?:\w+=\S+ )*make (\w+)", re.MULTILINE)


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups included."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


ALL_COMMANDS = set(commands(main))


def test_generated_pages_are_up_to_date() -> None:
    """The reference of events, routes, commands and settings is what the code says today."""
    assert contract.stale() == []
    stale = [name for name, text in reference.pages().items() if (REFERENCE / name).read_text() != text]
    assert stale == []


def test_stale_pages_are_found_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check names what is stale and writes nothing; without it pages are written, and only then."""
    assert contract.main(["--check"], tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert contract.main([], tmp_path) == 0
    assert contract.main(["--check"], tmp_path) == 0
    (tmp_path / "http.md").write_text("old")
    assert contract.stale(tmp_path) == ["http.md"]
    assert contract.main(["--wrong"], tmp_path) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("words", sorted(ALL_COMMANDS), ids=" ".join)
def test_every_command_is_described(words: tuple[str, ...]) -> None:
    """Each command has its section."""
    assert f"\n## loopline {' '.join(words)}\n" in (REFERENCE / "cli.md").read_text()


def test_every_setting_is_described() -> None:
    """Each setting stands there with its variable and its flag."""
    text = (REFERENCE / "settings.md").read_text()
    for setting in SETTINGS:
        assert f"`{setting.env}`" in text
        assert setting.flag is None or f"`{setting.flag}" in text


def test_every_event_type_is_described() -> None:
    """Each type has its section, with all of its fields."""
    text = (REFERENCE / "events.md").read_text()
    for name, data in catalog.CURRENT.items():
        section = text.partition(f"\n## loopline.{name}\n")[2].partition("\n## ")[0]
        assert section, name
        for field in data.__struct_fields__:
            assert f"\n| `{field}` |" in section, (name, field)


def test_every_route_is_described() -> None:
    """What the server answers to is in the reference."""
    text = (REFERENCE / "http.md").read_text()
    described = set(re.findall(r"^## GET (\S+)$", text, re.MULTILINE))
    served = {re.sub(r":\w+", "", route.path) for route in ROUTES}
    assert {re.sub(r"{\w+}", "{}", path) for path in served} == {
        re.sub(r"{\w+}", "{}", path) for path in described
    }
    assert "\n## POST /v1/events\n" in text


def test_every_metric_is_described() -> None:
    """Each metric that a scrape can show, and no other."""
    text = (REFERENCE / "metrics.md").read_text()
    described = set(re.findall(r"^\| `(loopline_\w+)", text, re.MULTILINE))
    counted = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for registry in (Metrics().registry, WorkerProgress().registry)
        for family in registry.collect()
    }
    source = Path(view_metrics.__file__).read_text()
    assert described == counted | set(re.findall(r'"(loopline_\w+)"', source))


def test_every_problem_code_is_described() -> None:
    """Whoever finds a code in a dead letter finds what to do about it."""
    text = (ROOT / "docs" / "how-to" / "dead-letters.md").read_text()
    described = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert described == {*problems.COLLECTOR_CODES, *problems.WORKER_CODES}


def test_every_stage_is_described() -> None:
    """Each stage of a timeline is explained, in the timeline's order."""
    text = (ROOT / "docs" / "explanation" / "how-it-works.md").read_text()
    section = text.partition("| stage |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(Stage)


def test_what_counts_once_is_described() -> None:
    """The page on the order rule tells of each kind of feedback what the table of kinds does."""
    text = (ROOT / "docs" / "explanation" / "order-rule.md").read_text()
    section = text.partition("| what | counts once per |")[2].partition("\n\n")[0]
    words = {
        "person": "person and prediction: the latest",
        "word": "person, prediction and word",
        "each": "event: all of them",
    }
    told = dict(re.findall(r"^\| ([\w, ]+) \| (.+) \|$", section, re.MULTILINE))
    described = {short: rule for names, rule in told.items() for short in names.split(", ")}
    for kind in KINDS.values():
        if kind.is_feedback and kind.once in words:
            assert described[kind.short] == words[kind.once]


def test_every_bad_day_of_many_machines_is_a_test() -> None:
    """Each row of its failure scenarios names a test that is there, and every such test has its row."""
    text = (ROOT / "docs" / "explanation" / "many-machines.md").read_text()
    table = text.partition("## Common failure scenarios")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    named = [re.findall(r"`(test_\w+)` \|$", row) for row in rows]
    assert all(named), [row for row, found in zip(rows, named, strict=True) if not found]
    there = {
        name
        for path in (ROOT / "tests" / "broker").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    # Of what the compose files run by hand, an upgrade under load is such a day.
    upgraded = "test_the_composed_processes_work_together_and_are_upgraded"
    assert f"def {upgraded}" in (ROOT / "tests" / "deploy" / "test_by_hand.py").read_text()
    assert {name for found in named for name in found} == there | {upgraded}


@pytest.mark.parametrize("page", OWN_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    """Every relative link and every path in backticks names something that is there."""
    text = page.read_text()
    for match in _LINK.finditer(text):
        target, anchor = match["target"], match["anchor"]
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in _anchors(path), f"{page.name}: {target}#{anchor}"
    missing = [path for path in _PATH.findall(text) if not (ROOT / path).exists()]
    assert missing == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", OWN_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_the_text_are_there(page: Path) -> None:
    """A command that a page names, in an example or in a sentence, exists."""
    for match in _COMMAND.finditer(page.read_text()):
        words = [word for word in match["words"].split() if word[0] not in "-["]
        assert (words[0],) in ALL_COMMANDS, match.group()
        group = main.get_command(click.Context(main), words[0])
        if isinstance(group, click.Group) and len(words) > 1 and words[1] != "COMMAND":
            assert (words[0], words[1]) in ALL_COMMANDS, match.group()


def test_every_page_can_be_found() -> None:
    """The index leads to every page but the decisions, which have their folder."""
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / match["target"]).resolve() for match in _LINK.finditer(index.read_text())}
    decisions = ROOT / "docs" / "decisions"
    lost = [page for page in pages() if page not in linked | {index} and decisions not in page.parents]
    assert lost == []


def test_examples_are_in_languages_that_are_run() -> None:
    """Whatever looks like something to type is run; what takes too long is `sh` and a target of make."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    odd = []
    for page in pages():
        for block in blocks(page.read_text()):
            long = _MAKE.fullmatch(block.text) if block.language == "sh" else None
            known = block.language in ("bash", "python", "text", "ini")
            generated = page.parent in (REFERENCE, ROOT / "docs" / "decisions")
            if not (known or generated or (long and set(_TARGET.findall(block.text)) <= targets)):
                odd.append((page.name, block.line, block.language))
    assert odd == []
