"""Every error of the product stands in one tree, and its class alone decides how a command ends."""

from __future__ import annotations

import click
import pytest

import feedback.cli.errors as failures
from feedback.cli.options import Command
from loopline.errors import LooplineError
from schemas.errors import Malformed, Refused, Unavailable
from tests.architecture.error_tree import KINDS, definitions, kept_lists, kinds_of, public
from tests.architecture.source import CLIENT, ROOMS, parse, read

MODULES = read()
FOUND = definitions(MODULES)
PUBLIC = public(FOUND)

OUTSIDE = {
    "streams.kafka.worker.session.MembershipEnded": "it ends a membership within the engine: no failure",
    "streams.ingest.asgi.ClientGone": "nobody is left to be told",
    "feedback.demo.stage.DemoFailed": "the demo found a defect of ours: its traceback is wanted",
    "schemas.validator.steps.OutOfSteps": "it stops a run of the validator, which then gives its verdict",
    "loopline.values.Unfit": "the client makes an InvalidEvent of it",
    "loopline.datasets.parquet.NotAsStated": "the client makes a ReleaseDamaged of it",
}
"""What is no error for anybody outside of its package, and why."""

STATUS = {Refused: 1, Malformed: 2, Unavailable: 3}


def _is_outside(error: type[Exception]) -> bool:
    """Whether a class may be outside: one of those above, or a verdict of a pure function of `schemas`."""
    above = [each for each in error.__mro__ if each.__module__ != "builtins"]
    if issubclass(error, ValueError) and all(each.__module__.startswith("schemas.") for each in above):
        return LooplineError not in above
    return any(f"{each.__module__}.{each.__qualname__}" in OUTSIDE for each in error.__mro__)


IN_THE_TREE = {name: error for name, error in PUBLIC.items() if not _is_outside(error)}
OF_THE_PLATFORM = {name: error for name, error in IN_THE_TREE.items() if name.partition(".")[0] in ROOMS}


def test_every_public_error_is_in_the_tree() -> None:
    """A new one derives from Unavailable, Refused or Malformed, or says here why it does not."""
    assert [name for name, error in IN_THE_TREE.items() if not issubclass(error, LooplineError)] == []
    assert len(OF_THE_PLATFORM) > 50


def test_every_error_of_the_platform_says_who_can_mend_it() -> None:
    """It has exactly one of the three above it; a base that has none leaves that to its classes."""
    bases = {base for error in OF_THE_PLATFORM.values() for base in error.__mro__[1:]}
    unsaid = [
        name
        for name, error in OF_THE_PLATFORM.items()
        if len(kinds_of(error)) != 1 and not (error in bases and not kinds_of(error))
    ]
    assert unsaid == []


def test_what_may_be_outside_is_there() -> None:
    """A reason for a class that is gone, or that has come into the tree, goes too."""
    assert OUTSIDE.keys() <= PUBLIC.keys()
    assert [name for name in OUTSIDE if issubclass(PUBLIC[name], LooplineError)] == []


def test_a_name_has_one_meaning() -> None:
    """No two public errors have the same name, in whatever room."""
    assert {name: where for name, where in FOUND.items() if name[0] != "_" and len(where) > 1} == {}


def test_nobody_keeps_a_list_of_errors() -> None:
    """The tree is the list: a tuple of classes would be forgotten when the next one comes."""
    platform = {name: each for name, each in MODULES.items() if name.partition(".")[0] != CLIENT}
    assert kept_lists(platform, FOUND) == []


@pytest.mark.parametrize(
    "text", ["A = (StoreRefused, Gap)", "A: X = (StoreRefused, port.Gap)", "if 'a' in sys.modules: pass"]
)
def test_a_list_is_found(text: str) -> None:
    """Under any name, with or without a type."""
    assert len(kept_lists({"m": parse("m", text)}, ["StoreRefused", "Gap"])) == 1


def test_errors_are_found_through_each_other() -> None:
    """A class whose base is an error of another module is an error, in whichever order they are read."""
    modules = {
        "b": parse("b", "class Second(a.First): ..."),
        "a": parse("a", "class First(OSError): ...\nclass Other: ..."),
    }
    assert definitions(modules) == {"First": ["a"], "Second": ["b"]}


@pytest.mark.parametrize("name", OF_THE_PLATFORM)
def test_the_class_gives_the_exit_status(name: str) -> None:
    """1 for what a person must mend, 2 for usage, 3 for what may answer later; nothing else decides."""
    error = OF_THE_PLATFORM[name]
    for kind in kinds_of(error):
        ending = failures.ending_of(error.__new__(error, "what to do"))
        assert ending is not None
        assert ending.exit_code == STATUS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_ends_as_its_error_says(
    kind: type[LooplineError], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the message on standard error, without a traceback, and without a password."""

    def work() -> None:
        raise kind("postgresql://ann:s3cret@db/loopline is not as it was; do this")

    with pytest.raises(SystemExit) as ended:
        Command("work", callback=work).main([], obj=None)
    assert ended.value.code == STATUS[kind]
    said = capsys.readouterr().err
    assert "is not as it was; do this" in said
    assert "s3cret" not in said
    assert "Traceback" not in said


def test_a_defect_keeps_its_traceback() -> None:
    """What is in no tree was not foreseen."""
    assert failures.ending_of(RuntimeError("a defect")) is None
    assert failures.ending_of(BrokenPipeError()) is None


def test_the_system_s_errors_are_told_too() -> None:
    """A folder that cannot be read is for a person to mend, a refused connection for later."""
    refused, later = (
        failures.ending_of(PermissionError(13, "no", "f")),
        failures.ending_of(ConnectionError("x")),
    )
    assert refused is not None
    assert (refused.exit_code, refused.message) == (1, "f: no")
    assert later is not None
    assert later.exit_code == 3
    usage = click.UsageError("no")
    assert failures.ending_of(usage) is usage
