"""What no file of the repository may say: a folder of one machine, or which registry somebody installs from.

Which files belong to the repository is git's answer, including those not committed yet.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:root|home|Users|work|opt/wheels)/[\w.]|[A-Z]:\\Users\\")
"""Folders that exist on the machine of whoever wrote the line."""

REGISTRY_HOSTS = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|crates\.io|proxy\.golang\.org|maven\.org|deb\.debian\.org)\b"
)
"""Where packages come from is the business of whoever installs them."""

RULES = ((MACHINE_PATHS, "a path of one machine"), (REGISTRY_HOSTS, "a registry host"))


class NotARepositoryError(RuntimeError):
    """The folder is no git checkout, so nobody can say which files belong to it."""


def files(root: Path) -> list[Path]:
    """The files of a checkout: tracked, or new and not ignored; those deleted meanwhile are left out.

    Raises NotARepositoryError where git has no answer.
    """
    listed = subprocess.run(
        [
            "git",
            "-c",
            f"safe.directory={root}",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
        cwd=root,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        raise NotARepositoryError(listed.stderr.decode(errors="replace"))
    return [path for name in listed.stdout.decode().split("\0") if name and (path := root / name).is_file()]


def check_text(name: str, text: str) -> list[str]:
    """What one text says that it may not, line by line."""
    return [
        f"{name}:{number} names {what}: {match.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, what in RULES
        for match in pattern.finditer(line)
    ]


def check_files(root: Path, paths: Iterable[Path]) -> list[str]:
    """The same for files; what is not text is passed over."""
    found = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += check_text(path.relative_to(root).as_posix(), text)
    return found
