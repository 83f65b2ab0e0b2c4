"""Tell Loopline what a model predicted and what people did about it; pull back datasets to train on.

    from loopline import Client

    client = Client("http://127.0.0.1:8710", source="/shop/name-matcher")
    prediction = client.prediction("name-matcher", "3", "smith", confidence=0.71)
    client.thumb(prediction, "down", person="u-7")
    client.correction(prediction, "smyth", person="u-7")

``loopline.datasets`` loads what was released. Each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopline import errors
from loopline.errors import LooplineError

if TYPE_CHECKING:
    from loopline import datasets
    from loopline.client import Client
    from loopline.rfc8785 import canonical_json, input_ref

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


# Loaded when they are first asked for: whoever wants the errors alone, or the datasets, needs no client.
_LATE = {
    "Client": "loopline.client",
    "canonical_json": "loopline.rfc8785",
    "input_ref": "loopline.rfc8785",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "datasets":
        return importlib.import_module("loopline.datasets")
    if name not in _LATE:
        raise AttributeError(f"module 'loopline' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_LATE[name]), name)
    return found
