"""Load a dataset release into an Arrow table or a pandas frame, after checking that it is what was released.

    from loopline import datasets

    train = datasets.load("name-matcher", split="train", as_="pandas")

Releases are cut by ``loopline dataset release``; where they are found is in
:mod:`loopline.datasets.releases`, what their hash is taken over in :mod:`loopline.datasets.content`. pyarrow
and pandas are imported when they are needed (``pip install 'loopline[datasets]'``).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, overload

import msgspec

from loopline.datasets.content import CONTENT_SPLITS, combined_hash, need
from loopline.datasets.inputs import Inputs, fill_inputs
from loopline.datasets.parquet import NotAsStated, Stated, read_table
from loopline.datasets.releases import Place, check_name, places
from loopline.errors import DatasetError, ReleaseDamaged, ReleaseNotFound

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["load"]

Split = Literal["train", "validation", "test", "audit", "lineage"]
_LEARNING = ("train", "validation", "test")
_ALL = (*CONTENT_SPLITS, "lineage")
_ENCODED = ("input", "output", "label")
# What a file may be decoded to where its manifest does not say it: ids and references hardly compress.
_MOST_TIMES_DECODED, _LEAST_DECODED = 1_000, 64 * 1024 * 1024


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
    headers: Mapping[str, str] | None = None,
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
    headers: Mapping[str, str] | None = None,
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
    headers: Mapping[str, str] | None = None,
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
    headers: Mapping[str, str] | None = None,
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
      is asked once per reference and fills ``input`` where that is null. It gives what could be sent as
      ``input`` (:mod:`loopline.values`), and None for what it does not know.
    - ``headers``: sent to a server with each request. User and password may stand in the ``url``; proxies and
      certificates are those that the environment names, as for :class:`loopline.Client`.

    What is read is checked: each file against the size and SHA-256 in the manifest before it is opened, its
    rows against their number and the split's hash, and the splits' hashes against the release's content hash.
    From another machine no more is taken than the manifest states.

    ``output``, ``label`` and ``input`` hold plain text or JSON text, a whole column alike: as the manifest's
    ``encoding`` says, but that an ``input`` filled in is plain text where all inputs are text, and else JSON.
    The metadata of the Arrow fields, or the frame's ``attrs["encoding"]``, say what a column holds.

    Raises :class:`~loopline.errors.ReleaseNotFound`, :class:`~loopline.errors.ReleaseDamaged`,
    :class:`~loopline.errors.DependencyMissing`, from other machines :class:`~loopline.errors.Unreachable`,
    :class:`~loopline.errors.NotLoopline` and :class:`~loopline.errors.RequestRefused`; all are
    :class:`~loopline.errors.LooplineError`.
    """
    _check_wishes(split, as_)
    need("pyarrow")
    dataset, _, number = model.partition("@")
    cut = dataset if name is None else f"{dataset} --name {name}"
    if name is not None:
        dataset = f"{dataset}.{name}"
    release = _find(check_name(dataset), number or version, places(home, url, shelf, headers), cut)
    wanted = (split,) if split is not None else _LEARNING
    tables = {each: release.read(each) for each in wanted}
    table = tables[split] if split is not None else _together(tables)
    if split == "lineage":
        return _as_wanted(table, as_, {})
    encoding = {name: release.encoding(name) for name in _ENCODED}
    if inputs is not None:
        # Of a column without any value the manifest cannot know what its values will be.
        known = encoding["input"] if release.has_inputs else None
        table, encoding["input"] = fill_inputs(table, inputs, known)
    return _as_wanted(table, as_, encoding)


def _check_wishes(split: str | None, as_: str) -> None:
    if split is not None and split not in _ALL:
        raise DatasetError(f"there is no split {split!r}; there are {', '.join(_ALL)}")
    if as_ not in ("arrow", "pandas"):
        raise DatasetError(f"as_ must be 'arrow' or 'pandas', not {as_!r}")


def _as_wanted(table: Any, as_: str, encoding: Mapping[str, str]) -> Any:
    """The table or frame; each column of JSON values says how they are written."""
    if as_ == "pandas":
        need("pandas")
        frame = table.to_pandas()
        frame.attrs["encoding"] = dict(encoding)
        return frame
    fields = [
        field.with_metadata({"encoding": encoding[field.name]}) if field.name in encoding else field
        for field in table.schema
    ]
    return table.cast(need("pyarrow").schema(fields))


def _find(model: str, version: int | str, where: list[Place], cut: str) -> _Release:
    available: list[str] = []
    for place in where:
        versions = place.versions(model)
        available += [f"{model}@{each}" for each in versions]
        if version == "latest" and versions:
            return _Release(place, model, versions[-1])
        if version != "latest" and _number(version) in versions:
            return _Release(place, model, _number(version))
    raise ReleaseNotFound(f"{model}@{version}", [place.name for place in where], available, cut)


def _number(version: int | str) -> int:
    text = str(version)
    if not (text.isascii() and text.isdigit()):
        raise DatasetError(f"a version is a number or 'latest', not {version!r}")
    return int(text)


class _Listed(msgspec.Struct):
    """What a manifest says of a file."""

    bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: str
    rows: Annotated[int, msgspec.Meta(ge=0)]
    decoded_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Release:
    """One release in one place."""

    def __init__(self, place: Place, dataset: str, version: int) -> None:
        self._place = place
        self._dataset = dataset
        self._version = version
        self._name = f"{dataset}@{version}"
        self._manifest = place.manifest(dataset, version)
        # A release from before there were names, or with none, is called by its model.
        called = self._manifest.get("dataset", self._manifest.get("model"))
        said = f"{called}@{self._manifest.get('version')}"
        if said != self._name:
            raise self._damaged(f"the manifest calls itself {said}")
        self._hashes = self._check_hashes()

    def encoding(self, column: str) -> str:
        """How the values of a column are written: ``string`` or ``json``."""
        return str(self._manifest.get("encoding", {}).get(column, "json"))

    @property
    def has_inputs(self) -> bool:
        """Whether the product sent any inputs."""
        inputs = self._manifest.get("inputs")
        return not (isinstance(inputs, dict) and inputs.get("included") == 0)

    def read(self, split: str) -> Any:
        """The table of one split, of which file and rows are what was released."""
        name = f"{split}.parquet"
        listed = self._listed(name)
        with self._place.file(self._dataset, self._version, name, listed.bytes) as path:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != listed.sha256.removeprefix("sha256:"):
                raise self._damaged(f"{name} has SHA-256 {found}, its manifest says {listed.sha256}")
            try:
                table, rows_hash = read_table(path, Stated(listed.rows, self._decoded(listed)))
            except NotAsStated as error:
                raise self._damaged(f"{name}: {error}") from error
        if split in self._hashes and rows_hash != self._hashes[split]:
            raise self._damaged(f"the rows in {name} have hash {rows_hash}, not {self._hashes[split]}")
        return table

    def _listed(self, name: str) -> _Listed:
        """What the manifest says of a file."""
        try:
            return msgspec.convert(self._manifest["files"].get(name), _Listed)
        except msgspec.ValidationError as error:
            raise self._damaged(f"the manifest does not say what {name} is ({error})") from error

    def _decoded(self, listed: _Listed) -> int | None:
        """How many bytes a file may be decoded to: manifests of before did not say it."""
        if listed.decoded_bytes is not None or not self._place.remote:
            return listed.decoded_bytes
        return max(_LEAST_DECODED, _MOST_TIMES_DECODED * listed.bytes)

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
