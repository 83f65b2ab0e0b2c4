"""Ports for servers of tests: nobody else's, and nobody else is given them."""

from __future__ import annotations

import socket

import pytest

from tests.services import ports


def test_a_port_is_given_once() -> None:
    """Who asks again gets another one, also while nobody listens on the first yet."""
    given = [ports.free_port() for _ in range(50)]
    assert len(set(given)) == 50


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    """The next one is given."""
    taken, free = ports.free_port(), ports.free_port()
    with socket.create_server(("127.0.0.1", taken)):
        assert ports.free_port([taken, free]) == free


def test_processes_side_by_side_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """No port of one process is another's, nor one that the system hands out to connections."""
    seen: set[int] = set()
    for worker in ("gw0", "gw1", "gw2", "gw3", ""):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        mine = set(ports.ports_of_process())
        assert not mine & seen
        assert max(mine) < 32_768
        seen |= mine
