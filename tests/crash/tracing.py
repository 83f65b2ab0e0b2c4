"""What a process asked of the system, read from what strace wrote: which bytes went where, in which order.

The order is that of strace's lines: it holds a thread while it notes the begin of a call and its end, so
what waited for the end of one call begins below it. What a power cut would make of it is left to
`tests.crash.power`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg")
SYNCS = ("fsync", "fdatasync")
FILE_WRITE = "pwrite64"
_ALSO = ("pwritev", "pwritev2", "ftruncate", "msync", "sync_file_range")
# Whole database pages are shown; descriptors as what they are open on; all text in hexadecimal.
_STRACE = ("strace", "-f", "--seccomp-bpf", "-yy", "-xx", "-s", "70000")
_UNFINISHED = "<unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL = re.compile(
    r"(?P<name>\w+)\(\d+<(?P<target>[^<>\[]*(?:\[[^\]]*\])?)(?:<[^>]*>)?>(?:\(deleted\))?"
    r"(?:, )?(?P<rest>.*)\)\s+= (?P<result>-?\d+)"
)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_LAST_NUMBER = re.compile(r"(\d+)$")


class Call(NamedTuple):
    """A call that ended: on which file or connection, with which bytes, and between which lines of the trace.

    `number` is the last argument if it is a number: the offset of a write to a file.
    """

    name: str
    target: str
    data: bytes
    number: int
    result: int
    began: int
    ended: int


class Exchange(NamedTuple):
    """A request and its answer; the answer begins to leave at line `answered_at`."""

    request: bytes
    answer: bytes
    answered_at: int


def traced(command: Sequence[str], output: Path) -> list[str]:
    """The command, under strace. Skips the test where that cannot be."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: no system call can be seen")
    tried = subprocess.run([*_STRACE, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()}")
    names = ",".join((*READS, *WRITES, *SYNCS, FILE_WRITE, *_ALSO))
    return [*_STRACE, "-o", str(output), "-e", f"trace={names}", *command]


def calls(trace: str) -> list[Call]:
    """The calls on files and connections, in the order in which they ended."""
    return [call for began, ended, said in _whole(trace) if (call := _call(began, ended, said)) is not None]


def _whole(trace: str) -> Iterator[tuple[int, int, str]]:
    """Each call as one text, with the lines on which it began and ended."""
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(trace.splitlines()):
        thread, _, said = line.partition(" ")
        said = said.strip()
        if said.endswith(_UNFINISHED):
            begun[thread] = (number, said.removesuffix(_UNFINISHED).rstrip())
            continue
        began = number
        resumed = _RESUMED.match(said)
        if resumed:
            began, head = begun.pop(thread)
            said = f"{head} {resumed[1]}"
        yield began, number, said


def _call(began: int, ended: int, said: str) -> Call | None:
    match = _CALL.match(said)
    if match is None:
        return None
    data = b"".join(map(_bytes, _TEXT.findall(match["rest"])))
    number = _LAST_NUMBER.search(match["rest"].rstrip())
    target = match["target"]
    if target.startswith("\\x"):
        target = _bytes(target).decode()
    return Call(
        match["name"], target, data, int(number[1]) if number else 0, int(match["result"]), began, ended
    )


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def exchanges(of: Sequence[Call]) -> list[Exchange]:
    """Every request that was answered, in the order of the answers."""
    under_way: dict[str, Exchange] = {}
    found = []
    for call in of:
        if not call.target.startswith(("TCP", "socket")) or call.result <= 0:
            continue
        now = under_way.get(call.target)
        if call.name in READS:
            if now is None or now.answer:
                found += [now] if now else []
                now = Exchange(b"", b"", 0)
            under_way[call.target] = now._replace(request=now.request + call.data)
        elif call.name in WRITES and now is not None:
            under_way[call.target] = now._replace(
                answer=now.answer + call.data[: call.result], answered_at=now.answered_at or call.began
            )
    found += [exchange for exchange in under_way.values() if exchange.answer]
    return sorted(found, key=lambda exchange: exchange.answered_at)
