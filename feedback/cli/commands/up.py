"""`loopline up` and `loopline demo`: what runs until it is told to stop."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from feedback.cli.answers import answer
from feedback.cli.connect import cluster_of, security_of
from feedback.cli.options import SERVING, Choices, command, serving_options
from feedback.installation.home import Home
from feedback.processes.logging import configure
from feedback.processes.supervisor import Supervisor, stopped_by_signals
from feedback.server.hosts import is_loopback
from feedback.settings import value
from schemas.errors import Refused

_NEXT = """\
Loopline runs at {url}
  home   {home}
  stop   Ctrl-C

Send a prediction, then what a person said about it:

  curl -s {url}/v1/events -H 'content-type: application/json' -d '{{
    "specversion": "1.0", "id": "e-1", "source": "/try", "type": "loopline.prediction.made.v1",
    "time": "2026-01-01T12:00:00Z",
    "data": {{"prediction_id": "p-1", "model": "name-matcher", "model_version": "1", "output": "smith"}}}}'

  curl -s {url}/v1/events -H 'content-type: application/json' -d '{{
    "specversion": "1.0", "id": "e-2", "source": "/try", "type": "loopline.feedback.thumb.v1",
    "time": "2026-01-01T12:00:05Z", "data": {{"prediction_id": "p-1", "person": "u-7", "value": "down"}}}}'

See it joined: {url}/ or {url}/v1/predictions/p-1
"""


def check_server(choices: Choices) -> None:
    """Raises a usage error, or BadSetting, for what cannot be served.

    That is a host which other machines can reach, unless that is meant, and a setting that is first read
    when the server runs, maybe in another process.
    """
    for name in ("outcome_window", "maturity", "stuck_after", "hang_after", *SERVING):
        value(name)
    if not is_loopback(choices["host"]) and not choices["insecure"]:
        raise click.UsageError(
            f"--host {choices['host']} can be reached by other machines, and there are no keys yet: anybody"
            " there could read and write. Add --insecure if that is what you want, or leave --host out."
        )


@command(short_help="Run the server on a home: collector and worker.")
@serving_options
def up(choices: Choices) -> None:
    """Run the server on a home, which is made if it is not there. Ctrl-C or SIGTERM ends it.

    Two processes are started: the collector takes events in and answers when they are on disk, the worker
    brings them into the views. One that dies, or gives no sign of life, is started again. Logs go to
    standard error.
    """
    if cluster_of(choices) is not None:
        raise click.UsageError(
            "LOOPLINE_LOG and LOOPLINE_STORE name a Kafka and a PostgreSQL: there `loopline collector` and"
            " `loopline worker` run. For a server on this machine's files name its --home."
        )
    check_server(choices)
    configure(choices["log_level"], choices["log_format"], "supervisor")
    home = Home(choices.home)
    server = Supervisor(
        home,
        choices["host"],
        choices["port"],
        partitions=choices["partitions"] if choices.was_set("partitions") else None,
        log_level=choices["log_level"],
        datasets=choices["datasets"],
    )
    with stopped_by_signals() as stop:
        try:
            url = server.start(stop)
            if stop.is_set():
                return
            document = {"url": url, "home": str(home.path)}
            answer(choices, document, _NEXT.format(url=url, home=home.path))
            sys.stdout.flush()
            server.watch(stop)
        finally:
            server.stop()


@command(short_help="Run the whole loop on real handwritten digits.")
@click.option("--no-serve", is_flag=True, help="End when it is done, instead of leaving the server running.")
@serving_options
def demo(choices: Choices, no_serve: bool) -> None:
    """Run the whole loop on scikit-learn's 1,797 real handwritten digits, in a fresh home.

    A model trained on few labels reads them, people correct it through the client, the corrections become
    a dataset, and a model is trained on that and deployed. It takes less than a minute. With --log and
    --store it runs on a Kafka and a PostgreSQL, in fresh topics and an empty database, and gives the same
    numbers.
    """
    from feedback import demo as the_demo

    check_server(choices)
    host, port = choices["host"], choices["port"]
    fresh = Path(".loopline-demo")
    home = Home(choices.home if choices.was_set("home") else _fresh_folder(fresh))
    venue: the_demo.OnHome | the_demo.OnCluster
    if cluster_of(choices) is None:
        if home.exists():
            raise Refused(
                f"the demo needs a fresh home, and there is one at {home.path}: choose another --home"
            )
        venue = the_demo.OnHome(home, host, port)
    else:
        from feedback.installation.cluster import Cluster

        if choices.was_set("datasets"):
            raise click.UsageError("the demo releases into a fresh folder of its own: leave --datasets out")
        folder = _fresh_folder(fresh).absolute()
        cluster = Cluster(choices["log"], choices["store"], folder / "datasets", security_of(choices))
        venue = the_demo.OnCluster(cluster, folder, host, port)
    the_demo.run(venue, serve=not no_serve, as_json=choices.as_json)


def _fresh_folder(wanted: Path) -> Path:
    """The folder, or the first like it with a number behind, that is not there."""
    folder, number = wanted, 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
