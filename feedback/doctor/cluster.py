"""Looking at a cluster: brokers and topics, database, whether both belong together, datasets, a collector.

Nothing is changed but for the tables of the catalogue, which are made where they are missing, as anybody who
opens it does. The findings and what every place has are those of `feedback.doctor.finding`.
"""

from __future__ import annotations

import contextlib
import time

from feedback.datasets.shelf.address import shelf_of
from feedback.doctor.finding import FAIL, OK, WARN, Finding, Findings, checked, contents, releases, server
from feedback.installation.cluster import NO_VIEWS, Cluster
from feedback.installation.port import NothingHere
from feedback.plurals import many
from feedback.server_client import NoAddress, NoAnswer, health, log_in, reach
from feedback.settings import without_password
from schemas.errors import Unavailable
from streams.clocks import TOLERANCE_S
from streams.kafka.topics.admin import newest_appends, show
from streams.kafka.topics.policy import NOTE, as_remembered
from streams.log.port import LogRefused, LogUnavailable, format_positions
from streams.projection.apply import check
from streams.queries.freshness import lag
from streams.queries.payloads import Payloads
from streams.store.port import StoreRefused, StoreUnavailable
from streams.store.tables import VIEWS_VERSION

_SLOW_STORE_S = 0.05
_MANY_BEHIND = 1000


def examine_cluster(cluster: Cluster, url: str) -> list[Finding]:
    """Everything that was found; `url` is the collector to ask."""
    found: list[Finding] = []
    with contextlib.closing(cluster):
        looks = (
            ("topics", _topics),
            ("log", _log),
            ("store", _store),
            ("views", _views),
            ("clock", _clock),
            ("datasets", _datasets),
        )
        for subject, look in looks:
            found += checked(subject, look, cluster)
        found += checked("server", _server, cluster, url)
    return found


def _topics(cluster: Cluster) -> Findings:
    found = show(cluster.address)
    # A database that is away is told of by `_store`.
    with contextlib.suppress(Unavailable):
        if (known := cluster.known_log()) is not None:
            findings = as_remembered(found.address, found.findings, found.epochs, known)
            found = found._replace(findings=findings)
    for finding in found.findings:
        said = f"{finding.topic}: {finding.setting} is {finding.found} and has to be {finding.wanted}"
        state = WARN if finding.level == NOTE else FAIL
        yield Finding("topics", state, f"{said}: {finding.why}", finding.remedy)
    if not found.epochs and all(finding.setting != "topic" for finding in found.findings):
        do = "make them with `loopline topics ensure`"
        yield Finding("topics", FAIL, f"there are none at {found.address}", do)
    elif found.epochs and all(finding.level == NOTE for finding in found.findings):
        said = f"{found.address}: {found.brokers} brokers, {found.epochs[-1].partitions} partitions"
        yield Finding("topics", OK, f"{said}, {found.epochs[-1].replication} copies")


def _log(cluster: Cluster) -> Findings:
    with contextlib.closing(cluster.open_log()) as log:
        identity, ends = log.identity, log.ends()
    said = f"{identity.id}, epoch {identity.epoch}, at {format_positions(ends)}"
    yield Finding("log", OK, said)


def _store(cluster: Cluster) -> Findings:
    where = without_password(cluster.store_url)
    entries = cluster.stores.entries()
    started = time.perf_counter()
    cluster.stores.entries()
    took = time.perf_counter() - started
    said = f"{where}, {took * 1000:.1f} ms away, {len(entries)} stores"
    if took > _SLOW_STORE_S:
        yield Finding("store", WARN, said, "workers wait for it in each transaction: put it nearer to them")
    else:
        yield Finding("store", OK, said)
    building = [entry for entry in entries if entry.state == "building"]
    if building:
        versions = ", ".join(sorted({str(entry.views_version) for entry in building}))
        yield Finding("building", OK, f"views of version {versions} are being built beside the current ones")


def _views(cluster: Cluster) -> Findings:
    try:
        store = cluster.current_store()
    except NothingHere:
        yield Finding("views", WARN, f"{NO_VIEWS} (version {VIEWS_VERSION})", "start one")
        return
    with contextlib.closing(cluster.open_log()) as log:
        try:
            check(log, store)
        except StoreRefused as error:
            yield Finding("views", FAIL, str(error))
            return
        ends = log.ends()
        with store.snapshot() as snapshot:
            positions = snapshot.positions()
            at = format_positions({partition: applied.offset for partition, applied in positions.items()})
            yield Finding("views", OK, f"version {store.views_version}, at {at or 'the beginning'}")
            behind = lag(positions, ends)
            do = "are the workers running (`loopline worker`), and what does their /readyz say?"
            state = WARN if behind > _MANY_BEHIND else OK
            yield Finding("lag", state, f"{many(behind, 'block')} behind the log", do if state != OK else "")
            cluster.clocks.stamped(max((applied.received for applied in positions.values()), default=0))
            yield from contents(snapshot, Payloads(log))


def _clock(cluster: Cluster) -> Findings:
    """This machine's clock against PostgreSQL's, and against what brokers have stamped.

    Brokers tell their time to nobody but who appends: whether one is behind, a collector says.
    """
    clocks = cluster.clocks
    cluster.stores.look_at_clock()
    for broker, appended in newest_appends(cluster.address).items():
        clocks.heard_late(broker, appended)
    reasons = clocks.reasons()
    for reason in reasons:
        yield Finding("clock", WARN, reason)
    if not reasons:
        told = ", ".join(sorted(clocks.skews()))
        yield Finding("clock", OK, f"within {TOLERANCE_S:g} s as far as can be seen from here: {told}")


def _server(cluster: Cluster, url: str) -> Findings:
    """Whether there is a ready collector, of this log: another one would take in events for another log."""
    said: str | None = None
    with contextlib.suppress(NoAddress, NoAnswer), contextlib.closing(reach(url, timeout_s=10.0)) as service:
        said = log_in(health(service))
    with contextlib.suppress(LogUnavailable, LogRefused):
        if said is not None and said != cluster.fingerprint():
            do = "name a collector of this log with --url, or as `url` in the settings"
            yield Finding("server", FAIL, f"{url} serves another log than {cluster.log_url}", do)
            return
    yield from server(url, "start one (`loopline collector`), or name it with --url")


def _datasets(cluster: Cluster) -> Findings:
    shelf = shelf_of(cluster.datasets)
    yield Finding("datasets", OK, f"{shelf.name}, of {len(shelf.models())} models")
    # Views that are not there, or not now, are told of by the looks at them.
    with contextlib.suppress(NothingHere, StoreUnavailable):
        yield from releases(cluster.current_store(), shelf)
