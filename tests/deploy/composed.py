"""The compose files as data: read, filled in from an environment, and put together as Compose does.

Only what our files use is understood; anything else is an error. Whether a file keeps to the specification is
asked of its own JSON Schema, which comes with the `check-jsonschema` distribution. Running what the files say
is left to the tests.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import files
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
"""One broker."""
BROKERS = ROOT / "docker-compose.brokers.yml"
"""Three brokers; a file of its own, which extends the services of the first."""
TOPOLOGIES = (COMPOSE, BROKERS)

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


@cache
def read(path: Path) -> dict[str, Any]:
    """A compose file with its anchors resolved; variables stand as they are written. Do not change it."""
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
    """A service over the one that it extends: mappings merged, lists one behind the other, values replaced.

    Of two volumes in the same place the upper one stays.
    """
    if isinstance(below, dict) and isinstance(above, dict):
        merged = dict(below)
        for key, value in above.items():
            if isinstance(value, Reset):
                merged.pop(key, None)
            elif key == "volumes" and key in below:
                places = {mount.partition(":")[2] for mount in value}
                kept = [mount for mount in below[key] if mount.partition(":")[2] not in places]
                merged[key] = [*kept, *value]
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


def project(path: Path = COMPOSE, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a file makes of these variables: name, services with what they extend, secrets and volumes."""
    content = read(path)
    extended = {name: _extended(path, service) for name, service in content["services"].items()}
    found: dict[str, Any] = filled({**content, "services": extended}, environment or {})
    return found


def _extended(path: Path, service: dict[str, Any]) -> dict[str, Any]:
    """A service over the one that it extends, which lies in another file of the same folder."""
    extends = service.get("extends")
    if extends is None:
        return service
    base_path = path.with_name(extends["file"])
    base = _extended(base_path, read(base_path)["services"][extends["service"]])
    own = {key: value for key, value in service.items() if key != "extends"}
    merged: dict[str, Any] = laid_over(base, own)
    return merged


def services(path: Path = COMPOSE) -> dict[str, dict[str, Any]]:
    """The services of a file, those with a profile too, with nothing set that has a default."""
    found: dict[str, dict[str, Any]] = project(path)["services"]
    return found


SECRETS = {"postgres-password": "pg-secret", "s3-access-key": "access", "s3-secret-key": "s3-secret"}
"""What the files in `secrets` hold, for the tests."""
IMAGES = ("LOOPLINE_IMAGE", "KAFKA_IMAGE", "POSTGRES_IMAGE", "OBJECTS_IMAGE")
"""The variables with which an image is named otherwise, as by its digest."""
SERVERS = ("collector-1", "collector-2", "worker-1", "worker-2")
"""The services of ours that stay."""
NEXT_WORKERS = ("next-worker-1", "next-worker-2")
"""Workers of a new version; only an upgrade starts them."""
ONCE = ("topics", "bucket")
"""What runs to its end before the servers start."""
OURS = (*ONCE, *SERVERS, *NEXT_WORKERS, "loopline")
"""The services that run this project's image; the last runs commands."""
