"""What every command shares: its options, in any position, and commands that load when they are used.

`loopline --home X up` and `loopline up --home X` mean the same: each command accepts the shared options
and hands them to one `Choices`. The options come from `feedback.settings`. This module imports click and
nothing heavier, so that help is quick; what commands do is in the modules they are loaded from.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from feedback.escaping import for_terminal
from feedback.redaction import redacted
from feedback.setting_values import Setting
from feedback.settings import BY_NAME, SETTINGS, value, was_said

SERVING = ("allowed_hosts", "max_connections")
"""Settings with a flag on those commands only that serve a port."""


_END_S = 5.0
"""How long after Ctrl-C a command may still wait for something."""


class Choices:
    """The settings as this run chose them: by flag in any position, else environment, file, default.

    `lock_wait_s`: how long a command waits for whoever holds the home and answers nothing.
    """

    def __init__(self, lock_wait_s: float = 10.0) -> None:
        self.given: dict[str, str] = {}
        self.lock_wait_s = lock_wait_s

    def __getitem__(self, name: str) -> Any:
        return value(name, self.given.get(name))

    def was_set(self, name: str) -> bool:
        """Whether a flag, the environment or the file says something about a setting."""
        return name in self.given or was_said(name)

    @property
    def home(self) -> Path:
        """The home's folder."""
        path: Path = self["home"]
        return path

    @property
    def as_json(self) -> bool:
        """Whether one JSON document is wanted on standard output."""
        return bool(self["json"])


def _keep(context: click.Context, option: click.Parameter, given: Any) -> None:
    choices = context.ensure_object(Choices)
    if given is not None and option.name is not None:
        choices.given[option.name] = "1" if given is True else given
        setting = BY_NAME[option.name]
        if option.name == "config":
            # For whatever reads a setting later, and for the processes that this one starts.
            os.environ[setting.env] = str(Path(given).absolute())
        elif setting.inherited:
            os.environ[setting.env] = choices.given[option.name]
        choices[option.name]


class SharedOption(click.Option):
    """An option of every command."""


def _option(setting: Setting, kind: type[click.Option]) -> click.Option:
    default = "" if setting.default in (None, False, ()) else f"  [default: {setting.default}]"
    options: dict[str, Any] = {"is_flag": True} if not setting.shown else {"metavar": setting.shown}
    return kind(
        [setting.flag or "", setting.name],
        help=f"{setting.help} Or {setting.env}.{default}",
        expose_value=False,
        callback=_keep,
        default=None,
        # What the others are checked against.
        is_eager=setting.name == "config",
        **options,
    )


def shared_options() -> list[click.Option]:
    """The options that every command accepts, made from the table of settings."""
    return [_option(setting, SharedOption) for setting in SETTINGS if setting.flag and setting.shared]


def serving_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that serve a port, made from the same table."""
    for name in reversed(SERVING):
        setting = BY_NAME[name]
        option = _option(setting, click.Option)
        declared = [setting.flag or "", name]
        function = click.option(
            *declared, metavar=setting.shown, help=option.help, expose_value=False, callback=_keep
        )(function)
    return function


@contextlib.contextmanager
def _ending_readably() -> Iterator[None]:
    """An expected error ends in a message, without secrets and without what a terminal would obey."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        from feedback.cli.errors import ending_of

        ending = ending_of(error)
        if ending is None:
            raise
        ending.message = for_terminal(redacted(ending.message), lines=True)
        raise ending from error.__cause__ if ending is error else error


class _Sections(click.Command):
    """Help that shows a command's own options first, and the shared ones apart."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section for each."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (shared if isinstance(parameter, SharedOption) else own).append(record)
        for title, records in (("Options", own), ("Options of every command", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """Run; an expected failure ends in a message and an exit status, not in a traceback."""
        with _ending_readably():
            return super().invoke(ctx)

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read what was typed; what is wrong with it is told in the same way."""
        with _ending_readably():
            return super().make_context(*args, **more)


class Command(_Sections):
    """A command that accepts the shared options."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params = [*self.params, *shared_options()]

    def invoke(self, ctx: click.Context) -> Any:
        """Run. What is logged meanwhile is told on standard error; a server says what it wants told."""
        from feedback.disk import keep_to_oneself
        from feedback.processes.ending import ends_after_signal
        from feedback.processes.logging import configure

        keep_to_oneself()
        choices = ctx.ensure_object(Choices)
        level = choices["log_level"] if choices.was_set("log_level") else "warning"
        configure(level, choices["log_format"], "command", hooks=False)
        if any(parameter.name in SERVING for parameter in self.params):
            return super().invoke(ctx)
        with ends_after_signal((signal.SIGINT,), _say_ended, within_s=_END_S, status=lambda: 1):
            return super().invoke(ctx)


def _say_ended() -> None:
    # Loaded late: half a command's start is what it imports.
    from feedback.cli.output import note

    note("loopline: ended while it waited for an answer that did not come")


class Lazy(NamedTuple):
    """Where a command is: its module and name there, and its one line of help."""

    module: str
    name: str
    help: str


class Group(_Sections, click.Group):
    """A group that accepts the shared options, and loads a command when it is used.

    Args:
        lazy: for each command's name where it is. Its line of help is repeated there so that the
            group's help loads nothing.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lazy = dict(lazy or {})
        self.params = [*self.params, *shared_options()]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order they are shown."""
        return [*self.lazy, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, loaded now."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        where = self.lazy[cmd_name]
        found: click.Command = getattr(importlib.import_module(where.module), where.name)
        return found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands first, then options."""
        self.format_commands(ctx, formatter)
        _Sections.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line a command, without loading any."""
        records = [(name, where.help) for name, where in self.lazy.items()]
        records += [(name, command.get_short_help_str(90)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(records)


def command(name: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], Command]:
    """`click.command` for a command with the shared options; the function gets `Choices` first."""

    def decorate(function: Callable[..., Any]) -> Command:
        return click.command(name, cls=Command, **options)(click.pass_obj(function))

    return decorate
