"""Writes what is generated from the contract: JSON Schemas, OpenAPI, AsyncAPI and the client's rules.

    python -m schemas.describe.generate            write the files
    python -m schemas.describe.generate --check    write nothing; exit 1 and name the files that are stale

The text is the same on every machine, so that a change of the contract shows as a change of a file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.describe import asyncapi, client_rules
from schemas.describe.json_schemas import event_schema, names
from schemas.describe.openapi import document

HERE = Path(__file__).parents[1]
ROOT = HERE.parent
JSON_SCHEMAS = "schemas/json"


def generated() -> dict[str, str]:
    """The text of each generated file, by its path in the repository."""
    files = {f"{JSON_SCHEMAS}/{name}.json": _text(event_schema(name)) for name in names()}
    return {
        **files,
        "schemas/openapi.json": _text(document()),
        f"schemas/{asyncapi.FILE}": asyncapi.text(),
        client_rules.FILE: client_rules.text(),
        client_rules.NUMBERS_FILE: client_rules.numbers_text(),
    }


def _text(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def stale(root: Path, files: Mapping[str, str]) -> list[str]:
    """The paths below `root` that differ from `files`, are missing, or belong to no type any more."""
    differing = [path for path, text in files.items() if _read(root / path) != text]
    return sorted(differing + [path for path in _present(root) if path not in files])


def write(root: Path, files: Mapping[str, str]) -> list[str]:
    """Bring the files below `root` up to date; returns the paths that were written or removed."""
    changed = stale(root, files)
    for path in changed:
        if path in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(files[path], encoding="utf-8", newline="\n")
        else:
            (root / path).unlink()
    return changed


def _present(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in (root / JSON_SCHEMAS).glob("*.json")]


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """The command line. Returns the exit status: 0 done or up to date, 1 stale, 2 usage."""
    if list(arguments) not in ([], ["--check"]):
        print("usage: python -m schemas.describe.generate [--check]", file=sys.stderr)
        return 2
    if not arguments:
        for path in write(root, generated()):
            print(path)
        return 0
    differing = stale(root, generated())
    for path in differing:
        print(f"{path} is stale: run python -m schemas.describe.generate", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
