"""Where a command works: which place it means, and where its questions and events go.

`place_of` gives the Kafka and PostgreSQL that the settings name, else the home. `connect` takes the server
that `--url` names; else, with a log on Kafka, the collector at the host and port; else the server that runs
on the home; else it holds the home's lock and answers in process, through the very same application. What
is asked is left to the commands.

Somebody else's server may listen at an address. So one that is found by its address is asked which log it
serves (`Compared`), wherever the settings name a log too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from feedback.cli.options import Choices
from feedback.cli.output import note
from feedback.installation.home import Home, HomeMissing, Locked
from feedback.server_client import (
    Answer,
    NoAnswer,
    OverHttp,
    Service,
    address_of,
    health,
    log_in,
    path_of,
    reach,
    serves,
)
from feedback.settings import without_password
from loopline.delivery.answers import loopline_problem
from loopline.errors import NotLoopline
from schemas.errors import Refused, Unavailable
from streams.log.port import LogRefused, LogUnavailable

if TYPE_CHECKING:
    from feedback.installation.cluster import Cluster
    from streams.kafka.security import Security

_PATIENCE_S = 2.0


class ServesAnotherLog(Refused):
    """A server serves another log than the one that the settings name."""


def place_of(choices: Choices) -> Home | Cluster:
    """The place that these choices mean. Raises a usage error when they name half a cluster."""
    cluster = cluster_of(choices)
    return cluster if cluster is not None else Home(choices.home)


def cluster_of(choices: Choices) -> Cluster | None:
    """The Kafka and PostgreSQL that these choices name, or None when they mean a home.

    A `--home` on the command line goes before a log and a store that environment or file name.
    """
    flags = {"log", "store"} & choices.given.keys()
    if "home" in choices.given:
        if flags:
            raise click.UsageError("--home is for one machine; --log and --store are for many: not both")
        return None
    log, store = choices["log"], choices["store"]
    if (log is None) != (store is None):
        there, missing = ("log", "store") if store is None else ("store", "log")
        raise click.UsageError(
            f"{_named(there)} is set and {_named(missing)} is not, and they go together: the views of a log"
            " on Kafka lie in PostgreSQL. Set both, or neither for a home on this machine."
        )
    if log is None:
        return None
    # Loaded late: most commands work on a home.
    from feedback.installation.cluster import Cluster

    return Cluster(
        log,
        store,
        choices["datasets"] or Home(choices.home).datasets,
        security_of(choices),
        called=_running(),
    )


def _running() -> str:
    """The command that is running, for whoever looks at the database's connections."""
    context = click.get_current_context(silent=True)
    words = context.command_path.split()[1:] if context is not None else []
    return " ".join(["loopline", *(words or ["command"])])


def security_of(choices: Choices) -> Security:
    """How these choices say that Kafka is reached. Raises a usage error when they contradict each other."""
    from feedback.kafka_settings import kafka_security

    return kafka_security(choices.__getitem__)


def must_be_cluster(choices: Choices, instead: str) -> Cluster:
    """The cluster that these choices name. Raises a usage error, which says what to do on one machine."""
    cluster = cluster_of(choices)
    if cluster is None:
        raise click.UsageError(
            f"{_named('log')} and {_named('store')} are not set: name the Kafka and the PostgreSQL to work"
            f" on. {instead}"
        )
    return cluster


def works_here(choices: Choices) -> Home | Cluster:
    """The place to work on, for what is done where the log is and cannot be asked of a server.

    Raises a usage error for the `--url` of a server that is not the home's; of an address in environment or
    file it tells that the home is worked on.
    """
    place = place_of(choices)
    if isinstance(place, Home) and choices["url"] is not None:
        if "url" in choices.given:
            if is_served(place, choices["url"]):
                return place
            raise click.UsageError(
                "this works where the log is, not through a server: leave --url out and run it on the machine"
                f" of the server, with its --home (here that is {place.path})"
            )
        note(f"this works on the home {place.path}, whatever server LOOPLINE_URL or the file names")
    return place


def is_served(home: Home, url: str) -> bool:
    """Whether a server that answers there serves the log of this home."""
    with contextlib.suppress(NoAnswer):
        if home.exists():
            with contextlib.closing(reach(url)) as service:
                return serves(service, home)
    return False


def _named(setting: str) -> str:
    return f"--{setting} (LOOPLINE_{setting.upper()})"


@contextlib.contextmanager
def connect(choices: Choices) -> Iterator[Service]:
    """The service that these choices lead to. Raises Unavailable."""
    service = _find(choices)
    try:
        yield service
    except NoAnswer as error:
        raise Unavailable(f"{error}. Is it running? `loopline doctor` looks for the reason.") from None
    finally:
        service.close()


def _find(choices: Choices) -> Service:
    url, cluster = choices["url"], cluster_of(choices)
    home = Home(choices.home)
    if cluster is not None:
        return Compared(reach(url or address_of(choices["host"], choices["port"])), cluster)
    if url is not None:
        # A home that nobody named says nothing about which server is meant.
        named = choices.was_set("home") and home.exists()
        return Compared(reach(url), home) if named else reach(url)
    running = running_server(home)
    if running is not None:
        return running
    # Loaded late: a command that speaks to a server needs no store, log or application.
    from feedback.processes.home_server import InProcess

    try:
        home.must_exist()
        return InProcess(home, wait_s=choices.lock_wait_s, datasets=choices["datasets"])
    except Locked as error:
        raise Unavailable(f"{error} It does not answer, though.") from None
    except HomeMissing as error:
        raise Unavailable(f"no server runs, and {error}") from None


class Compared:
    """A server that is asked which log it serves before it is asked or sent anything else.

    One that serves another log than `place` has is refused. While it cannot be told, nothing is sent; what is
    asked is asked all the same, and a note says so.
    """

    def __init__(self, service: Service, place: Home | Cluster) -> None:
        self.name = service.name
        self._service = service
        self._place = place
        self._is_known = self._is_noted = False

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request and its answer. Raises NoAnswer, and Refused for a server of another log."""
        if method == "GET":
            self._compare_for_reading()
        else:
            self.compare()
        return self._service.request(method, path, body, headers)

    def close(self) -> None:
        """Let go of the connection, and of what told which log it has to be."""
        self._service.close()
        self._place.close()

    def compare(self) -> None:
        """Raises Refused unless it is the log that is meant; NoAnswer when that may be known later."""
        if self._is_known:
            return
        answer = health(self._service)
        said = log_in(answer)
        if said is None:
            raise self._untold(answer)
        try:
            meant = self._place.fingerprint()
        except LogUnavailable as error:
            why = without_password(str(error)).rstrip(".")
            raise NoAnswer(f"{self._doubt()}: {why}") from None
        except LogRefused as error:
            why = without_password(str(error)).rstrip(".")
            raise Refused(f"{self._doubt()}: {why}") from None
        if said != meant:
            raise ServesAnotherLog(
                f"{self.name} serves another log ({said}) than the one that is set ({meant}, of"
                f" {self._place.name}), and was sent nothing: name a server of that log with --url or as"
                " `url` in the settings, or correct what names the log"
            )
        self._is_known = True

    def _compare_for_reading(self) -> None:
        if self._is_noted:
            return
        try:
            self.compare()
        except ServesAnotherLog:
            raise
        except (Refused, Unavailable) as doubt:
            # A server that is away is told as such.
            health(self._service)
            note(f"{str(doubt).rstrip('.')}. What it answers may be of another log.")
            self._is_noted = True

    def _doubt(self) -> str:
        return f"it cannot be told whether {self.name} serves the log of {self._place.name}"

    def _untold(self, answer: Answer) -> Refused | Unavailable:
        """What to tell of a server that does not say which log it serves."""
        said = answer.json()
        if answer.status == 200 and isinstance(said, dict) and said.get("status") == "ok":
            return Refused(
                f"{self._doubt()}, for its version of Loopline does not say so: upgrade it, or leave the log"
                " out of the settings and name the server alone"
            )
        return refusal(self._service, answer)


def running_server(home: Home) -> OverHttp | None:
    """The server that runs on a home and answers; a starting one is waited for.

    Who answers says which log it serves: at the address of a server that is gone may be another by now.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while (info := home.server()) is not None:
        service = OverHttp(info.url)
        try:
            if not serves(service, home):
                service.close()
                return None
        except NoAnswer:
            service.close()
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.05)
        else:
            return service
    return None


def ask(service: Service, path: str, *fields: str) -> dict[str, Any]:
    """The JSON object that a GET answers with; it has these fields.

    Raises Refused with the problem's words, Unavailable for a 5xx, and for what no Loopline says.
    """
    answer = service.request("GET", path)
    if answer.status != 200:
        raise refusal(service, answer)
    found = answer.json()
    if not isinstance(found, dict) or not set(fields) <= found.keys():
        raise foreign(service, answer)
    return found


def refusal(service: Service, answer: Answer) -> Refused | Unavailable:
    """What to tell about an answer that is not the one hoped for."""
    problem = loopline_problem(answer.headers, answer.body)
    if problem is None:
        return foreign(service, answer)
    said = f"{problem.get('title', answer.status)}: {problem.get('detail', answer.status)}"
    return (Unavailable if answer.status >= 500 else Refused)(said)


def foreign(service: Service, answer: Answer) -> Unavailable:
    """What to tell about an answer that is no Loopline's: another server, a proxy or a login page."""
    return Unavailable(str(NotLoopline(service.name, f"answered {answer.status}")))


def pages(service: Service, *parts: str, most: int | None = None, **query: Any) -> Iterator[Any]:
    """The items of a paged list, page after page, up to `most`."""
    following: str | None = None
    given = 0
    while True:
        limit = 1000 if most is None else min(1000, most - given)
        if limit <= 0:
            return
        page = ask(service, path_of(*parts, **query, limit=limit, next=following), "items")
        yield from page["items"]
        given += len(page["items"])
        following = page.get("next")
        if following is None:
            return
