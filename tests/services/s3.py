"""An S3 server on this machine for tests, and a bucket on it: moto's, in a thread."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "loopline",
    "AWS_SECRET_ACCESS_KEY": "loopline-secret",
    "AWS_REGION": "us-east-1",
    # Nothing on another machine is asked for credentials or a region.
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
BUCKET = "releases"


class S3(NamedTuple):
    """An S3 server: `uri("x")` is a place of its own in its bucket."""

    host: str
    port: int

    def uri(self, prefix: str, bucket: str = BUCKET) -> str:
        """The address of a prefix, in pyarrow's form."""
        return f"s3://{bucket}/{prefix}?{connection(self.host, self.port)}"

    def put(self, key: str, content: bytes) -> None:
        """Lay an object into its bucket from inside the server: a thousand requests take 12 s of CPU."""
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(BUCKET, key, content)


def connection(host: str, port: int) -> str:
    """What an address says about the connection."""
    return f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"


@contextlib.contextmanager
def silent_store() -> Iterator[str]:
    """The address of an object store that takes connections and never answers, until the context ends."""
    with socket.socket() as listening, patch.dict(os.environ, CREDENTIALS):
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"s3://{BUCKET}/x?{connection(*listening.getsockname())}"


@contextlib.contextmanager
def s3_over_tls(certificate: Path) -> Iterator[int]:
    """The same over HTTPS, beside `s3_server`, whose buckets it has; gives its port.

    `certificate` is a file with its key too.
    """
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(
        "127.0.0.1",
        0,
        DomainDispatcherApplication(create_backend_app),
        threaded=True,
        request_handler=MotoRequestHandler,
        ssl_context=(str(certificate), str(certificate)),
    )
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    """A server with a bucket, until the context ends; this process and its children may use it."""
    from moto.server import ThreadedMotoServer
    from pyarrow.fs import S3FileSystem

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with patch.dict(os.environ, CREDENTIALS):
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            made = S3FileSystem(
                endpoint_override=f"{host}:{port}",
                scheme="http",
                region="us-east-1",
                allow_bucket_creation=True,
            )
            made.create_dir(BUCKET)
            yield S3(host, port)
        finally:
            server.stop()
