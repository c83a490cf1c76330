"""What the datasets library writes into its files beside the cells: the names of classes, whose numbers alone the cells hold."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.files import JSON_FAULTS
from duomo.data.scenes.shared import FAULTS

CARD_FAULTS = (*JSON_FAULTS, *FAULTS)


def classes_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Column -> the names of its classes, from the metadata of an Arrow or Parquet file."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: found for name, feature in _flat(features) if (found := _names(feature))}
    except CARD_FAULTS:
        return {}


def _flat(features: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Features by name; those of things in lists by two names, objects.category."""
    for name, feature in features.items():
        inner = feature[0] if isinstance(feature, list) and feature else feature
        inner = inner["feature"] if isinstance(inner, dict) and isinstance(inner.get("feature"), dict) else inner
        if isinstance(inner, dict) and not isinstance(inner.get("_type"), str):
            yield from _flat(inner, f"{before}{name}.")
        yield f"{before}{name}", feature


def _names(feature: Any) -> list[str]:
    """The names of a feature that is a class, or a list of classes."""
    feature = feature["feature"] if isinstance(feature, dict) and isinstance(feature.get("feature"), dict) else feature
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else []


def with_names(table: pa.Table, classes: Mapping[str, Sequence[str]]) -> pa.Table:
    """The table with these names in place of numbers; a number of none, such as -1, is no class."""
    for name, names in classes.items():
        place = table.column_names.index(name) if name in table.column_names else -1
        kind = table.schema.field(place).type if place >= 0 else pa.null()
        if pa.types.is_integer(kind):
            known = pc.and_(pc.greater_equal(table.column(place), 0), pc.less(table.column(place), len(names)))
            numbers = pc.if_else(known, table.column(place), None)
            table = table.set_column(place, name, pc.take(pa.array(names, pa.large_string()), numbers))
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            called = dict(enumerate(names))
            cells = [None if cell is None else json.dumps([called.get(number) for number in cell], ensure_ascii=False)
                     for cell in table.column(place).to_pylist()]  # fmt: skip
            table = table.set_column(place, name, pa.array(cells, pa.large_string()))
    return table
