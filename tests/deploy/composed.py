"""The compose files as data: read, filled in from an environment, and laid over each other as Compose does.

Only what our files use is understood; anything else is an error. Whether a file keeps to the specification is
asked of its own JSON Schema, which comes with the `check-jsonschema` distribution. Running what the files say
is left to the tests.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from importlib.metadata import files
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
BROKERS = ROOT / "docker-compose.brokers.yml"
"""Three brokers instead of one; laid over the first."""

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<how>:\?|:-)(?P<rest>[^}]*))?\})",
)


class NotGiven(Exception):
    """A variable that has to be given was not; the text is what Compose would say."""


class Reset:
    """What a file marks with `!reset`: the entry below it is taken away."""


class _Loader(yaml.SafeLoader):
    """Compose's YAML: safe, with `!reset`."""


_Loader.add_constructor("!reset", lambda loader, node: Reset())


def read(path: Path) -> dict[str, Any]:
    """A compose file with its anchors resolved; variables stand as they are written."""
    # A safe loader with one more tag, which makes nothing but a mark.
    content: dict[str, Any] = yaml.load(path.read_text(), Loader=_Loader)
    return content


def schema() -> dict[str, Any]:
    """The Compose specification's JSON Schema."""
    # Read as a file: the distribution is there for its schemas, its own program is not imported.
    (path,) = [each for each in files("check-jsonschema") or [] if each.name == "compose-spec.json"]
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def plain(content: Any) -> Any:
    """The content without marks, as a schema looks at it."""
    if isinstance(content, Reset):
        return []
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    return [plain(each) for each in content] if isinstance(content, list) else content


def laid_over(below: Any, above: Any) -> Any:
    """Two files as one: mappings entry by entry, lists one behind the other, anything else as it is above."""
    if isinstance(below, dict) and isinstance(above, dict):
        merged = dict(below)
        for key, value in above.items():
            if isinstance(value, Reset):
                merged.pop(key, None)
            else:
                merged[key] = laid_over(below[key], value) if key in below else value
        return merged
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *above]
    return copy.deepcopy(above)


def filled(content: Any, environment: Mapping[str, str]) -> Any:
    """The content with its variables replaced. Raises NotGiven for one that has no default."""
    if isinstance(content, dict):
        return {key: filled(value, environment) for key, value in content.items()}
    if isinstance(content, list):
        return [filled(each, environment) for each in content]
    return _text(content, environment) if isinstance(content, str) else content


def _text(text: str, environment: Mapping[str, str]) -> str:
    def given(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        value = environment.get(match["name"], "")
        if value or match["how"] is None:
            return value
        if match["how"] == ":?":
            raise NotGiven(f"{match['name']}: {match['rest']}")
        return str(match["rest"])

    return _VARIABLE.sub(given, text)


def variables(path: Path) -> dict[str, set[str]]:
    """The variables that a file asks for, each with the ways it does: `:?`, `:-...`, or nothing."""
    asked: dict[str, set[str]] = {}
    for match in _VARIABLE.finditer(path.read_text()):
        if match["name"]:
            how = match["how"] or ""
            asked.setdefault(match["name"], set()).add(how + match["rest"] if how == ":-" else how)
    return asked


SECRETS = {"POSTGRES_PASSWORD": "pg-secret", "S3_ACCESS_KEY": "access", "S3_SECRET_KEY": "s3-secret"}
"""An `.env` as somebody would make it, for the tests."""


def services(*paths: Path) -> dict[str, dict[str, Any]]:
    """The services of these files, laid over each other and filled in."""
    content: Any = {}
    for path in paths or (COMPOSE,):
        content = laid_over(content, read(path))
    found: dict[str, dict[str, Any]] = filled(content["services"], SECRETS)
    return found


OURS = ("topics", "bucket", "collector-1", "collector-2", "worker-1", "worker-2")
"""The services that run this project's image."""
SERVERS = OURS[2:]
"""Those of them that stay."""
