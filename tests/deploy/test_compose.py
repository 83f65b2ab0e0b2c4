"""The compose files keep to the specification, and all that they name exists in this project."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from jsonschema import Draft202012Validator

from feedback.server.app import ROUTES
from feedback.settings import BY_NAME, LIBRARY_SECRETS, SETTINGS, value
from tests.deploy import composed
from tests.deploy.composed import (
    BROKERS,
    COMPOSE,
    IMAGES,
    NEXT_WORKERS,
    ONCE,
    OURS,
    ROOT,
    SECRETS,
    SERVERS,
    TOPOLOGIES,
    project,
    services,
)
from tests.deploy.stand_in import check_command
from tests.docs.pages import blocks
from tests.services.postgres import PostgresMissing, binaries

VARIABLES = {setting.env: setting for setting in SETTINGS}
STAYING = (*SERVERS, *NEXT_WORKERS)
LONG_RUNNING = {"kafka", "kafka-2", "kafka-3", "postgres", "objects", *STAYING}


@pytest.fixture(params=TOPOLOGIES, ids=["one-broker", "three-brokers"])
def each(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """The services, with one broker and with three."""
    return services(request.param)


def command_line(service: dict[str, Any]) -> list[str]:
    """The words behind `loopline` that a service runs."""
    assert "entrypoint" not in service
    words: list[str] = service["command"]
    return words


# ------------------------------------------------------------------------------------------ the specification


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.name)
def test_a_file_keeps_to_the_specification(path: Any) -> None:
    """The Compose specification's own schema finds nothing wrong."""
    errors = Draft202012Validator(composed.schema()).iter_errors(composed.plain(composed.read(path)))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_the_schema_finds_mistakes() -> None:
    """A misspelt key and a port that is none do not pass: the check is one."""
    validator = Draft202012Validator(composed.schema())
    assert not validator.is_valid({"services": {"a": {"image": "b", "helthcheck": {}}}})
    assert not validator.is_valid({"services": {"a": {"image": "b", "ports": [{"target": []}]}}})


def test_a_service_is_laid_over_the_one_it_extends_as_compose_does() -> None:
    """Mappings are merged, lists appended, values and mounts replaced; what is marked `!reset` is gone."""
    below = {"a": {"x": 1, "y": [1]}, "ports": [1], "volumes": ["one:/data", "other:/b"]}
    above = {"a": {"x": 2, "y": [2]}, "ports": composed.Reset(), "volumes": ["two:/data"]}
    laid = {"a": {"x": 2, "y": [1, 2]}, "volumes": ["other:/b", "two:/data"]}
    assert composed.laid_over(below, above) == laid


def test_a_log_of_before_is_in_the_volumes_that_the_page_keeps() -> None:
    """Under the project's name of before, brokers and releases find what they wrote."""
    page = (ROOT / "docs/how-to/upgrade.md").read_text()
    assert f"COMPOSE_PROJECT_NAME={project(COMPOSE)['name']}" in page
    assert f"COMPOSE_FILE={BROKERS.name}" in page
    three = services(BROKERS)
    for name in ("kafka", "kafka-2", "kafka-3"):
        assert three[name]["volumes"] == [f"{name}:/var/lib/kafka/data"]
        assert three[name]["environment"]["CLUSTER_ID"] == "bG9vcGxpbmUtY29tcG9zZQ"
    assert three["objects"]["volumes"] == ["objects:/data"]


def test_the_topologies_are_two_projects_that_differ_in_brokers_only() -> None:
    """Each has a name of its own, so that no command for one touches the other; the rest is the same."""
    one, three = project(COMPOSE), project(BROKERS)
    assert one["name"] != three["name"]
    assert three["services"].keys() - one["services"].keys() == {"kafka-2", "kafka-3"}
    assert one["services"].keys() <= three["services"].keys()
    assert one["secrets"] == three["secrets"]
    assert set(three["volumes"]) - set(one["volumes"]) == {"kafka-2", "kafka-3"}
    for name, service in one["services"].items():
        other = three["services"][name]
        for key in service.keys() | other.keys():
            of_brokers = name == "kafka" or (name, key) in (("topics", "depends_on"), ("volumes", "volumes"))
            if not of_brokers and key != "environment":
                assert service.get(key) == other.get(key), (name, key)
        if name in OURS:
            both = service["environment"].items() ^ other["environment"].items()
            assert {key for key, _ in both} <= {"LOOPLINE_LOG", "LOOPLINE_REPLICATION"}


# -------------------------------------------------------------------------------------------- this project


@pytest.mark.parametrize("name", [name for name in OURS if name != "bucket"])
def test_every_command_exists(each: dict[str, dict[str, Any]], name: str) -> None:
    """What a service runs is a command of ours that accepts these words."""
    check_command(command_line(each[name]))


def test_every_server_runs_twice(each: dict[str, dict[str, Any]]) -> None:
    """Two collectors and two workers; the topics are made once, before them."""
    assert [command_line(each[name])[0] for name in SERVERS] == ["collector", "collector", "worker", "worker"]
    assert [command_line(each[name])[0] for name in NEXT_WORKERS] == ["worker", "worker"]
    assert {name for name in each if "profiles" in each[name]} == {*NEXT_WORKERS, "loopline", "volumes"}
    assert command_line(each["topics"]) == ["topics", "ensure"]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_and_is_accepted(each: dict[str, dict[str, Any]], name: str) -> None:
    """A variable of ours that is no setting would be ignored in silence: each is one, and fits."""
    environment = each[name]["environment"]
    ours = {key: text for key, text in environment.items() if key.startswith("LOOPLINE_")}
    assert ours.keys() <= VARIABLES.keys()
    for key, text in ours.items():
        assert isinstance(text, str), f"{key} is to be quoted"
        value(VARIABLES[key].name, environ=ours)


@pytest.mark.parametrize("name", STAYING)
def test_every_port_and_health_check_is_the_servers_own(each: dict[str, dict[str, Any]], name: str) -> None:
    """Published and asked is the port that it listens on, with a path that it answers to."""
    service = each[name]
    words = command_line(service)
    kind = "worker_port" if words[0] == "worker" else "port"
    given = words[words.index("--port") + 1] if "--port" in words else None
    listens = value(kind, given, service["environment"])
    (published,) = service["ports"]
    assert published.rpartition(":")[2] == str(listens)
    how, program, port, path = service["healthcheck"]["test"]
    assert (how, program, port) == ("CMD", "is-ready", str(listens))
    assert path in {route.path for route in ROUTES}


def test_health_checks_start_nothing_heavy(each: dict[str, dict[str, Any]]) -> None:
    """What runs every few seconds is a shell or a small program: no Java machine and no interpreter."""
    for name, service in each.items():
        check = service["healthcheck"]
        if name in LONG_RUNNING:
            assert check["test"][1] in ("is-ready", "bash", "pg_isready", "wget"), name
            # Seldom, but soon after the start.
            assert (check["interval"], check["start_interval"]) == ("10s", "1s"), name


@pytest.mark.parametrize("name", OURS)
def test_every_address_leads_to_a_service(each: dict[str, dict[str, Any]], name: str) -> None:
    """Log, store and datasets are services of the same file, on the ports that those listen on."""
    environment = each[name]["environment"]
    brokers = urlsplit(environment["LOOPLINE_LOG"]).netloc.split(",")
    assert brokers == [f"{broker}:9092" for broker in each if broker.startswith("kafka")]
    for broker in brokers:
        inside = each[broker.partition(":")[0]]["environment"]
        assert f"INSIDE://{broker}" in inside["KAFKA_ADVERTISED_LISTENERS"].split(",")
    store = urlsplit(environment["LOOPLINE_STORE"])
    postgres = each["postgres"]["environment"]
    assert (store.hostname, store.port) == ("postgres", 5432)
    assert (store.username, store.password) == (postgres["POSTGRES_USER"], None)
    assert store.path == f"/{postgres['POSTGRES_DB']}"
    (objects,) = parse_qs(urlsplit(environment["LOOPLINE_DATASETS"]).query)["endpoint_override"]
    assert objects == "objects:8333"
    assert "http://127.0.0.1:8333/" in " ".join(each["objects"]["healthcheck"]["test"])


def test_kafka_keeps_what_it_acknowledges(each: dict[str, dict[str, Any]]) -> None:
    """As many copies as brokers, two before the answer, and on disk: they share one machine."""
    brokers = [service for name, service in each.items() if name.startswith("kafka")]
    for service in brokers:
        kafka = service["environment"]
        assert kafka["KAFKA_LOG_FLUSH_INTERVAL_MESSAGES"] == "1"
        assert kafka["KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE"] == "false"
        assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
        assert kafka["KAFKA_LOG_DIRS"] == service["volumes"][0].partition(":")[2]
        assert kafka["KAFKA_MIN_INSYNC_REPLICAS"] == ("2" if len(brokers) == 3 else "1")
        copies = {text for key, text in kafka.items() if key.endswith("REPLICATION_FACTOR")}
        assert copies == {str(len(brokers))}
        voters = kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")
        assert len(voters) == len(brokers)
    assert len({service["environment"]["CLUSTER_ID"] for service in brokers}) == 1
    assert (
        sorted(service["environment"]["KAFKA_NODE_ID"] for service in brokers)
        == ["1", "2", "3"][: len(brokers)]
    )
    assert not any("ZOOKEEPER" in key for service in brokers for key in service["environment"])
    assert each["topics"]["environment"]["LOOPLINE_REPLICATION"] == str(len(brokers))


def test_all_of_ours_agree(each: dict[str, dict[str, Any]]) -> None:
    """Whatever runs the image has the same settings; only who makes topics is told how many partitions."""
    only_topics = {"LOOPLINE_PARTITIONS", "LOOPLINE_REPLICATION", "LOOPLINE_URL"}
    environments = [each[name]["environment"] for name in OURS]
    alike = [{key: text for key, text in one.items() if key not in only_topics} for one in environments]
    assert all(environment == alike[0] for environment in alike)
    # Another number of partitions in `.env` makes no server anew.
    assert {name for name in OURS if only_topics & each[name]["environment"].keys()} == {"topics", "loopline"}
    assert {each[name]["image"] for name in OURS} == {f"loopline-platform:{_version()}"}
    assert {each[name]["build"] for name in OURS} == {"."}


def _version() -> str:
    text = (ROOT / "clients" / "python" / "loopline" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found is not None
    return found[1]


# ----------------------------------------------------------------------------------------------- with care


def test_every_password_comes_from_a_file(each: dict[str, dict[str, Any]]) -> None:
    """Passwords and keys are secrets of Compose, for those who need them; no variable has one."""
    for path in TOPOLOGIES:
        assert {name: each["file"] for name, each in project(path)["secrets"].items()} == {
            name: f"./secrets/{name}" for name in SECRETS
        }
        asked = composed.variables(path)
        assert not any(re.search("PASSWORD|SECRET|KEY", name) for name in asked)
    for name, service in each.items():
        given = service.get("secrets", [])
        assert set(given) <= SECRETS.keys()
        for key, text in service.get("environment", {}).items():
            assert not re.search(r"//[^:/]+:[^$]+@", text), (name, key)
            if re.search("PASSWORD|SECRET|ACCESS_KEY", key):
                assert key.endswith("_FILE"), (name, key)
                assert text.removeprefix("/run/secrets/") in given, (name, key)
        if name in OURS:
            files = {key.removesuffix("_FILE") for key in service["environment"] if key.endswith("_FILE")}
            assert files <= set(LIBRARY_SECRETS)
            assert set(given) == SECRETS.keys()


def test_the_object_store_gets_its_keys_in_its_environment(
    each: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """It reads no files itself: its shell does, and hands every word on to the image's own entry point."""
    *shell, script, zero = each["objects"]["entrypoint"]
    for name in each["objects"]["secrets"]:
        (tmp_path / name).write_text(SECRETS[name])
    script = script.replace("/run/secrets", str(tmp_path)).replace("/entrypoint.sh", "env -- printenv")
    ran = subprocess.run(
        [*shell, script, zero, "AWS_ACCESS_KEY_ID"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "access\n"
    ran = subprocess.run(
        [*shell, script, zero, "AWS_SECRET_ACCESS_KEY"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "s3-secret\n"


def test_nothing_is_published_to_the_network(each: dict[str, dict[str, Any]]) -> None:
    """Every published port is one of this machine only, and no two services want the same one."""
    ports = [port for service in each.values() for port in service.get("ports", [])]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert len({port.rpartition(":")[0] for port in ports}) == len(ports)
    assert {service.get("network_mode", "none") for service in each.values()} == {"none"}
    assert not any(service.get("privileged") for service in each.values())


def test_every_image_is_pinned_and_can_be_pinned_by_digest(each: dict[str, dict[str, Any]]) -> None:
    """An image has a whole version, and a variable with which `.env` names it by its digest."""
    for name, service in each.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service["image"]), name
    digest = "registry.example/it@sha256:" + "0" * 64
    named = project(BROKERS, dict.fromkeys(IMAGES, digest))["services"]
    assert {service["image"] for service in named.values()} == {digest}


def test_the_versions_are_those_that_the_tests_run(each: dict[str, dict[str, Any]]) -> None:
    """Kafka's is that of the test broker's jars; PostgreSQL's major version is the one on this machine."""
    pom = ElementTree.parse(ROOT / "tests/services/kafka/pom.xml").getroot()
    (kafka,) = [
        entry.findtext("{*}version")
        for entry in pom.iter("{http://maven.apache.org/POM/4.0.0}dependency")
        if entry.findtext("{*}groupId") == "org.apache.kafka"
    ]
    assert {each[name]["image"] for name in each if name.startswith("kafka")} == {f"apache/kafka:{kafka}"}
    try:
        server = binaries() / "postgres"
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    major = re.findall(r"\) (\d+)\.", said)
    assert re.findall(r"postgres:(\d+)\.", each["postgres"]["image"]) == major
    assert each["postgres"]["volumes"] == [f"postgres-{major[0]}:/var/lib/postgresql/data"]


def test_every_server_has_a_health_check_and_comes_back(each: dict[str, dict[str, Any]]) -> None:
    """Who stays is asked, started again, given time to end, and kept from filling the disk with logs."""
    staying = {name for name, service in each.items() if service["restart"] == "unless-stopped"}
    assert staying == LONG_RUNNING & each.keys()
    for name in staying:
        service = each[name]
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys(), name
        assert service["stop_grace_period"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["volumes"], name
    for name in each.keys() - staying:
        assert each[name]["restart"] == "no"
        assert each[name]["healthcheck"] == {"disable": True}


def _mebibytes(size: str) -> int:
    return int(size[:-1]) * {"m": 1, "g": 1024}[size[-1]]


def test_everybody_has_a_bound_of_memory(each: dict[str, dict[str, Any]]) -> None:
    """Each has a limit and a reservation; a Java heap fits twice, and what lies in /tmp is memory too."""
    reserved = 0
    for name, service in each.items():
        resources = service["deploy"]["resources"]
        limit, reservation = (_mebibytes(resources[key]["memory"]) for key in ("limits", "reservations"))
        assert reservation < limit, name
        reserved += reservation if name in LONG_RUNNING - set(NEXT_WORKERS) else 0
        if heap := service.get("environment", {}).get("KAFKA_HEAP_OPTS"):
            assert 2 * int(re.findall(r"-Xmx(\d+)m", heap)[0]) < limit
        for mount in service.get("tmpfs", []):
            assert _mebibytes(re.findall("size=(.+)", mount)[0]) * 10 < limit
    # What docs/how-to/deploy.md says that a machine needs.
    assert reserved < (4096 if "kafka-2" in each else 2560)


def test_everybody_waits_for_what_they_need(each: dict[str, dict[str, Any]]) -> None:
    """Topics after the brokers, the bucket after the object store, and the servers after all of it."""
    for name, service in each.items():
        for other, how in service.get("depends_on", {}).items():
            once = each[other]["restart"] == "no"
            wanted = "service_completed_successfully" if once else "service_healthy"
            assert how == {"condition": wanted}, (name, other)
    assert set(each["topics"]["depends_on"]) == {name for name in each if name.startswith("kafka")}
    for name in STAYING:
        assert set(each[name]["depends_on"]) == {*ONCE, "postgres"}


def test_containers_may_do_little(each: dict[str, dict[str, Any]]) -> None:
    """Nobody gains privileges; ours write to their volumes and /tmp only, and have no capability left."""
    for name, service in each.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
    for name in OURS:
        assert each[name]["read_only"] is True
        assert each[name]["cap_drop"] == ["ALL"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", each[name]["user"]), name


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.name)
def test_volumes_are_named_and_used(path: Path) -> None:
    """What has to stay lies in a named volume, each used once; nothing of the machine is mounted."""
    content = project(path)
    mounts = [
        mount
        for name, service in content["services"].items()
        for mount in service.get("volumes", [])
        if name != "volumes"
    ]
    assert sorted(mount.partition(":")[0] for mount in mounts) == sorted(content["volumes"])


def test_a_backup_has_every_volume_that_matters(each: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """Log, views and releases are copied by one service, and what it writes it reads again."""
    copied = {mount.partition(":")[0]: mount.partition(":")[2] for mount in each["volumes"]["volumes"]}
    kept = {name for name in each if name.startswith("kafka")} | {"postgres", "objects"}
    assert copied.keys() == {each[name]["volumes"][0].partition(":")[0] for name in kept}
    assert len(set(copied.values())) == len(copied)
    words = each["volumes"]["entrypoint"]
    for folder in ("there", "back"):
        for place in copied.values():
            (tmp_path / folder / Path(place).name).mkdir(parents=True)
    (tmp_path / "there/kafka/meta.properties").write_text("cluster.id=1")
    there, back = (
        [word.replace("/volumes", str(tmp_path / folder)) for word in words] for folder in ("there", "back")
    )
    archive = subprocess.run([*there, "-c", "."], capture_output=True, check=True).stdout
    subprocess.run([*back, "-x"], input=archive, check=True)
    assert (tmp_path / "back/kafka/meta.properties").read_text() == "cluster.id=1"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "docs/how-to/deploy.md"], ids=lambda page: page.stem
)
def test_the_pages_make_the_secrets_that_are_asked_for(page: Path, tmp_path: Path) -> None:
    """A page makes the files that are asked for: unguessable, kept from others, and never made twice."""
    (made,) = [block.text for block in blocks(page.read_text()) if "mkdir -m 700 secrets" in block.text]
    script = made.partition("docker")[0]
    # A host of containers need not have a Python.
    assert "python" not in script
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True)
    folder = tmp_path / "secrets"
    given = {path.name: path.read_text() for path in folder.iterdir()}
    assert given.keys() == SECRETS.keys()
    assert all(re.fullmatch("[0-9a-f]{40}\n", text) for text in given.values())
    assert len(set(given.values())) == len(given)
    assert folder.stat().st_mode & 0o777 == 0o700
    # The containers' users read them; the folder keeps this machine's from it.
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=False, stderr=subprocess.DEVNULL)
    assert {path.name: path.read_text() for path in folder.iterdir()} == given


def test_partitions_are_few_and_enough_for_the_workers(each: dict[str, dict[str, Any]]) -> None:
    """Every worker gets a partition, and no more are made than sizing them says."""
    partitions = int(each["topics"]["environment"]["LOOPLINE_PARTITIONS"])
    workers = sum(command_line(each[name])[0] == "worker" for name in SERVERS)
    assert workers <= partitions <= 4 * workers
    assert BY_NAME["partitions"].default == 1
