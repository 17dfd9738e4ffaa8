"""How the lake's Parquet files are coded, plain or encrypted, and how one knows that a file holds the rows it should.

All that reads or writes a Parquet file of the lake does so here. `lake` is the lake's place, which says what opens its
encrypted files and whether new ones are encrypted; `table` is the table's name. Plain and encrypted files may stand
side by side. The same rows give the same plain bytes, and other bytes each time they are encrypted: of an encrypted
file a manifest holds the hash of its rows, after `rows:`, which a plain file with these rows has as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.parquet import encryption as pqe

from ingest._core.ciphers import Cipher
from ingest._core.errors import Terminal
from ingest._core.files import digest
from ingest._core.hashing import rows_hash
from ingest._core.places import Place, cipher_of

_DIFFERENT_IN_EACH_ROW = {"use_id", "diary_id", "response_id", "content_hash"}
_ENCRYPTED = b"PARE"
_OF_ROWS = "rows:"


class Unreadable(Terminal):
    """A file that its key does not open, or that is no Parquet any more."""


def coded(lake: Place, table: str, rows: pa.Table, held: bytes | None = None, plain: bytes | None = None) -> bytes:
    """The bytes of a file of the lake with these rows of a table.

    Encrypted, they are those that stand there (`held`) where these have the same rows. `plain` is what to_parquet gives
    of the rows, where that is known.
    """
    if not encrypts(lake):
        return to_parquet(rows) if plain is None else plain
    if held is not None and is_encrypted(held) and is_named(lake, table, held, named(rows, held)):
        return held
    return _parquet(rows, pqe.create_encryption_properties(key_of(lake, table)))


def decoded(lake: Place, table: str, data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file of the lake (some `columns` of them). Raises Unreadable where it is damaged or the key is not
    its own.
    """
    key = None
    if is_encrypted(data):
        key = pqe.create_decryption_properties(key_of(lake, table))
    try:
        return pq.ParquetFile(pa.BufferReader(data), decryption_properties=key).read(columns)
    except (OSError, pa.ArrowException):
        raise Unreadable(
            f"lake/{table}: a file is damaged, or encrypted with another key than the study has; "
            "`ingest verify` lists such files"
        ) from None


def named(rows: pa.Table, data: bytes) -> str:
    """What a manifest holds of a file with these rows: whatever fits that hash has its rows."""
    return _OF_ROWS + rows_hash(rows) if is_encrypted(data) else sha256(data).hexdigest()


def hash_of(lake: Place, table: str, data: bytes) -> str:
    """`named`, of a file whose rows are not at hand."""
    return named(decoded(lake, table, data), data) if is_encrypted(data) else sha256(data).hexdigest()


def same(lake: Place, table: str, held: bytes, now: bytes) -> bool:
    """Whether two files have the same rows and are both encrypted, or the same bytes."""
    both = is_encrypted(held) and is_encrypted(now)
    return held == now or (both and is_named(lake, table, held, hash_of(lake, table, now)))


def is_named(lake: Place, table: str, data: bytes, named: str) -> bool:
    """Whether the file is one that fits the hash that a manifest holds. Raises Terminal where no key is at hand."""
    return decoded_if_named(lake, table, data, named) is not None if names_rows(named) else _has(data, named)


def decoded_if_named(lake: Place, table: str, data: bytes, named: str) -> pa.Table | None:
    """`decoded`, where the file fits the hash that a manifest holds; else None."""
    if not names_rows(named):
        return decoded(lake, table, data) if _has(data, named) else None
    try:
        rows = decoded(lake, table, data)
    except Unreadable:
        return None
    return rows if _OF_ROWS + rows_hash(rows) == named else None


def encrypts(lake: Place) -> bool:
    """Whether what is written to a lake is encrypted."""
    cipher = cipher_of(lake)
    return cipher is not None and cipher.encrypts


def is_encrypted(data: bytes) -> bool:
    """Whether a file, of which this is the beginning, is encrypted with its footer."""
    return data[: len(_ENCRYPTED)] == _ENCRYPTED


def names_rows(named: str) -> bool:
    """Whether the hash that a manifest holds is one of rows, not of bytes."""
    return named.startswith(_OF_ROWS)


def key_of(lake: Place, table: str) -> bytes:
    """The key of a table's encrypted files. Raises Terminal where none is at hand."""
    return _cipher(lake, table).key_of(table)


def _has(data: bytes, named: str) -> bool:
    return sha256(data).hexdigest() == named


def _cipher(lake: Place, table: str) -> Cipher:
    cipher = cipher_of(lake)
    if cipher is None:
        raise Terminal(f"lake/{table} is encrypted, and no key is at hand; open the lake by its study")
    return cipher


def to_parquet(table: pa.Table) -> bytes:
    """The table as plain Parquet, zstd; the same rows give the same bytes. Text that comes as a dictionary is read as
    text.

    Instants, dates and whole numbers are stored as differences, a fifth of their size; a dictionary of them, or of
    ids that each row has of its own, would only cost time. So would the least and greatest text of a column.
    """
    return _parquet(table, None)


def _parquet(table: pa.Table, encryption: object) -> bytes:
    differences = [field.name for field in table.schema if _steps(field.type)]
    texts = [field.name for field in table.schema if _is_text(field.type)]
    others = [name for name in table.column_names if name not in {*differences, *_DIFFERENT_IN_EACH_ROW}]
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=others, store_schema=False,
                   write_statistics=[name for name in table.column_names if name not in texts],
                   column_encoding=dict.fromkeys(differences, "DELTA_BINARY_PACKED"),
                   encryption_properties=encryption)  # fmt: skip
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
