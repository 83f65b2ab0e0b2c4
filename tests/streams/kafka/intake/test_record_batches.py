"""What producers packed is unpacked up to a bound."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
import zstandard
from aiokafka.errors import KafkaError

from streams.kafka.intake import record_batches


@pytest.mark.parametrize(
    "codec,pack", [(1, gzip.compress), (4, zstandard.ZstdCompressor().compress)], ids=["gzip", "zstd"]
)
def test_a_batch_that_becomes_too_large_is_not_unpacked(codec: int, pack: Callable[[bytes], bytes]) -> None:
    """A megabyte may become a gigabyte; what fits is the same as before."""
    assert record_batches.decoded(codec, pack(b"a" * 1_000_000), 1_000_000) == b"a" * 1_000_000
    with pytest.raises(KafkaError, match="when unpacked"):
        record_batches.decoded(codec, pack(b"a" * 1_000_001), 1_000_000)
