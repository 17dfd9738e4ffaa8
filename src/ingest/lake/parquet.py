"""How the lake's Parquet files are coded, and by what one knows that a file holds the rows it should.

All that reads or writes a Parquet file of the lake does so here. `lake` is the lake's place, `table` the table's name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq

from ingest._core.files import digest
from ingest._core.places import Place

_DIFFERENT_IN_EACH_ROW = {"use_id", "diary_id", "response_id", "content_hash"}


def coded(lake: Place, table: str, rows: pa.Table, plain: bytes | None = None) -> bytes:
    """The bytes of a file of the lake with these rows of a table; `plain` is what to_parquet gives, where known."""
    return to_parquet(rows) if plain is None else plain


def decoded(lake: Place, table: str, data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file of the lake (some `columns` of them)."""
    return pq.ParquetFile(pa.BufferReader(data)).read(columns)


def hash_of(lake: Place, table: str, data: bytes) -> str:
    """What a manifest holds of a file: whatever has this hash has its rows."""
    return sha256(data).hexdigest()


def is_named(lake: Place, table: str, data: bytes, named: str) -> bool:
    """Whether the file is the one of which a manifest holds the hash `named`."""
    return hash_of(lake, table, data) == named


def decoded_if_named(lake: Place, table: str, data: bytes, named: str) -> pa.Table | None:
    """`decoded`, where the file is the one of which a manifest holds the hash `named`; else None."""
    return decoded(lake, table, data) if is_named(lake, table, data, named) else None


def same(lake: Place, table: str, held: bytes | None, now: bytes) -> bool:
    """Whether what stands in the lake has no need of being replaced by `now`."""
    return held == now


def to_parquet(table: pa.Table) -> bytes:
    """The table as plain Parquet, zstd; the same rows give the same bytes. Text that comes as a dictionary is read as
    text.

    Instants, dates and whole numbers are stored as differences, a fifth of their size; a dictionary of them, or of
    ids that each row has of its own, would only cost time. So would the least and greatest text of a column.
    """
    differences = [field.name for field in table.schema if _steps(field.type)]
    texts = [field.name for field in table.schema if _is_text(field.type)]
    others = [name for name in table.column_names if name not in {*differences, *_DIFFERENT_IN_EACH_ROW}]
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=others, store_schema=False,
                   write_statistics=[name for name in table.column_names if name not in texts],
                   column_encoding=dict.fromkeys(differences, "DELTA_BINARY_PACKED"))  # fmt: skip
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _steps(of: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(of) or pa.types.is_date(of) or pa.types.is_integer(of))


def _is_text(of: pa.DataType) -> bool:
    return bool(pa.types.is_string(of) or pa.types.is_dictionary(of))


def columns_hash(parquet: bytes, without: Collection[str]) -> str:
    """Hash of the columns of a table that to_parquet gave, some left out: the same for the same rows."""
    found: list[str | bytes] = []
    metadata = pq.read_metadata(pa.BufferReader(parquet))
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            if chunk.path_in_schema not in without:
                begin = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
                found += [chunk.path_in_schema, parquet[begin : begin + chunk.total_compressed_size]]
    return digest(*found)
