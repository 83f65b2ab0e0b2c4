"""What the views know of what is said about a model: before it is sent, and of its verdict afterwards.

An event can be accepted and then be judged: of two declarations of a version that differ, the first holds.
Whoever said it is told so, as far as it can be known in time. Sending is left to
`feedback.cli.commands.send`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from feedback.datasets.errors import BadRequest
from feedback.datasets.names import parse_name
from feedback.server_client import NoAnswer, Service, path_of
from schemas.errors import Unavailable
from schemas.stages import Stage


class NotJudged(Unavailable):
    """The views have not come as far as the event in time, or nobody answered."""


def discarded(service: Service, event: dict[str, Any], position: str | None) -> str | None:
    """The code with which an accepted event was discarded, or None when it stands. Raises NotJudged.

    The server waits some seconds until its views have come as far as `position`.
    """
    if position is None:
        raise NotJudged
    path = path_of("v1", "feedback", event["id"], source=event["source"], after=position)
    found = _asked(service, path)
    if found is None or not isinstance(found.get("items"), list):
        raise NotJudged
    stages = [stage for item in found["items"] for stage in item["timeline"]]
    return next((stage["code"] for stage in stages if stage["stage"] == Stage.DISCARDED), None)


def doubts(service: Service, data: dict[str, Any]) -> Iterator[str]:
    """What may be a slip in what is said of a version: one never seen, releases that are not there."""
    model, version = data["model"], data["model_version"]
    if not _is_known(service, model, version, data.get("env")):
        yield (
            f"nothing was known of {model} {version} before: no declaration and no prediction. If that is a"
            f" slip, `loopline model show {model}` shows the versions, and saying it again mends it."
        )
    given = data.get("dataset")
    for name in _missing(service, [*data.get("datasets", []), *([given] if given else [])]):
        yield f"there is no release {name} here; `loopline dataset list` shows those there are"


def _is_known(service: Service, model: str, version: str, env: str | None) -> bool:
    """Whether anything is known of a version; yes where that cannot be told."""
    with contextlib.suppress(NoAnswer):
        answer = service.request("GET", path_of("v1", "models", model, env=env))
        if answer.status == 404:
            return False
        found = answer.json()
        if answer.status == 200 and isinstance(found, dict) and isinstance(found.get("versions"), list):
            return any(each["model_version"] == version for each in found["versions"])
    return True


def _missing(service: Service, names: Iterable[str]) -> Iterator[str]:
    """Those of the names that have the form of a release and are none."""
    for name in names:
        with contextlib.suppress(BadRequest, NoAnswer):
            dataset, version = parse_name(name)
            if version is not None:
                answer = service.request("GET", path_of("v1", "datasets", dataset, str(version)))
                if answer.status == 404:
                    yield name


def _asked(service: Service, path: str) -> dict[str, Any] | None:
    with contextlib.suppress(NoAnswer):
        answer = service.request("GET", path)
        found = answer.json()
        if answer.status == 200 and isinstance(found, dict):
            return found
    return None
