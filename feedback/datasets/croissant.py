"""The Croissant 1.1 description of a release: files with their hashes, and the records in them.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html says what the names mean. The tests let
mlcroissant validate it and read records by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from feedback.datasets.caveats import LIMITS, described
from feedback.datasets.cut.columns import SCHEMA
from feedback.datasets.cut.lineage_file import LINEAGE
from feedback.datasets.cut.recipe import SPLITS

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
# The name that readers of Croissant know; the registered one, application/vnd.apache.parquet, they do not.
PARQUET = "application/x-parquet"

_OWN_TERMS = (
    "arrayShape",
    "citeAs",
    "column",
    "containedIn",
    "equivalentProperty",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isArray",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _OWN_TERMS},
}


def croissant(said: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON-LD object, from the manifest and the described files."""
    names = [f"{split}.parquet" for split in SPLITS]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": said["name"],
        "description": "\n".join((described(said), *LIMITS)),
        "conformsTo": CONFORMS_TO,
        "license": "Not licensed: for the organisation whose product it was recorded in.",
        "url": f"urn:loopline:dataset:{said['name']}",
        "version": f"{said['version']}.0.0",
        "datePublished": said["released_at"],
        "citeAs": f"{said['name']}, {said['content_hash']}",
        "distribution": [_file(name, files[name]) for name in (*names, "lineage.parquet")],
        "recordSet": [
            *(_records(split, SCHEMA, "prediction_id") for split in SPLITS),
            _records("lineage", LINEAGE, None),
        ],
    }


def _file(name: str, described_file: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{described_file['bytes']} B",
        "encodingFormat": PARQUET,
        "sha256": described_file["sha256"],
    }


def _records(name: str, schema: Any, key: str | None) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{field.name}",
            "name": field.name,
            "dataType": _data_type(field.type),
            "source": {"fileObject": {"@id": f"{name}.parquet"}, "extract": {"column": field.name}},
        }
        for field in schema
    ]
    keyed = {"key": {"@id": f"{name}/{key}"}} if key is not None else {}
    return {"@type": "cr:RecordSet", "@id": name, "name": name, **keyed, "field": fields}


def _data_type(kind: Any) -> str:
    if pa.types.is_string(kind):
        return "sc:Text"
    if pa.types.is_timestamp(kind):
        return "sc:DateTime"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Integer"
