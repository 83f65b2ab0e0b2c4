"""Writes the reference pages of the command line and the settings from the commands and the table themselves.

python -m feedback.cli.reference            writes docs/reference/cli.md and settings.md
python -m feedback.cli.reference --check    says whether they are up to date; exit status 1 if not
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from feedback.cli import main as root
from feedback.cli.options import SharedOption
from feedback.settings import SETTINGS

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

_CLI_HEAD = """\
# Command line

Generated from the commands by `python -m feedback.cli.reference`.

Exit status: 0 done; 1 refused, different, or a gate failed; 2 usage; 3 unreachable.
With `--json` a command gives one JSON document on standard output; progress goes to standard error.

A command that reads or sends takes the server that `--url` names, else the one that runs on the home, else it
holds the home's lock and does the work itself.

## Options of every command

They may stand before or behind the command's name.
"""

_SETTINGS_HEAD = """\
# Settings

Generated from `feedback/settings.py` by `python -m feedback.cli.reference`.

A flag goes before the environment, the environment before the file, the file before the default.

The file is TOML, with the names of the first column:

```toml
log = "kafka://kafka-1:9092,kafka-2:9092,kafka-3:9092"
store = "postgresql://loopline@postgres:5432/loopline"
log_level = "info"
```

`--config` or `LOOPLINE_CONFIG` names it; without them it is `loopline.toml` in the working folder, if there
is one. An entry that is no setting is refused by its name. A file that merely lies in the working folder may
not set `host`, `insecure` or `allowed_hosts`, and is refused where it belongs to another user or anybody can
write to it: name it with `--config`.

What may hold a secret may lie in a file of its own, named by the variable with `_FILE` behind it:
`LOOPLINE_STORE_FILE`, `LOOPLINE_URL_FILE`, `LOOPLINE_HEADERS_FILE`, `LOOPLINE_DATASETS_FILE`,
`LOOPLINE_KAFKA_PASSWORD_FILE`; and for what libraries read themselves
`PGPASSWORD_FILE`, `AWS_ACCESS_KEY_ID_FILE`, `AWS_SECRET_ACCESS_KEY_FILE`, `AWS_SESSION_TOKEN_FILE`. The end
of its line is left out.

| setting | flag | environment | default | meaning |
|---|---|---|---|---|
"""


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    return {"cli.md": cli_page(), "settings.md": settings_page()}


def settings_page() -> str:
    """The reference of the settings."""
    rows = []
    for setting in SETTINGS:
        flag = f"`{setting.flag}{' ' if setting.shown else ''}{setting.shown}`" if setting.flag else ""
        default = "" if setting.default in (None, ()) else f"`{_default(setting.default)}`"
        rows.append(f"| {setting.name} | {flag} | `{setting.env}` | {default} | {setting.help} |")
    return _SETTINGS_HEAD + "\n".join(rows) + "\n"


def _default(value: object) -> str:
    return {True: "1", False: "0"}[value] if isinstance(value, bool) else str(value)


def cli_page() -> str:
    """The reference of the commands."""
    # With the settings of the real one: click keeps the help option that it makes for the first context.
    context = click.Context(root, info_name="loopline", **root.context_settings)
    parts = [_CLI_HEAD, *_options(root, context, shared=True)]
    for path, command, here in _commands(root, context):
        parts += [f"\n## {path}\n", f"```\n{command.get_usage(here).removeprefix('Usage: ')}\n```\n"]
        parts += _prose(command.help or "")
        parts += _options(command, here, shared=False)
    return "\n".join(parts).rstrip() + "\n"


def _commands(
    group: click.Group, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=context, terminal_width=100)
        yield below.command_path, command, below
        if isinstance(command, click.Group):
            yield from _commands(command, below)


def _prose(text: str) -> Iterator[str]:
    """Help as Markdown: paragraphs as they are, those that keep their lines as code."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield f"```\n{inspect.cleandoc(paragraph[2:])}\n```\n"
        else:
            yield f"{paragraph}\n"


def _options(command: click.Command, context: click.Context, *, shared: bool) -> list[str]:
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or record[0].endswith("--help"):
            continue
        if isinstance(parameter, SharedOption) == shared:
            name, said = (text.replace("|", "\\|") for text in record)
            rows.append(f"| `{name}` | {' '.join(said.split())} |")
    return ["| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"] if rows else []


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are not up to date."""
    stale = []
    for name, text in pages().items():
        path = FOLDER / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for name in stale:
        state = "is not up to date: python -m feedback.cli.reference" if "--check" in arguments else "written"
        click.echo(f"docs/reference/{name} {state}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
