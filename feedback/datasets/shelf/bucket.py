"""Objects below one prefix of an object store, through `pyarrow.fs`: S3 and what speaks like it.

Every call waits some seconds at most, and says what may be wrong. What the objects mean is left to `objects`.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from feedback.datasets.errors import BadRequest, ShelfUnreachable

# Of others it was not tried whether an object appears whole, and a listing shows what was written before it.
_SCHEME = "s3"

# A store that does not answer is given up after some fifteen seconds, one that refuses at once.
_CONNECT_S, _ANSWER_S, ATTEMPTS = 3.0, 5.0, 3
PIECE = 4 * 1024 * 1024
"""What is read or written at a time, in bytes."""

# By the first of these that the message holds.
_ADVICE = {
    "subject name": "Its certificate is of another host: write `endpoint_override` as it names it.",
    "curlCode: 60": "Its certificate is not trusted: name the file of the authority that signed it by"
    " `tls_ca_file_path=FILE` in the address.",
    "curlCode: 77": "The file that `tls_ca_file_path` names cannot be read as certificates in PEM.",
    "curlCode: 35": "It does not speak TLS there: is its port right, or should it be `scheme=http`?",
    "NETWORK_CONNECTION": "Is it running, and is its address (`endpoint_override`, `scheme`) right?",
    "NO_SUCH_BUCKET": "Create the bucket, or name another one.",
    "ACCESS_DENIED": "Look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and at what they may do.",
    "INVALID_ACCESS_KEY_ID": "Look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    "SIGNATURE_DOES_NOT_MATCH": "Look at AWS_SECRET_ACCESS_KEY, and at the clock of this machine.",
}


def objects_at(uri: str, attempts: int = ATTEMPTS) -> Objects:
    """The objects below a URI of `pyarrow.fs`. Nothing is asked over the network yet. Raises BadRequest."""
    parts = urlsplit(uri)
    bucket = parts.netloc.rpartition("@")[2]
    # A key in the address is nobody's to read.
    name = f"{parts.scheme}://{bucket}{parts.path.rstrip('/')}"
    if parts.scheme != _SCHEME or not bucket:
        raise BadRequest(
            f"releases cannot lie at {name}: name a folder, or an object store as in"
            " s3://BUCKET/PREFIX?region=REGION"
        )
    return Objects(lambda: _connected(uri, name, attempts), name)


def _connected(uri: str, name: str, attempts: int) -> tuple[Any, str]:
    import pyarrow as pa
    from pyarrow import fs

    try:
        files, base = fs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid as error:
        raise BadRequest(f"releases cannot lie at {name}: {error}") from None
    if isinstance(files, fs.S3FileSystem):
        # An address cannot say how long to wait; all else that it said is kept.
        _, (said,) = files.__reduce__()
        files = fs.S3FileSystem(
            **{
                **said,
                "connect_timeout": _CONNECT_S,
                "request_timeout": _ANSWER_S,
                "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
                # In the background, all of a large file would be held in memory.
                "background_writes": False,
            }
        )
    return files, base.rstrip("/")


class Objects:
    """Objects below one prefix, by their paths. Every call raises ShelfUnreachable when it cannot be made."""

    def __init__(self, connect: Callable[[], tuple[Any, str]], name: str) -> None:
        self.name = name
        self._connect = connect
        self._connection: tuple[Any, str] | None = None
        self._connecting = threading.Lock()
        self._bucket_seen = False

    @contextlib.contextmanager
    def speaking(self) -> Iterator[tuple[Any, str]]:
        """The file system, and the path of the prefix in it; its failures are told as ours."""
        try:
            with self._connecting:
                if self._connection is None:
                    self._connection = self._connect()
            yield self._connection
        except (FileNotFoundError, ShelfUnreachable):
            raise
        except OSError as error:
            text = str(error)
            advice = next((advice for code, advice in _ADVICE.items() if code in text), "")
            raise ShelfUnreachable(
                f"the datasets at {self.name} cannot be reached. {advice} ({text})"
            ) from error

    def write(self, path: str, content: bytes) -> None:
        """Write a small object; it appears whole."""
        with self.speaking() as (files, base), files.open_output_stream(f"{base}/{path}", None) as stream:
            stream.write(content)

    def upload(self, source: Path, path: str) -> None:
        """Write an object from a local file, in pieces."""
        with (
            source.open("rb") as file,
            self.speaking() as (files, base),
            files.open_output_stream(f"{base}/{path}", None) as stream,
        ):
            shutil.copyfileobj(file, stream, PIECE)

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator[Any]:
        """An object, to be read from anywhere in it. Raises FileNotFoundError."""
        with self.speaking() as (files, base), files.open_input_file(f"{base}/{path}") as file:
            yield file

    def remove(self, path: str) -> None:
        """Remove an object; it may be gone already."""
        with contextlib.suppress(FileNotFoundError), self.speaking() as (files, base):
            files.delete_file(f"{base}/{path}")

    def listed(self, path: str, *, deep: bool = False) -> list[Any]:
        """What lies below a path, each as pyarrow describes it; nothing when there is no such path."""
        from pyarrow.fs import FileSelector

        with self.speaking() as (files, base):
            below = f"{base}/{path}".rstrip("/")
            found: list[Any] = files.get_file_info(FileSelector(below, allow_not_found=True, recursive=deep))
            # A bucket that is not there lists like one without objects.
            if not found and not self._bucket_seen:
                self._look_for_bucket(files, base.partition("/")[0])
        self._bucket_seen = True
        return found

    def _look_for_bucket(self, files: Any, bucket: str) -> None:
        if not files.get_file_info(bucket).type:
            raise ShelfUnreachable(f"there is no bucket {bucket} for the datasets at {self.name}: create it")

    def described(self, paths: list[str]) -> list[Any]:
        """Each path as pyarrow describes it, those that are not there too."""
        with self.speaking() as (files, base):
            found: list[Any] = files.get_file_info([f"{base}/{path}" for path in paths])
        return found
