"""`loopline model`: what is true about a model version, said to the log by a person or a pipeline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from feedback.cli.answers import answer
from feedback.cli.connect import connect
from feedback.cli.judging import NotJudged, discarded, doubts
from feedback.cli.options import Choices, Group, Lazy, command
from feedback.cli.output import note
from feedback.server_client import EventSender, Service
from loopline.ids import MonotonicIds
from schemas import kinds
from schemas.errors import Refused
from schemas.kinds import Kind
from schemas.problems import DECLARATION_CONFLICT

SOURCE = "/loopline/cli"


@click.group(
    cls=Group,
    lazy={
        "list": Lazy(
            "feedback.cli.commands.model_list",
            "list_models",
            "List models, and which version of each serves.",
        ),
        "show": Lazy("feedback.cli.commands.model_list", "show", "Show a model's versions."),
    },
    short_help="List models; declare, evaluate, deploy and roll back versions.",
)
def model() -> None:
    """Look at models, or say what is true about a version: that appends one event to the log."""


def _say(
    choices: Choices, kind: Kind, data: dict[str, Any], said: str, *, version_is_new: bool = False
) -> None:
    """Append one event, and tell what became of it; with a note on what may be a slip."""
    data = {name: value for name, value in data.items() if value not in (None, [])}
    event = {
        "specversion": "1.0",
        "id": MonotonicIds()(),
        "source": SOURCE,
        "type": kind.type,
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "data": data,
    }
    with connect(choices) as service:
        slips = [] if version_is_new else list(doubts(service, data))
        position = EventSender(service, choices["retry_for"]).send_event(event)
        for slip in slips:
            note(slip)
        document = {"event": event, "position": position}
        if kind is kinds.MODEL_DECLARED:
            _tell_verdict(choices, service, document, said)
        else:
            answer(choices, document, f"{said} (event {event['id']})")


def _tell_verdict(choices: Choices, service: Service, document: dict[str, Any], said: str) -> None:
    """Tell whether a declaration holds, which is known once the views have it. Raises Refused if not."""
    event = document["event"]
    name, version = event["data"]["model"], event["data"]["model_version"]
    try:
        code = discarded(service, event, document["position"])
    except NotJudged:
        note(
            "It is accepted and not judged yet: whether it agrees with what was declared before is known when"
            f" the views have it. `loopline model show {name}` then shows what holds."
        )
        answer(
            choices,
            {**document, "judged": False, "code": None},
            f"{name} {version}: the declaration is accepted",
        )
        return
    if code is not None and choices.as_json:
        answer(choices, {**document, "judged": True, "code": code}, "")
    if code == DECLARATION_CONFLICT:
        raise Refused(
            f"{name} {version} was declared before with another shape, and the first holds: declare another"
            f" version, or leave it as it is (`loopline model show {name}` shows it). What was sent now is"
            f" kept as a dead letter ({code})."
        )
    if code is not None:
        raise Refused(f"it does not hold ({code}): `loopline dead-letters list --code {code}` says why")
    answer(choices, {**document, "judged": True, "code": None}, f"{said} (event {event['id']})")


def _environment(function: Any) -> Any:
    option = click.option("--env", metavar="NAME", help="Environment, if it is not prod.")
    return option(function)


@command("declare", short_help="Declare a version and the shape of its output.")
@click.argument("name", metavar="MODEL")
@click.argument("version")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="A label it can give. Once for each.")
@click.option("--open", "is_open", is_flag=True, help="With --label: people may find new labels.")
@click.option("--text", is_flag=True, help="It gives any text.")
@click.option(
    "--json-schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="It gives JSON that fits this schema.",
)
@click.option(
    "--labels-json", metavar="JSON", help="Labels as a JSON list, as in [0, 1, 2]: not all are texts."
)
@click.option("--description", metavar="TEXT", help="One sentence on what it does.")
@click.option(
    "--and-later", is_flag=True, help="It serves every version of MODEL that has no declaration of its own."
)
@_environment
def declare(
    choices: Choices,
    name: str,
    version: str,
    labels: tuple[str, ...],
    is_open: bool,
    text: bool,
    json_schema: Path | None,
    labels_json: str | None,
    description: str | None,
    and_later: bool,
    env: str | None,
) -> None:
    """Declare VERSION of MODEL and the shape of its output: labels, text, or JSON that fits a schema.

    Corrections are checked against it; until it is declared they wait. A declaration cannot be changed: a
    second one of another shape does not hold, and ends with exit status 1.
    With --and-later it serves other versions too, so that the next deploy does not make labels wait.

    \b
      loopline model declare name-matcher 7 --text
      loopline model declare digit-reader 1 --labels-json '[0,1,2,3,4,5,6,7,8,9]'
      loopline model declare triage 3 --label bug --label question --open
    """
    if sum((bool(labels), labels_json is not None, text, json_schema is not None)) != 1:
        raise click.UsageError("give one of --label, --labels-json, --text and --json-schema")
    shape: dict[str, Any] = {}
    if labels or labels_json is not None:
        shape["labels"] = list(labels) if labels else _json(labels_json or "", "--labels-json")
    if text:
        shape["text"] = True
    if json_schema is not None:
        shape["json_schema"] = _json(json_schema.read_text(), str(json_schema))
    if is_open:
        shape["open"] = True
    data = {
        "model": name,
        "model_version": version,
        "output_shape": shape,
        "description": description,
        "later_versions": True if and_later else None,
        "env": env,
    }
    others = ", for versions without a declaration of their own too" if and_later else ""
    _say(choices, kinds.MODEL_DECLARED, data, f"{name} {version} is declared{others}", version_is_new=True)


def _json(text: str, where: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"{where} is not JSON: {error}") from None


@command("evaluated", short_help="Record how a version did.")
@click.argument("name", metavar="MODEL")
@click.argument("version")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    required=True,
    metavar="NAME=VALUE[,n=N][,low=L][,high=H]",
    help="A measured number; with how many cases it rests on and its interval. Once for each.",
)
@click.option("--dataset", metavar="NAME", help="What it was measured on: MODEL@N, or a name of your own.")
@click.option("--split", metavar="NAME", help="The split, as test.")
@_environment
def evaluated(
    choices: Choices,
    name: str,
    version: str,
    metrics: tuple[str, ...],
    dataset: str | None,
    split: str | None,
    env: str | None,
) -> None:
    """Record how VERSION of MODEL did.

    \b
      loopline model evaluated name-matcher 7 --metric accuracy=0.93,n=1200,low=0.91,high=0.95 \\
        --dataset name-matcher@3 --split test
    """
    data = {
        "model": name,
        "model_version": version,
        "metrics": [_metric(text) for text in metrics],
        "dataset": dataset,
        "split": split,
        "env": env,
    }
    _say(choices, kinds.EVALUATION_RECORDED, data, f"the evaluation of {name} {version} is recorded")


def _metric(text: str) -> dict[str, Any]:
    first, *rest = text.split(",")
    name, sign, value = first.partition("=")
    metric: dict[str, Any] = {"name": name}
    try:
        if not sign:
            raise ValueError
        metric["value"] = float(value)
        for part in rest:
            key, _, number = part.partition("=")
            if key not in ("n", "low", "high"):
                raise ValueError
            metric[key] = int(number) if key == "n" else float(number)
    except ValueError:
        raise click.UsageError(f"--metric {text!r} is not NAME=VALUE[,n=N][,low=L][,high=H]") from None
    return metric


@command("deployed", short_help="Say that a version serves now.")
@click.argument("name", metavar="MODEL")
@click.argument("version")
@click.option(
    "--dataset", "datasets", multiple=True, metavar="MODEL@N", help="What it was trained on. Once for each."
)
@_environment
def deployed(choices: Choices, name: str, version: str, datasets: tuple[str, ...], env: str | None) -> None:
    """Say that VERSION of MODEL serves now, and what it was trained on.

    \b
      loopline model deployed name-matcher 7 --dataset name-matcher@3
    """
    data = {"model": name, "model_version": version, "datasets": list(datasets), "env": env}
    _say(choices, kinds.MODEL_DEPLOYED, data, f"{name} {version} is deployed")


@command("rolled-back", short_help="Say that an earlier version serves again.")
@click.argument("name", metavar="MODEL")
@click.argument("version")
@click.option("--why", metavar="TEXT", help="One sentence.")
@_environment
def rolled_back(choices: Choices, name: str, version: str, why: str | None, env: str | None) -> None:
    """Say that MODEL was rolled back, and that VERSION serves again."""
    data = {"model": name, "model_version": version, "why": why, "env": env}
    _say(choices, kinds.MODEL_ROLLED_BACK, data, f"{name} is rolled back to {version}")


for each in (declare, evaluated, deployed, rolled_back):
    model.add_command(each)
