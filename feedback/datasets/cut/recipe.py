"""The recipe of a release: which labels go in, and into which split each input goes.

A split is a keyed, stable hash of the input's reference, so any machine at any time puts an input into the
same one; rows about one input stay together. An input with an audited prediction is in `audit` only. Where
the labels come from is left to `rows`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.releases import dataset_of

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "validation", "test", "audit")
TRAINING = SPLITS[:3]
AUDIT = SPLITS.index("audit")
FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
SPLIT_METHOD = "blake2b-64 of input_ref, keyed by the model's name"
RESOLVER = "majority"
RECIPE_VERSION = 1

_HASHES = 2**64
# The first hash that no longer falls into train, and the first that no longer falls into validation.
_BOUNDS = (_HASHES * 8 // 10, _HASHES * 9 // 10)
_DIGEST_BYTES = 8


class Filters(msgspec.Struct, frozen=True):
    """Which predictions' labels go in; None stands for all. `since` is in nanoseconds since 1970."""

    env: str = "prod"
    since: int | None = None
    model_version: str | None = None
    segment: str | None = None


class Wanted(msgspec.Struct, frozen=True):
    """What is to be released: of which model, under which name, and which predictions' labels."""

    model: str
    name: str | None
    filters: Filters

    @property
    def dataset(self) -> str:
        """What the release is a version of."""
        return dataset_of(self.model, self.name)


def split_key(model: str) -> bytes:
    """The key of a model's split hash."""
    return blake2b(f"loopline/splits/{RECIPE_VERSION}/{model}".encode(), digest_size=32).digest()


class Splitter:
    """Assigns inputs to splits: `SPLITS[code]` for each `input_ref`.

    Args:
        model: whose dataset it is; two models split the same input independently.
        audited: the references of inputs with an audited prediction.
    """

    def __init__(self, model: str, audited: Collection[str] = ()) -> None:
        self._keyed = blake2b(key=split_key(model), digest_size=_DIGEST_BYTES)
        self._audited = frozenset(audited)

    def codes(self, references: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int8]]:
        """The split codes of a sequence of references, in order."""
        import numpy as np

        digests = bytearray()
        copy = self._keyed.copy
        for reference in references:
            running = copy()
            running.update(reference.encode())
            digests += running.digest()
        hashes = np.frombuffer(bytes(digests), dtype=">u8").astype(np.uint64)
        codes = np.searchsorted(np.array(_BOUNDS, dtype=np.uint64), hashes, side="right").astype(np.int8)
        if self._audited:
            audited = self._audited
            places = [place for place, reference in enumerate(references) if reference in audited]
            codes[places] = AUDIT
        return codes

    def split(self, reference: str) -> str:
        """The split of one reference."""
        return SPLITS[int(self.codes([reference])[0])]
