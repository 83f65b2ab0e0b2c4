"""`loopline collector` and `loopline worker`: the parts of a deployment on many machines, each one process.

What they do is in `feedback.processes.cluster_collector` and `feedback.processes.cluster_worker`.
"""

from __future__ import annotations

import sys

import click

from feedback.cli.answers import answer
from feedback.cli.commands.up import check_server
from feedback.cli.connect import must_be_cluster
from feedback.cli.options import Choices, command, serving_options
from feedback.cli.output import note
from feedback.processes.logging import configure
from feedback.server_client import address_of
from feedback.settings import value

_ON_ONE = "On one machine `loopline up` runs collector and worker together."


@command(short_help="Run a collector on Kafka: one of many.")
@click.option("--no-intake", is_flag=True, help="Leave the intake topic to other collectors.")
@serving_options
def collector(choices: Choices, no_intake: bool) -> None:
    """Run a collector: it takes events in over HTTP and from Kafka's intake topic, and serves API and page.

    Any number of them run on one log. Ctrl-C or SIGTERM ends it, when what it took is in the log. Exit status
    4 says that the log went on to a new epoch: start it again.
    """
    from feedback.processes.cluster_collector import Collecting
    from feedback.processes.home_server import ignore_hangups

    cluster = must_be_cluster(choices, _ON_ONE)
    check_server(choices)
    configure(choices["log_level"], choices["log_format"], "collector")
    ignore_hangups()
    collecting = Collecting(
        cluster,
        choices["host"],
        choices["port"],
        log_level=choices["log_level"],
        intake=not no_intake,
        patience_s=choices["retry_for"],
    )
    url = collecting.url
    answer(choices, {"url": url, "log": cluster.log_url}, f"A collector of {cluster.log_url} runs at {url}")
    sys.stdout.flush()
    status = collecting.run()
    if status:
        note("The log went on to a new epoch: start this collector again.")
        raise click.exceptions.Exit(status)


@command(short_help="Run a worker from Kafka into PostgreSQL: one of many.")
@serving_options
def worker(choices: Choices) -> None:
    """Run a worker: it brings the log's blocks into the views. Ctrl-C or SIGTERM ends it.

    Any number of them share the log's partitions; one that dies is started again. --port, by default 8711, is
    where it answers /healthz, /readyz and /metrics. One that refuses to run says why there and on standard
    error, and goes on when its views were replaced, or the topics that it missed were made.
    """
    from feedback.processes.cluster_worker import Watcher
    from feedback.processes.supervisor import stopped_by_signals

    cluster = must_be_cluster(choices, _ON_ONE)
    check_server(choices)
    configure(choices["log_level"], choices["log_format"], "supervisor")
    # What LOOPLINE_PORT says is meant for collectors.
    port = value("worker_port", choices.given.get("port"))
    watcher = Watcher(cluster.variables(), choices["host"], port, choices["log_level"])
    url = address_of(choices["host"], port)
    answer(choices, {"url": url, "log": cluster.log_url}, f"A worker of {cluster.log_url} answers at {url}")
    sys.stdout.flush()
    with stopped_by_signals() as stop:
        watcher.run(stop)
