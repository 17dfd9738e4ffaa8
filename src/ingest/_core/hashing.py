"""Hashes of many rows at once, without a Python object for each."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.files import digest

Hashes = NDArray[np.uint64]
_BLOCK = 1 << 14
"""Rows at a time: few enough for a processor's cache."""
_FEW = 2048
"""Rows for which opening a database would cost more than hashing each."""


def md5_digits(*parts: pa.Array, digits: int) -> pa.Array:
    """The first `digits` hexadecimal digits of the MD5 of each text in UTF-8; `parts` are its parts, row by row.

    One-way, so that an id tells nothing of the text it was made of; it is no protection against somebody who makes
    two texts with one MD5.
    """
    if len(parts[0]) <= _FEW:
        texts = map("".join, zip(*([cell or "" for cell in part.to_pylist()] for part in parts), strict=True))
        return pa.array([md5(text.encode(), usedforsecurity=False).hexdigest()[:digits] for text in texts], pa.string())
    return _in_duckdb(f"left(md5(concat({_names(parts)})), {digits})", parts).cast(pa.string())


def mixed(words: Sequence[NDArray[np.int64]], known: Sequence[NDArray[np.bool_]] | None = None) -> Hashes:
    """A number of 64 bits for each row of some columns of integers: the same for equal rows, in every version.

    With `known`, a mask per column, a row's number is that of its known columns alone: which ones they are must be
    among them. The final mix of MurmurHash3, chained. Not one-way: the number may tell what the row said.
    """
    found = np.zeros(len(words[0]), dtype=np.uint64)
    for begin in range(0, len(found), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        for i, word in enumerate(words):
            mixed_in = _mix(found[rows] ^ np.ascontiguousarray(word[rows]).view(np.uint64))
            found[rows] = mixed_in if known is None else np.where(known[i][rows], mixed_in, found[rows])
    return found


def _mix(found: Hashes) -> Hashes:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        found ^= found >> np.uint64(33)
        found *= np.uint64(factor)
    found ^= found >> np.uint64(33)
    return found


def hex_digits(hashes: Hashes) -> pa.Array:
    """Each hash as 16 hexadecimal digits."""
    text = hashes.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(len(hashes) + 1, dtype=np.int32) * 16
    return pa.Array.from_buffers(pa.string(), len(hashes), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def rows_hash(rows: pa.Table) -> str:
    """SHA-256, hexadecimal, of all rows in their order, with names and types of the columns: the same however they
    lie in memory or in a file, and in every version. Text that comes as a dictionary is text.

    Of each column go in its name, its type, which rows have a value (packed bits), and the values, zero where there is
    none: of text the lengths, then the characters in UTF-8.
    """
    return digest(*(part for name, column in zip(rows.column_names, rows.columns, strict=True)
                    for part in (name, *_column_parts(column))))  # fmt: skip


def _column_parts(column: pa.ChunkedArray) -> tuple[str, bytes, bytes, bytes]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    whole = pa.concat_arrays(column.cast(kind).chunks) if column.num_chunks else pa.array([], kind)
    known = np.packbits(whole.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_string(kind):
        whole = pc.fill_null(whole, "") if whole.null_count else whole
        _, steps, text = whole.buffers()
        at = np.frombuffer(steps, np.int32)[whole.offset : whole.offset + len(whole) + 1] if len(whole) else [0, 0]
        characters = text[int(at[0]) : int(at[-1])].to_pybytes() if text is not None else b""
        return str(kind), known, np.diff(at).astype("<i4").tobytes(), characters
    if pa.types.is_boolean(kind):
        values = np.packbits(pc.fill_null(whole, False).to_numpy(zero_copy_only=False))
    elif pa.types.is_floating(kind):
        values = pc.fill_null(whole, 0.0).to_numpy().astype("<f8")
    else:
        numbers = whole.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64())
        values = pc.fill_null(numbers, 0).to_numpy().astype("<i8")
    return str(kind), known, values.tobytes(), b""


def all_different(*columns: pa.Array) -> bool:
    """True if no two rows are equal; False if some are, or (once in many millions) only seem to be."""
    if len(columns[0]) <= _FEW:
        return len(set(zip(*(column.to_pylist() for column in columns), strict=True))) == len(columns[0])
    hashes = np.sort(_in_duckdb(f"hash({_names(columns)})", columns).to_numpy())
    return not (hashes[1:] == hashes[:-1]).any()


def _names(columns: Sequence[pa.Array]) -> str:
    return ", ".join(f"c{i}" for i in range(len(columns)))


def _in_duckdb(expression: str, columns: Sequence[pa.Array]) -> pa.Array:
    """`expression` of c0, c1, ... for every row, in their order."""
    import duckdb  # Takes a tenth of a second, and most that imports this module hashes nothing.

    rows = pa.table({f"c{i}": column for i, column in enumerate(columns)})
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        found = connection.from_arrow(rows).project(f"{expression} AS found").to_arrow_table()
    return found["found"].combine_chunks()
