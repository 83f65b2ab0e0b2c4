"""`make release VERSION=X.Y.Z`: one commit and one tag that make a version of what is on this branch.

In these steps, each of which refuses before anything is written:

1. the version is newer than the one that is here, and neither a tag nor frozen schemas have it;
2. nothing is uncommitted, and the changelog says what is new;
3. the gate passes: `.ci/run`, in a clean checkout of its own.

Then the number is written where it is kept, and into the tags of the images; the schemas are frozen as
released; the changelog's section is closed; all of it is committed and tagged. Nothing is pushed:
RELEASING.md says how to go on.
"""

from __future__ import annotations

import argparse
import datetime
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION_FILE = "clients/python/loopline/__init__.py"
CHANGELOG = "CHANGELOG.md"
IMAGES = ("docker-compose.yml", "deploy/kubernetes/*.yaml")
"""Files that name the image by the version."""
OPEN = "## Unreleased\n"

_VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_NUMBER = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")


class Refused(Exception):
    """The version cannot be made; the message says what to do first."""


def release(root: Path, version: str, gate: list[str], today: datetime.date, *, dry: bool) -> list[str]:
    """Make a version. Gives what was done, or, with `dry`, what would be. Raises Refused."""
    before = current(root)
    _check_number(root, version, before)
    _check_tree(root)
    section = unreleased(root)
    if not section.strip():
        raise Refused(f"{CHANGELOG} has nothing under Unreleased: write what is new, then release it")
    done = [
        f"version {before} becomes {version} in {VERSION_FILE}",
        *(f"the image's tag becomes {version} in {path}" for path in images(root)),
        f"schemas/json is frozen as schemas/released/v{version}",
        f"{CHANGELOG}: what was unreleased is {version}",
        f"commit and tag v{version}",
    ]
    if dry:
        return done
    if subprocess.run(gate, cwd=root, check=False).returncode:
        raise Refused(f"`{' '.join(gate)}` fails: mend that first. Nothing was written.")
    _write(root, before, version, today)
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "--message", f"Release {version}")
    _git(root, "tag", "--annotate", f"v{version}", "--message", f"Loopline {version}")
    return done


def current(root: Path) -> str:
    """The version that is here."""
    found = _VERSION.search((root / VERSION_FILE).read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


def images(root: Path) -> list[str]:
    """The files that name the image, below the root."""
    return sorted(path.relative_to(root).as_posix() for each in IMAGES for path in root.glob(each))


def unreleased(root: Path) -> str:
    """What the changelog says is new."""
    text = (root / CHANGELOG).read_text(encoding="utf-8")
    if OPEN not in text:
        raise Refused(f"{CHANGELOG} has no section `{OPEN.strip()}`: put it above the newest version")
    return text.partition(OPEN)[2].partition("\n## ")[0]


def _check_number(root: Path, version: str, before: str) -> None:
    if _NUMBER.fullmatch(version) is None:
        raise Refused(f"{version!r} is no version: name one as in make release VERSION=0.2.0")
    if _git(root, "tag", "--list", f"v{version}").strip():
        raise Refused(f"there is a tag v{version} already: a version is made once")
    if [int(part) for part in version.split(".")] <= [int(part) for part in before.split(".")]:
        raise Refused(f"{version} is not newer than {before}: choose a higher number")
    if _frozen(root, version).exists():
        # A clone may lack the tags; what a release froze is in every clone, and never changes.
        raise Refused(f"schemas/released/v{version} is there already: choose a higher number")


def _check_tree(root: Path) -> None:
    changed = _git(root, "status", "--porcelain").strip()
    if changed:
        raise Refused(f"there are changes that are not committed:\n{changed}\nCommit them or take them back.")


def _write(root: Path, before: str, version: str, today: datetime.date) -> None:
    _replace(root / VERSION_FILE, f'__version__ = "{before}"', f'__version__ = "{version}"')
    for path in images(root):
        _replace(root / path, f"loopline-platform:{before}", f"loopline-platform:{version}")
    _replace(root / CHANGELOG, OPEN, f"{OPEN}\n## {version}, {today.isoformat()}\n")
    shutil.copytree(root / "schemas" / "json", _frozen(root, version))


def _frozen(root: Path, version: str) -> Path:
    return root / "schemas" / "released" / f"v{version}"


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new), encoding="utf-8")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"`git {' '.join(words)}` fails: {done.stderr.strip()}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """Exit status 0 when the version is made or could be, 1 when it is refused."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("version", metavar="VERSION")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    chosen = parser.parse_args(arguments)
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        done = release(ROOT, chosen.version, [str(ROOT / ".ci" / "run")], today, dry=chosen.dry_run)
    except Refused as refusal:
        print(f"make release: {refusal}", file=sys.stderr)
        return 1
    print("\n".join(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
