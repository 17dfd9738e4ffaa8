"""Tables in a page: as JSON that no text in it can break out of, column by column, and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
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


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet run a text as a formula."""


def as_csv(table: pa.Table) -> str:
    """The table as CSV: header, commas, LF, empty for NULL; a text that a spreadsheet would run begins with `'`."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.column_names)
    cells = [map(_writer(table[name].type), table[name].to_pylist()) for name in table.column_names]
    writer.writerows(zip(*cells, strict=True))
    return out.getvalue()


def _writer(kind: pa.DataType) -> Callable[[Any], str]:
    def write(value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return str(_whole(round(value, DECIMALS)))
        if isinstance(value, str):
            return f"'{value}" if value.startswith(FORMULA) else value
        if pa.types.is_timestamp(kind):
            return str(value.strftime("%Y-%m-%dT%H:%M:%S")) + ("Z" if kind.tz else "")
        return str(value)

    return write


def table_of(rows: list[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table of `schema`, none given too."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
