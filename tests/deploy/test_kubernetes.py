"""The Kubernetes manifests keep to Kubernetes' API, and all that they name exists in this project."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from feedback.server.app import ROUTES
from feedback.settings import BY_NAME, LIBRARY_SECRETS, SETTINGS, value
from tests.deploy import kubernetes
from tests.deploy.composed import ROOT, SECRETS, services
from tests.deploy.kubernetes import manifests
from tests.deploy.stand_in import check_command
from tests.docs.pages import blocks

ALL = manifests()
SETTINGS_MAP: dict[str, str] = ALL["ConfigMap", "loopline"]["data"]
SERVERS = [ALL["Deployment", f"loopline-{name}"] for name in ("collector", "worker")]
WITH_PODS = [document for (kind, _), document in ALL.items() if kind in ("Deployment", "Job")]
VARIABLES = {setting.env: setting for setting in SETTINGS}


def pod(document: dict[str, Any]) -> dict[str, Any]:
    """The pod that a document makes."""
    found: dict[str, Any] = document["spec"]["template"]["spec"]
    return found


def container(document: dict[str, Any]) -> dict[str, Any]:
    """The one container of its pod."""
    (found,) = pod(document)["containers"]
    assert isinstance(found, dict)
    return found


def name_of(document: dict[str, Any]) -> str:
    """What a document is called."""
    metadata = document["metadata"]
    return str(metadata.get("name") or metadata["generateName"])


@pytest.mark.parametrize("key", ALL, ids="/".join)
def test_a_manifest_keeps_to_the_api(key: tuple[str, str]) -> None:
    """The oldest and the newest version take every document, with no field that they do not know."""
    kubernetes.check(ALL[key])


def test_the_schemas_find_mistakes() -> None:
    """A misspelt field and a port that is none do not pass: the check is one."""
    changes: list[dict[str, Any]] = [{"readynessProbe": {}}, {"ports": [{"containerPort": "many"}]}]
    for change in changes:
        wrong = copy.deepcopy(SERVERS[0])
        container(wrong).update(change)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes.check(wrong)


@pytest.mark.parametrize("document", WITH_PODS, ids=name_of)
def test_every_command_and_setting_exists(document: dict[str, Any]) -> None:
    """What runs is a command of ours in the image of this version; every variable is a setting, and fits."""
    runs = container(document)
    check_command(runs["args"])
    assert runs["image"] == services()["collector-1"]["image"]
    assert runs["envFrom"] == [{"configMapRef": {"name": "loopline"}}]
    given = SETTINGS_MAP | {each["name"]: each["value"] for each in runs.get("env", [])}
    for key, text in given.items():
        assert isinstance(text, str), f"{key} is to be quoted"
    ours = {key: text for key, text in given.items() if key.startswith("LOOPLINE_")}
    assert ours.keys() <= VARIABLES.keys()
    for key in ours:
        value(VARIABLES[key].name, environ=ours)


def test_passwords_are_files_of_a_secret() -> None:
    """No manifest has a password; each file that a variable names lies in the secret that the page makes."""
    assert not [kind for kind, _ in ALL if kind == "Secret"]
    named = {key: text for key, text in SETTINGS_MAP.items() if key.endswith("_FILE")}
    assert {key.removesuffix("_FILE") for key in named} <= set(LIBRARY_SECRETS)
    for document in WITH_PODS:
        (mount,) = [each for each in container(document)["volumeMounts"] if each["name"] == "secrets"]
        assert {text.removeprefix(f"{mount['mountPath']}/") for text in named.values()} == SECRETS.keys()
        (volume,) = [each for each in pod(document)["volumes"] if each["name"] == "secrets"]
        assert volume["secret"]["secretName"] == "loopline"
        # Its group is the pod's; nobody else reads it.
        assert volume["secret"]["defaultMode"] & 0o037 == 0


@pytest.mark.parametrize("document", SERVERS, ids=name_of)
def test_every_probe_asks_the_port_and_a_route(document: dict[str, Any]) -> None:
    """A restart hangs on whether it answers, traffic on whether it is ready."""
    runs = container(document)
    kind, flag, port = runs["args"]
    assert flag == "--port"
    assert port == str(BY_NAME["worker_port" if kind == "worker" else "port"].default)
    assert runs["ports"] == [{"name": "http", "containerPort": int(port)}]
    asked = {name: runs[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {each["port"] for each in asked.values()} == {"http"}
    assert {each["path"] for each in asked.values()} <= {route.path for route in ROUTES}
    assert asked["livenessProbe"]["path"] == asked["startupProbe"]["path"] == "/healthz"
    assert asked["readinessProbe"]["path"] == "/readyz"


@pytest.mark.parametrize("document", SERVERS, ids=name_of)
def test_servers_are_replaced_one_by_one(document: dict[str, Any]) -> None:
    """A new one is ready before an old one goes, also where a node is drained; each has its time to end."""
    name = name_of(document)
    spec = document["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    labels = spec["selector"]["matchLabels"]
    assert labels.items() <= spec["template"]["metadata"]["labels"].items()
    budget = ALL["PodDisruptionBudget", name]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    (spread,) = pod(document)["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels
    grace = int(services()["collector-1"]["stop_grace_period"].removesuffix("s"))
    assert pod(document)["terminationGracePeriodSeconds"] > grace


def test_the_service_leads_to_the_collectors() -> None:
    """Its port is theirs, it selects them only, and its name is one that they answer to."""
    service = ALL["Service", "loopline"]
    labels = SERVERS[0]["spec"]["selector"]["matchLabels"]
    assert service["spec"]["selector"] == labels != SERVERS[1]["spec"]["selector"]["matchLabels"]
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] == container(SERVERS[0])["ports"][0]["name"]
    assert SETTINGS_MAP["LOOPLINE_URL"] == f"http://loopline:{port['port']}"
    assert "loopline" in SETTINGS_MAP["LOOPLINE_ALLOWED_HOSTS"].split(",")


@pytest.mark.parametrize("document", WITH_PODS, ids=name_of)
def test_pods_may_do_little(document: dict[str, Any]) -> None:
    """The image's user by number, a root that cannot be written, no capability, and a bound for all."""
    user, group = map(int, services()["collector-1"]["user"].split(":"))
    allowed = pod(document)["securityContext"]
    assert allowed["runAsNonRoot"] is True
    assert (allowed["runAsUser"], allowed["runAsGroup"], allowed["fsGroup"]) == (user, group, group)
    assert pod(document)["automountServiceAccountToken"] is False
    runs = container(document)
    assert runs["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == runs["resources"]["requests"].keys()
    assert "memory" in runs["resources"]["limits"]
    mounts = {each["name"]: each["mountPath"] for each in runs["volumeMounts"]}
    assert mounts["scratch"] == "/var/lib/loopline", "where the image's TMPDIR is"
    (scratch,) = [each for each in pod(document)["volumes"] if each["name"] == "scratch"]
    assert scratch["emptyDir"]["sizeLimit"]


def test_collectors_go_before_the_workers_whose_views_they_read() -> None:
    """With other views, old workers are replaced last: old collectors read what they keep going."""
    page = (ROOT / "docs/how-to/upgrade.md").read_text()
    rollouts = [block.text for block in blocks(page) if "kubectl apply" in block.text]
    same, beside, instead = (
        re.findall(r"rollout status deployment/loopline-(\S+)", text) for text in rollouts
    )
    assert (same, beside, instead) == (["worker", "collector"], ["worker-next"], ["collector", "worker"])


@pytest.mark.parametrize(
    "typed",
    [
        "apply -f deploy/kubernetes/workers.yaml",
        "rollout status deployment/loopline-worker",
        "delete job/loopline-topics",
    ],
)
def test_what_stands_in_for_kubectl_lets_right_words_pass(typed: str, tmp_path: Path) -> None:
    """Files and names of the manifests are fine."""
    kubernetes.main(typed.split(), tmp_path)


@pytest.mark.parametrize(
    "typed",
    [
        "apply -f deploy/kubernetes/nothing.yaml",
        "rollout status deployment/loopline-nothing",
        "create secret generic loopline --from-file=secrets/nothing",
    ],
)
def test_what_stands_in_for_kubectl_refuses_what_is_not_there(typed: str, tmp_path: Path) -> None:
    """A file, a name or a secret that is not there is told."""
    with pytest.raises((LookupError, OSError)):
        kubernetes.main(typed.split(), tmp_path)
