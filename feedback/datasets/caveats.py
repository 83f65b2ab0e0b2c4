"""What a release does not tell, in words.

Said once, for the card and for the Croissant file. The numbers behind it are in the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SELECTION = (
    "Labels come from people who answered. Whom the product asked, and who took the trouble, is not random:"
    " wrong answers are corrected more often than right ones are confirmed, so the shares of labels here are"
    " not those of the product's traffic. `ask_probability` and `audit_probability` are there to weight by,"
    " where the product recorded them."
)
MAJORITY = (
    "Where several people disagree, the majority's label is taken and `agreement` is its share of the votes,"
    " not the chance that it is right. A tie has no label and is no row."
)
REPEATS = (
    "Rows about the same input are in the same split, but near-duplicates with another `input_ref` may be in"
    " different ones."
)
PERSONAL = "`input`, `output` and `label` may hold personal data of the people who used the product."
LIMITS = (SELECTION, MAJORITY, REPEATS, PERSONAL)


def described(said: Mapping[str, Any]) -> str:
    """One sentence on what a release is, from its manifest."""
    return (
        f"{said['rows']:,} labelled predictions of the model {said['model']}, as people corrected and"
        f" confirmed them in the product up to {said['as_of']} of its event log."
    )
