"""A relay before a service, by which a test cuts one process off from it while others reach it directly."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Hands bytes to and fro between who connects and the server that an address names.

    Attributes:
        url: the address, by way of the relay.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        login, at, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{port}"))
        self._flows = threading.Event()
        self._flows.set()
        self._refuses = False
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Take connections and bytes, and hand nothing on: as a network that swallows all."""
        self._flows.clear()

    def refuse(self) -> None:
        """Break every connection, and each new one."""
        self._refuses = True
        self._flows.set()
        for each in list(self._open):
            _break(each)

    def mend(self) -> None:
        """Hand on what comes, and what was held back."""
        self._refuses = False
        self._flows.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        self.refuse()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._open.add(client)
        self._flows.wait()
        if self._refuses:
            _break(client)
            return
        server = socket.create_connection(self._server)
        self._open.add(server)
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
        _break(target)
        self._open.discard(source)


def _break(connection: socket.socket) -> None:
    """Reset it: whoever waits for it hears of it at once."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
