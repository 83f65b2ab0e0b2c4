"""`loopline model list` and `show`: what is true about models, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from feedback.cli.answers import answer, table
from feedback.cli.commands.feedback import at_most, first, more_than
from feedback.cli.connect import ask, connect, pages
from feedback.cli.options import Choices, command
from feedback.plurals import many
from feedback.server_client import Service, path_of
from loopline.delivery.answers import loopline_problem
from schemas import kinds
from schemas.errors import Refused

_env = click.option("--env", metavar="NAME", help="Environment, if it is not prod.")
_LABELS_SHOWN = 12


@command("list", short_help="List models, and which version of each serves.")
@_env
@at_most
def list_models(choices: Choices, env: str | None, limit: int) -> None:
    """List the models that are known, and which version of each serves.

    Those that nobody declared or deployed are there too, once they have answered.
    """
    with connect(choices) as service:
        items, more = first(pages(service, "v1", "models", most=limit + 1, env=env), limit)
    rows = [_row(item) for item in items]
    titles = ("model", "serving", "since", "versions", "predictions")
    lines = table(titles, rows) if rows else ["No model is known yet."]
    answer(choices, {"items": items, "more": more}, lines + more_than(more, limit))


def _row(item: Any) -> tuple[Any, ...]:
    serving = next((each for each in item["versions"] if each["serving"]), None)
    since = None if serving is None else serving["deployed"][-1]["since"]
    return item["model"], item["serving"], since, item["versions_total"], f"{item['predictions']:,}"


@command("show", short_help="Show a model's versions.")
@click.argument("name", metavar="MODEL")
@_env
def show(choices: Choices, name: str, env: str | None) -> None:
    """Show MODEL's versions: declared, deployed since and until, evaluations, and what they learned from."""
    with connect(choices) as service:
        found = _known(service, name, env)
    serving = f"version {found['serving']} serves" if found["serving"] else "nothing was said to be deployed"
    lines = [f"{found['model']}: {serving}"]
    for version in found["versions"]:
        lines += ["", f"version {version['model_version']}{', which serves' if version['serving'] else ''}"]
        lines += [f"  {title:<12} {said}" for title, said in _said(version)]
    if "versions_next" in found:
        lines += [
            "",
            f"These are the latest {len(found['versions'])} of {found['versions_total']:,} versions.",
        ]
    answer(choices, found, lines)


def _known(service: Service, name: str, env: str | None) -> dict[str, Any]:
    """What is known of a model. Raises Refused with its name where that is nothing."""
    path = path_of("v1", "models", name, env=env)
    answered = service.request("GET", path)
    if answered.status == 404 and loopline_problem(answered.headers, answered.body) is not None:
        where = f" in the environment {env}" if env else ""
        raise Refused(
            f"nothing is known of the model {name}{where}; `loopline model list` lists those that are known"
        )
    return ask(service, path, "versions")


def _said(version: Any) -> Iterator[tuple[str, str]]:
    """What is true about a version, line by line."""
    declared = version["declared"]
    if declared is None:
        yield "declared", "no: its labels wait until somebody does (loopline model declare)"
    else:
        origin = f", as version {declared['from']} says for those after it" if declared["from"] else ""
        also = ", for versions without a declaration of their own too"
        others = also if declared["later_versions"] and not origin else ""
        yield "declared", _shape(declared["output_shape"]) + origin + others
        if declared["description"]:
            yield "description", declared["description"]
    if version.get("deployed_more"):
        yield "deployed", "before these too"
    for span in version["deployed"]:
        again = " (a rollback)" if span["by"] == kinds.MODEL_ROLLED_BACK.name else ""
        why = f": {span['why']}" if span["why"] else ""
        yield "deployed", f"{span['since']} until {span['until'] or 'now'}{again}{why}"
    if version["datasets"]:
        more = ", and more" if version.get("datasets_more") else ""
        yield "learned from", ", ".join(version["datasets"]) + more
    for each in version["evaluations"]:
        where = ", ".join(name for name in (each["dataset"], each["split"]) if name)
        yield "evaluated", f"{each['at']}{f' on {where}' if where else ''}"
        for metric in each["metrics"]:
            yield "", _metric(metric)
    if version.get("evaluations_more"):
        yield "evaluated", "before these too"
    yield "predictions", many(version["predictions"], "prediction")


def _shape(shape: Any) -> str:
    if "text" in shape:
        return "any text"
    if "labels" in shape:
        labels = shape["labels"]
        shown = [label if isinstance(label, str) else _json(label) for label in labels[:_LABELS_SHOWN]]
        rest = f", and {len(labels) - _LABELS_SHOWN} more" if len(labels) > _LABELS_SHOWN else ""
        return f"{'open ' if shape.get('open') else ''}labels {', '.join(shown)}{rest}"
    return "JSON that fits a schema"


def _metric(metric: Any) -> str:
    """A measured number, with how sure it is, as far as that was told."""
    sure = []
    if metric["low"] is not None and metric["high"] is not None:
        sure.append(f"{metric['low']:g} to {metric['high']:g}")
    if metric["n"] is not None:
        sure.append(f"n = {metric['n']:,}")
    return f"{metric['name']} {metric['value']:g} ({', '.join(sure) or 'without an interval'})"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
