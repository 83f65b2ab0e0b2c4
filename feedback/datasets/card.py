"""The card of a release: `README.md`, for people and for Hugging Face `datasets`.

The front matter makes `load_dataset(folder)` give train, validation and test; the audited rows and the
lineage are configurations of their own, so that nobody trains on them by accident. Hugging Face's cache knows
a folder by its last name and its configurations, so each configuration says which release it is of. The pages
above the releases of a dataset, and above all datasets, name a release too: without them Hugging Face would
put the rows of all releases together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from feedback.datasets.caveats import LIMITS, described
from feedback.datasets.cut.columns import SCHEMA
from feedback.datasets.cut.recipe import TRAINING
from feedback.escaping import as_code, for_markdown
from feedback.shares import share

_MOST_LABELS_SHOWN = 20
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_HUGGING_FACE = (
    "Hugging Face `load_dataset` takes this folder (train, validation and test; `audit` and `lineage` are"
    " configurations of their own), or the folder above it, which gives the latest release."
)
_MEANINGS = {
    "prediction_id": "the prediction that the label is about",
    "input_ref": "SHA-256 of the input, or the product's own reference; what splits are made by",
    "input": "the input, where the product sent it",
    "output": "what the model answered; empty where a person answered first",
    "label": "what people say is right",
    "agreement": "the label's share of the votes",
    "people": "how many people voted",
    "confidence": "the model's own, 0 to 1",
    "segment": "the product's own grouping",
    "model_version": "which version answered",
    "channel": "correction, confirmation or gold",
    "ask_probability": "how likely it was that this person was asked",
    "audit_probability": "how likely it was that this prediction was audited",
    "at": "when the prediction was made (UTC)",
}


def card(said: Mapping[str, Any]) -> str:
    """The text of the card, from the manifest."""
    return "\n".join((*_front_matter(said, ""), *_body(said))) + "\n"


def page_above_releases(said: Mapping[str, Any]) -> str:
    """The page in the folder above the releases of a dataset, from the manifest of the latest."""
    name, folder = said["name"], said["version"]
    text = (
        f"Each folder is a release, whole and unchanging. The latest is [{name}]({folder}/README.md): it is"
        f" what `load_dataset` gives for this folder. For another one name its folder, as in `{folder}`."
    )
    page = (*_front_matter(said, f"{folder}/"), f"# {name.partition('@')[0]}", "", text)
    return "\n".join(page) + "\n"


PAGE_ABOVE_ALL = """\
---
configs:
- config_name: default
  data_files: "(name the folder of one release, as in MODEL/1)"
---

# Datasets

Each folder is the dataset of a model, and each folder in it a release. `load_dataset` takes the folder of one
release, as in `MODEL/1`, or that of a dataset, `MODEL`, for its latest release.
"""
"""The page in the folder above all datasets: Hugging Face refuses that folder, with these words."""


def _front_matter(said: Mapping[str, Any], below: str) -> Iterator[str]:
    size = next((text for limit, text in _SIZES if said["rows"] < limit), "n>1M")
    yield "---"
    yield f'pretty_name: "{said["name"]}"'
    yield "license: other"
    yield "size_categories:"
    yield f'- "{size}"'
    yield "configs:"
    for config, splits in (("default", TRAINING), ("audit", ("audit",)), ("lineage", ("lineage",))):
        # `load_dataset` cannot hold a split without rows.
        filled = [split for split in splits if split == "lineage" or said["splits"][split]["rows"]]
        if filled:
            yield f"- config_name: {config}"
            yield f'  description: "{said["name"]}, {_content(said, config)}"'
            yield "  data_files:"
            for split in filled:
                yield from (f"  - split: {split}", f"    path: {below}{split}.parquet")
    yield "---"
    yield ""


def _content(said: Mapping[str, Any], config: str) -> str:
    """The hash of what a configuration holds: the content hash covers the rows, not the events behind."""
    if config == "lineage":
        return f"sha256:{said['files']['lineage.parquet']['sha256']}"
    content: str = said["content_hash"]
    return content


def _body(said: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"# {said['name']}", "", described(said), "")
    yield from ("```python", "from loopline import datasets", "")
    yield f'train = datasets.load("{said["name"]}", split="train", as_="pandas")'
    yield from (
        "```",
        "",
        _HUGGING_FACE,
        "",
    )
    yield from ("## Splits", "", "| split | rows | share |", "|---|---:|---|")
    for split, counted in said["splits"].items():
        yield f"| {split} | {counted['rows']:,} | {share(counted['rows'], said['rows'])} |"
    yield from ("", *_cut(said), "", "## Labels", "", *_labels(said), "", "## Columns", "", *_columns(said))
    yield from ("", "## What it does not tell", "", *(f"- {limit}" for limit in LIMITS), "")
    yield from (f"Content hash: `{said['content_hash']}`. Everything else is in `manifest.json`.",)


def _cut(said: Mapping[str, Any]) -> Iterator[str]:
    filters = {name: value for name, value in said["recipe"]["filters"].items() if value is not None}
    moved = said["moved_to_audit"]
    left_out = said["left_out"]
    yield "## How it was cut"
    yield ""
    yield f"- As of `{said['as_of']}` of log `{said['log']['id']}`; filters: " + ", ".join(
        f"{name} = {for_markdown(value)}" for name, value in filters.items()
    )
    yield (
        "- Inputs go to train, validation and test 80 / 10 / 10 by a keyed hash of `input_ref`, the same in"
        " every version. An input with an audited prediction is in `audit` only."
    )
    yield f"- Inputs that an earlier version had in another split, now in `audit`: {moved['inputs']:,}."
    yield (
        f"- Left out: {left_out['no_input_ref']:,} without `input_ref`, {left_out['tie']:,} ties (listed in"
        f" the manifest), {said['outside_filters']:,} outside the filters."
    )
    yield f"- Parents: {', '.join(said['parents']) or 'none'}."
    if said["label_shift"] is not None:
        yield f"- Against the parent: {said['label_shift']['means']}."
    yield from (f"- Mind: {caveat}" for caveat in said["gate"]["caveats"])
    if said["allowed"]:
        yield f"- Allowed to fail the gate: {', '.join(said['allowed'])}; see `gate.json`."


def _labels(said: Mapping[str, Any]) -> Iterator[str]:
    rows, labels = said["rows"], said["labels"]
    yield f"Rows on which people disagree: {share(said['disagreements'], rows)}."
    yield ""
    yield "| label | rows | share |"
    yield "|---|---:|---|"
    shown = labels["listed"][:_MOST_LABELS_SHOWN]
    for each in shown:
        yield f"| {_cell(each['label'])} | {each['rows']:,} | {share(each['rows'], rows)} |"
    rest = labels["distinct"] - len(shown)
    if rest:
        rest_rows = rows - sum(each["rows"] for each in shown)
        yield f"| {rest:,} others | {rest_rows:,} | {share(rest_rows, rows)} |"


def _columns(said: Mapping[str, Any]) -> Iterator[str]:
    yield "| column | type | what it is |"
    yield "|---|---|---|"
    for field in SCHEMA:
        encoding = said["encoding"].get(field.name)
        kind = "JSON text" if encoding == "json" else str(field.type)
        yield f"| `{field.name}` | {kind} | {_MEANINGS[field.name]} |"


def _cell(text: str) -> str:
    """A label as the cell of a table: it is somebody's text, and must not become anything else."""
    return as_code(text if len(text) <= 60 else text[:59] + "…")
