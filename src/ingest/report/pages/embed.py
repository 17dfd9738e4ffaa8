"""Tables in a page: as JSON that no text in it can break out of, column by column."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

DECIMALS = 3
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script_json(value: Any) -> Markup:
    """`value` as JSON for a `<script type="application/json">`; the same text for the same value."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, written in _UNSAFE.items():
        text = text.replace(character, written)
    return Markup(text)  # noqa: S704 - everything that HTML could take for markup is written as \uXXXX


def columns(table: pa.Table) -> dict[str, Any]:
    """The table for the page's script: `names`, `types` and `values`, a list for each column.

    Types are `date` (days since 1970-01-01), `instant` and `clock` (seconds since then, of UTC and of the local
    clock), `number`, `boolean` and `text`. Numbers are rounded to three decimals. Texts are numbers of `words`.
    """
    written = [_column(table[name].combine_chunks()) for name in table.column_names]
    return {
        "names": table.column_names,
        "types": [kind for kind, _, _ in written],
        "values": [values for _, values, _ in written],
        "words": {name: words for name, (_, _, words) in zip(table.column_names, written, strict=True) if words},
    }


def _column(column: pa.Array) -> tuple[str, list[Any], list[str]]:
    kind, types = column.type, pa.types
    if types.is_timestamp(kind):
        seconds = pc.divide(column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64()), 1_000_000)
        return "instant" if kind.tz else "clock", seconds.to_pylist(), []
    if types.is_date(kind):
        return "date", column.cast(pa.date32()).cast(pa.int32()).to_pylist(), []
    if types.is_floating(kind) or types.is_decimal(kind):
        rounded = pc.round(column.cast(pa.float64()), DECIMALS)
        return "number", [_whole(value) for value in rounded.to_pylist()], []
    if types.is_boolean(kind) or types.is_integer(kind):
        return "boolean" if types.is_boolean(kind) else "number", column.to_pylist(), []
    coded = column.cast(pa.string()).dictionary_encode()
    return "text", coded.indices.to_pylist(), coded.dictionary.to_pylist()


def _whole(value: float | None) -> float | int | None:
    return int(value) if value is not None and value.is_integer() else value
