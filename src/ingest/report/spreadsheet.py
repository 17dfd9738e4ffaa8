"""Tables as CSV that a spreadsheet opens without taking any text of it for a formula."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ingest.publish.query import iso_texts

# With the full-width forms of the first four, which spreadsheets in East Asian locales read alike.
_FORMULA = r"^([=+\-@\t\r\n\x00\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}])"


def as_text(rows: pa.Table) -> pa.Table:
    """Time stamps as ISO 8601, and a `'` before a text that a spreadsheet would take for a formula."""
    columns = []
    for column in rows.columns:
        if pa.types.is_timestamp(column.type):
            columns.append(iso_texts(column))
        elif pa.types.is_string(column.type):
            columns.append(pc.replace_substring_regex(column, _FORMULA, r"'\1"))
        else:
            columns.append(column)
    return pa.table(columns, names=rows.column_names)


def as_csv(rows: pa.Table) -> bytes:
    """The rows with a header, in UTF-8, such as `as_text` gives them; NULL is empty."""
    stream = io.BytesIO()
    pa.csv.write_csv(as_text(rows), stream)
    return stream.getvalue()
