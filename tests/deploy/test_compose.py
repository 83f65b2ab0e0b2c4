"""The compose files keep to the specification, and all that they name exists in this project."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from jsonschema import Draft202012Validator

from feedback.server import ROUTES
from feedback.settings import BY_NAME, SETTINGS, value
from tests.deploy import composed
from tests.deploy.composed import BROKERS, COMPOSE, OURS, ROOT, SERVERS, services
from tests.deploy.stand_in import check_command
from tests.docs.pages import blocks

BOTH = [(COMPOSE,), (COMPOSE, BROKERS)]
VARIABLES = {setting.env: setting for setting in SETTINGS}
LONG_RUNNING = {"kafka", "kafka-2", "kafka-3", "postgres", "objects", *SERVERS}


@pytest.fixture(params=BOTH, ids=["one-broker", "three-brokers"])
def each(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """The services, with one broker and with three."""
    return services(*request.param)


def command_line(service: dict[str, Any]) -> list[str]:
    """The words behind `loopline` that a service runs."""
    assert "entrypoint" not in service
    words: list[str] = service["command"]
    return words


# ------------------------------------------------------------------------------------------ the specification


@pytest.mark.parametrize("path", [COMPOSE, BROKERS], ids=lambda path: path.name)
def test_a_file_keeps_to_the_specification(path: Any) -> None:
    """The Compose specification's own schema finds nothing wrong."""
    errors = Draft202012Validator(composed.schema()).iter_errors(composed.plain(composed.read(path)))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_the_schema_finds_mistakes() -> None:
    """A misspelt key and a port that is none do not pass: the check is one."""
    validator = Draft202012Validator(composed.schema())
    assert not validator.is_valid({"services": {"a": {"image": "b", "helthcheck": {}}}})
    assert not validator.is_valid({"services": {"a": {"image": "b", "ports": [{"target": []}]}}})


def test_two_files_are_laid_over_each_other_as_compose_does() -> None:
    """Mappings are merged, lists appended, values replaced, and what is marked `!reset` is gone."""
    below = {"a": {"x": 1, "y": [1]}, "ports": [1]}
    above = {"a": {"x": 2, "y": [2]}, "ports": composed.Reset()}
    assert composed.laid_over(below, above) == {"a": {"x": 2, "y": [1, 2]}}


# -------------------------------------------------------------------------------------------- this project


@pytest.mark.parametrize("name", [name for name in OURS if name != "bucket"])
def test_every_command_exists(each: dict[str, dict[str, Any]], name: str) -> None:
    """What a service runs is a command of ours that accepts these words."""
    check_command(command_line(each[name]))


def test_every_server_runs_twice(each: dict[str, dict[str, Any]]) -> None:
    """Two collectors and two workers; the topics are made once, before them."""
    assert [command_line(each[name])[0] for name in SERVERS] == ["collector", "collector", "worker", "worker"]
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


@pytest.mark.parametrize("name", SERVERS)
def test_every_port_and_health_check_is_the_servers_own(each: dict[str, dict[str, Any]], name: str) -> None:
    """Published and asked is the port that it listens on, with a path that it answers to."""
    service = each[name]
    words = command_line(service)
    kind = "worker_port" if words[0] == "worker" else "port"
    given = words[words.index("--port") + 1] if "--port" in words else None
    listens = value(kind, given, service["environment"])
    (published,) = service["ports"]
    assert published.rpartition(":")[2] == str(listens)
    (address,) = re.findall(r"http://127\.0\.0\.1:[^']+", " ".join(service["healthcheck"]["test"]))
    asked = urlsplit(address)
    assert asked.port == listens
    assert asked.path in {route.path for route in ROUTES}
    assert service["healthcheck"]["test"][:3] == ["CMD", "python", "-c"]
    compile(service["healthcheck"]["test"][3], name, "exec")


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
    assert (store.username, store.password) == (postgres["POSTGRES_USER"], postgres["POSTGRES_PASSWORD"])
    assert store.path == f"/{postgres['POSTGRES_DB']}"
    (objects,) = parse_qs(urlsplit(environment["LOOPLINE_DATASETS"]).query)["endpoint_override"]
    assert objects == "objects:8333"
    assert "http://127.0.0.1:8333/" in " ".join(each["objects"]["healthcheck"]["test"])
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    assert [environment[key] for key in keys] == [each["objects"]["environment"][key] for key in keys]


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
    """Collectors, workers and what prepares for them have the same settings, and the same image."""
    environments = [each[name]["environment"] for name in OURS]
    assert all(environment == environments[0] for environment in environments)
    assert {each[name]["image"] for name in OURS} == {f"loopline-platform:{_version()}"}
    assert {each[name]["build"] for name in OURS} == {"."}


def _version() -> str:
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


# ----------------------------------------------------------------------------------------------- with care


def test_no_password_has_a_default() -> None:
    """Who makes no `.env` is told what to do; nobody runs with a password that is in this repository."""
    asked = composed.variables(COMPOSE)
    assert {name for name, ways in asked.items() if ways == {":?"}} == composed.SECRETS.keys()
    assert {name for name in asked if re.search("PASSWORD|SECRET|KEY", name)} == composed.SECRETS.keys()
    assert composed.variables(BROKERS) == {}
    for missing in composed.SECRETS:
        given = {name: text for name, text in composed.SECRETS.items() if name != missing}
        with pytest.raises(composed.NotGiven, match=rf"{missing}: see docs/how-to/deploy\.md"):
            composed.filled(composed.read(COMPOSE), given)


def test_no_password_stands_in_a_file() -> None:
    """Whatever is called a password or a key in the files is a variable."""
    for path in (COMPOSE, BROKERS):
        for name, service in composed.read(path)["services"].items():
            for key, text in service.get("environment", {}).items():
                if re.search("PASSWORD|SECRET|ACCESS_KEY", key):
                    assert text.startswith("${"), (name, key)
                assert not re.search(r"//[^:/]+:[^$]+@", text), (name, key)


def test_nothing_is_published_to_the_network(each: dict[str, dict[str, Any]]) -> None:
    """Every published port is one of this machine only, and no two services want the same one."""
    ports = [port for service in each.values() for port in service.get("ports", [])]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert len({port.rpartition(":")[0] for port in ports}) == len(ports)
    assert not any(service.get("network_mode") or service.get("privileged") for service in each.values())


def test_every_image_is_pinned(each: dict[str, dict[str, Any]]) -> None:
    """An image has a version, never `latest` and never only a major one."""
    for name, service in each.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service["image"]), name


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


def test_everybody_waits_for_what_they_need(each: dict[str, dict[str, Any]]) -> None:
    """Topics after the brokers, the bucket after the object store, and the servers after all of it."""
    for name, service in each.items():
        for other, how in service.get("depends_on", {}).items():
            once = each[other]["restart"] == "no"
            wanted = "service_completed_successfully" if once else "service_healthy"
            assert how == {"condition": wanted}, (name, other)
    assert set(each["topics"]["depends_on"]) == {name for name in each if name.startswith("kafka")}
    for name in SERVERS:
        assert set(each[name]["depends_on"]) == {"topics", "bucket", "postgres"}


def test_containers_may_do_little(each: dict[str, dict[str, Any]]) -> None:
    """Nobody gains privileges; ours write to their volumes and /tmp only, and have no capability left."""
    for name, service in each.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
    for name in OURS:
        assert each[name]["read_only"] is True
        assert each[name]["cap_drop"] == ["ALL"]
        assert "user" not in each[name], "the image's own user"


def test_volumes_are_named_and_used(each: dict[str, dict[str, Any]]) -> None:
    """What has to stay lies in a named volume, each used once; nothing of the machine is mounted."""
    content: Any = {}
    for path in (COMPOSE, BROKERS) if "kafka-2" in each else (COMPOSE,):
        content = composed.laid_over(content, composed.read(path))
    used = [mount.partition(":")[0] for service in each.values() for mount in service.get("volumes", [])]
    assert sorted(used) == sorted(content["volumes"])


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "docs/how-to/deploy.md"], ids=lambda page: page.stem
)
def test_the_pages_make_the_variables_that_are_asked_for(page: Path, tmp_path: Path) -> None:
    """What a page puts into `.env` is what the file asks for, unguessable, and its owner's only."""
    (made,) = [block.text for block in blocks(page.read_text()) if "> .env" in block.text]
    made = made.partition("docker")[0]
    subprocess.run(
        ["bash", "-euc", f'python() {{ "{sys.executable}" "$@"; }}; {made}'], cwd=tmp_path, check=True
    )
    lines = (tmp_path / ".env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines)
    assert given.keys() == composed.SECRETS.keys()
    assert all(re.fullmatch("[0-9a-f]{40}", text) for text in given.values()), "safe inside an address"
    assert len(set(given.values())) == len(given)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0


def test_partitions_are_few_and_enough_for_the_workers(each: dict[str, dict[str, Any]]) -> None:
    """Every worker gets a partition, and no more are made than sizing them says."""
    partitions = int(each["topics"]["environment"]["LOOPLINE_PARTITIONS"])
    workers = sum(command_line(each[name])[0] == "worker" for name in SERVERS)
    assert workers <= partitions <= 4 * workers
    assert BY_NAME["partitions"].default == 1
