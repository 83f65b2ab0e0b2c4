"""Tell Loopline what a model predicted and what people did about it; pull back datasets to train on.

    from loopline import Client

    client = Client("http://127.0.0.1:8710", source="/shop/name-matcher")
    prediction = client.prediction("name-matcher", "3", "smith", confidence=0.71)
    client.thumb(prediction, "down", person="u-7")
    client.correction(prediction, "smyth", person="u-7")

``loopline.datasets`` loads what was released; it is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopline import errors
from loopline.canonical import canonical_json, input_ref
from loopline.client import Client
from loopline.errors import LooplineError

if TYPE_CHECKING:
    from loopline import datasets

__version__ = "0.1.0"

__all__ = [
    "Client",
    "LooplineError",
    "__version__",
    "canonical_json",
    "datasets",
    "errors",
    "input_ref",
]


def __getattr__(name: str) -> Any:
    if name == "datasets":
        import importlib

        return importlib.import_module("loopline.datasets")
    raise AttributeError(f"module 'loopline' has no attribute {name!r}")
