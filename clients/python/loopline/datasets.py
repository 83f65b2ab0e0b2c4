"""Load a dataset release into an Arrow table or a pandas frame, after checking that it is what was released.

    from loopline import datasets

    train = datasets.load("name-matcher", split="train", as_="pandas")

Releases are cut by ``loopline dataset release``; where they are found is in :mod:`loopline.releases`, what
their hash is taken over in :mod:`loopline.content`. pyarrow and pandas are imported when they are needed
(``pip install 'loopline[datasets]'``).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

import msgspec

from loopline.content import CONTENT_SPLITS, combined_hash, need, split_hash
from loopline.errors import DatasetError, ReleaseDamaged, ReleaseNotFound
from loopline.releases import Place, check_name, places

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["load"]

Split = Literal["train", "validation", "test", "audit", "lineage"]
Inputs = Callable[[str], object]

_LEARNING = ("train", "validation", "test")
_ALL = (*CONTENT_SPLITS, "lineage")
_encode = msgspec.json.Encoder().encode


@overload
def load(
    model: str,
    version: int | str = "latest",
    split: Split | None = None,
    as_: Literal["arrow"] = "arrow",
    *,
    name: str | None = None,
    home: str | os.PathLike[str] | None = None,
    url: str | None = None,
    shelf: str | os.PathLike[str] | None = None,
    inputs: Inputs | None = None,
) -> pyarrow.Table: ...
@overload
def load(
    model: str,
    version: int | str = "latest",
    split: Split | None = None,
    *,
    name: str | None = None,
    as_: Literal["pandas"],
    home: str | os.PathLike[str] | None = None,
    url: str | None = None,
    shelf: str | os.PathLike[str] | None = None,
    inputs: Inputs | None = None,
) -> pandas.DataFrame: ...
@overload
def load(
    model: str,
    version: int | str,
    split: Split | None,
    as_: Literal["pandas"],
    *,
    name: str | None = None,
    home: str | os.PathLike[str] | None = None,
    url: str | None = None,
    shelf: str | os.PathLike[str] | None = None,
    inputs: Inputs | None = None,
) -> pandas.DataFrame: ...
def load(
    model: str,
    version: int | str = "latest",
    split: Split | None = None,
    as_: Literal["arrow", "pandas"] = "arrow",
    *,
    name: str | None = None,
    home: str | os.PathLike[str] | None = None,
    url: str | None = None,
    shelf: str | os.PathLike[str] | None = None,
    inputs: Inputs | None = None,
) -> pyarrow.Table | pandas.DataFrame:
    """A release's rows, one a prediction, as they are stored.

    - ``model``: its name, or ``model@version``; ``version``: a number, or the latest.
    - ``name``: for what was released with filters under a name; ``model="zip.web"`` is the same as
      ``model="zip", name="web"``.
    - ``split``: train, validation, test, audit or lineage. Without it, train, validation and test together,
      with a column ``split``; the audited rows are only in ``split="audit"``.
    - ``home``, ``url``, ``shelf``: where to look: a home, a server, or where the releases themselves lie: a
      folder, or an object store as in ``s3://BUCKET/PREFIX?region=...``. Else ``LOOPLINE_DATASETS``, then
      ``LOOPLINE_HOME``, then ``LOOPLINE_URL``, then ``.loopline``.
    - ``inputs``: a function from ``input_ref`` to the input, for products that keep inputs to themselves; it
      is asked once per reference and fills ``input`` where that is null. What it does not know it gives as
      None.

    What is read is checked: each file against its SHA-256, its rows against the split's hash, and the splits'
    hashes against the release's content hash.

    ``output``, ``label`` and ``input`` hold JSON text where the manifest's ``encoding`` says ``json``, plain
    text where it says ``string``.

    Raises :class:`~loopline.errors.ReleaseNotFound`, :class:`~loopline.errors.ReleaseDamaged`,
    :class:`~loopline.errors.DependencyMissing`, from other machines :class:`~loopline.errors.Unreachable` and
    :class:`~loopline.errors.Refused`; all are :class:`~loopline.errors.LooplineError`.
    """
    if split is not None and split not in _ALL:
        raise DatasetError(f"there is no split {split!r}; there are {', '.join(_ALL)}")
    if as_ not in ("arrow", "pandas"):
        raise DatasetError(f"as_ must be 'arrow' or 'pandas', not {as_!r}")
    need("pyarrow")
    dataset, _, number = model.partition("@")
    if name is not None:
        dataset = f"{dataset}.{name}"
    release = _find(check_name(dataset), number or version, places(home, url, shelf))
    wanted = (split,) if split is not None else _LEARNING
    tables = {each: release.read(each) for each in wanted}
    table = tables[split] if split is not None else _together(tables)
    if inputs is not None and split != "lineage":
        table = _fill_inputs(table, inputs, release.encoding("input"))
    return table.to_pandas() if as_ == "pandas" and need("pandas") else table


def _find(model: str, version: int | str, where: list[Place]) -> _Release:
    available: list[str] = []
    for place in where:
        versions = place.versions(model)
        available += [f"{model}@{each}" for each in versions]
        if version == "latest" and versions:
            return _Release(place, model, versions[-1])
        if version != "latest" and _number(version) in versions:
            return _Release(place, model, _number(version))
    raise ReleaseNotFound(f"{model}@{version}", [place.name for place in where], available)


def _number(version: int | str) -> int:
    text = str(version)
    if not (text.isascii() and text.isdigit()):
        raise DatasetError(f"a version is a number or 'latest', not {version!r}")
    return int(text)


class _Release:
    """One release in one place."""

    def __init__(self, place: Place, model: str, version: int) -> None:
        self._place = place
        self._model = model
        self._version = version
        self._name = f"{model}@{version}"
        self._manifest = place.manifest(model, version)
        # A release from before there were names, or with none, is called by its model.
        dataset = str(self._manifest.get("dataset", self._manifest.get("model")))
        said = f"{dataset}@{self._manifest.get('version')}"
        if said != self._name:
            raise self._damaged(f"the manifest calls itself {said}")
        self._hashes = self._check_hashes()

    def encoding(self, column: str) -> str:
        """How the values of a column are written: ``string`` or ``json``."""
        return str(self._manifest.get("encoding", {}).get(column, "json"))

    def read(self, split: str) -> Any:
        """The table of one split, of which file and rows are what was released."""
        pa, parquet = need("pyarrow"), need("pyarrow.parquet")
        name = f"{split}.parquet"
        listed = self._manifest["files"].get(name)
        if not isinstance(listed, dict):
            raise self._damaged(f"the manifest does not list {name}")
        body = self._place.file(self._model, self._version, name)
        found = hashlib.sha256(body).hexdigest()
        if found != str(listed.get("sha256")).removeprefix("sha256:"):
            raise self._damaged(f"{name} has SHA-256 {found}, its manifest says {listed.get('sha256')}")
        table = parquet.read_table(pa.BufferReader(body))
        if split in self._hashes and split_hash(table) != self._hashes[split]:
            raise self._damaged(
                f"the rows in {name} have hash {split_hash(table)}, not {self._hashes[split]}"
            )
        return table

    def _check_hashes(self) -> dict[str, str]:
        """The hashes of the splits, which together are the content hash."""
        try:
            hashes = {split: str(self._manifest["splits"][split]["hash"]) for split in CONTENT_SPLITS}
        except (KeyError, TypeError) as error:
            raise self._damaged("the manifest lacks the hash of a split") from error
        found = combined_hash(hashes)
        if found != self._manifest.get("content_hash"):
            said = self._manifest.get("content_hash")
            raise self._damaged(f"its splits have content hash {found}, its manifest says {said}")
        return hashes

    def _damaged(self, what: str) -> ReleaseDamaged:
        where = f"{self._name} in {self._place.name}"
        return ReleaseDamaged(f"{where} is not what was released: {what}; restore it from a backup")


def _together(tables: dict[str, Any]) -> Any:
    pa = need("pyarrow")
    parts = [
        tables[split].append_column("split", pa.array([split] * tables[split].num_rows, pa.string()))
        for split in _LEARNING
    ]
    return pa.concat_tables(parts, promote_options="default")


def _fill_inputs(table: Any, inputs: Inputs, encoding: str) -> Any:
    """The table with its null inputs asked for by reference, in the encoding of the column."""
    pa = need("pyarrow")
    refs = table.column("input_ref").to_pylist()
    values = table.column("input").to_pylist()
    known: dict[str, str | None] = {}
    for place, (ref, value) in enumerate(zip(refs, values, strict=True)):
        if value is None and ref is not None:
            if ref not in known:
                known[ref] = _as_stored(inputs(ref), encoding)
            values[place] = known[ref]
    column = table.schema.get_field_index("input")
    kind = table.schema.field(column).type
    kind = pa.string() if pa.types.is_null(kind) else kind
    return table.set_column(column, pa.field("input", kind), pa.array(values, kind))


def _as_stored(value: object, encoding: str) -> str | None:
    if value is None:
        return None
    if encoding == "string":
        if not isinstance(value, str):
            raise DatasetError(
                f"inputs gave {type(value).__name__}, but this release stores plain text: give a str"
            )
        return value
    return _encode(value).decode()
