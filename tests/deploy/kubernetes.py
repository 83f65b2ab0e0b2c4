"""The Kubernetes manifests as data, and what stands in for `kubectl` where pages are followed.

There is no cluster where the tests run: documents are held against the schemas of Kubernetes' own API, which
come with the `kubernetes-validate` distribution, and commands against the manifests.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.deploy.composed import ROOT

FOLDER = ROOT / "deploy/kubernetes"
VERSIONS = ("1.30", "1.37")
"""The oldest Kubernetes that the manifests are for, and the newest of which the schemas are here."""


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a file."""
    return [document for document in yaml.safe_load_all(text) if document]


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """All documents, by kind and name."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for document in documents(path.read_text()):
            metadata = document["metadata"]
            key = document["kind"], metadata.get("name") or metadata["generateName"]
            assert key not in found, f"{key} is there twice"
            found[key] = document
    return found


def check(document: dict[str, Any]) -> None:
    """Raises kubernetes_validate.ValidationError where a version of the API would not take a document."""
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)


def main(words: list[str], reader: Path) -> None:
    """What was typed behind `kubectl`. Raises LookupError or OSError where something is not there."""
    parser = argparse.ArgumentParser(prog="kubectl")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("apply", "create", "delete"):
        command = commands.add_parser(name)
        command.add_argument("-f", dest="files", action="append", default=[])
        command.add_argument("--from-file", dest="secrets", action="append", default=[])
        command.add_argument("named", nargs="*", default=[])
    wait = commands.add_parser("wait")
    wait.add_argument("--for", required=True)
    wait.add_argument("named", nargs=1)
    rollout = commands.add_parser("rollout")
    rollout.add_argument("what", choices=["status", "restart"])
    rollout.add_argument("named", nargs=1)
    for command in (wait, rollout):
        command.add_argument("--timeout", default="")
    typed = parser.parse_args(words)
    for name in getattr(typed, "files", []):
        text = sys.stdin.read() if name == "-" else (ROOT / name).read_text()
        for document in documents(text):
            check(document)
    for secret in getattr(typed, "secrets", []):
        (reader / secret).stat()
    known = {f"{kind.lower()}/{name}" for kind, name in manifests()}
    lost = [each for each in typed.named if "/" in each and not {each, each.removesuffix("-next")} & known]
    if lost:
        raise LookupError(f"no manifest makes {lost}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:], Path(os.environ.get("READER", ".")))
    except (LookupError, OSError, kubernetes_validate.ValidationError) as error:
        sys.exit(str(error))
