"""Ids and content hashes of use reports: the same report has the same ones in every export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b, sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest.harmonise._use_times import Column

SEPARATOR = "\x1f"
_DIGITS = 20
_WORDS = (
    "no_use",
    "time_precision",
    "part_of_day",
    "unit_reported",
    "product_form",
    "route",
    "reasons",
    "recall_method",
)
_NUMBERS = ("amount_reported", "mitragynine_mg", "mitragynine_pct", "recall_lag_days")
_STAMPS = ("taken_clock", "taken_utc", "reported_clock")


def use_ids(uses: pa.Table, participant_ids: pa.Array, source: str, codes: pa.Array) -> pa.Array:
    """Hash of participant, source, instrument and the log's own record id.

    Without an own id: of substance, reported time, precision and time of report instead. Reports that agree
    in all of it are told apart by their order in the file.
    """
    own = uses["record_id"].combine_chunks()
    made = _join(
        codes,
        *(_text(uses[name]) for name in ("taken_clock", "taken_utc", "use_day")),
        *(_text(uses[name]) for name in ("time_precision", "part_of_day", "reported_clock")),
    )
    has_own = own.is_valid()
    record = pc.if_else(has_own, pc.fill_null(own, ""), made)
    kind = pc.if_else(has_own, "id", "time")
    keys = _join(participant_ids, source, _text(uses["instrument"]), kind, record)
    return _hashed(_numbered(keys), lambda data: sha256(data).digest())


def content_hashes(uses: pa.Table, codes: pa.Array) -> pa.Array:
    """Hash of all that each report says, its place in the file aside."""
    words = _join(codes, *(_text(uses[name]) for name in _WORDS)).dictionary_encode()
    digests = [sha256(word.encode()).digest()[:8] for word in words.dictionary.to_pylist()]
    columns = [np.frombuffer(b"".join(digests), dtype="<i8")[words.indices.to_numpy()]]
    for name in _STAMPS:
        columns += _packed(Column.of(uses[name], pa.int64()))
    columns += _packed(Column.of(uses["use_day"], pa.int32()))
    columns += _packed(Column.of(uses["utc_offset_min"], pa.int32()))
    for name in _NUMBERS:
        array = uses[name].combine_chunks()
        columns.append(pc.fill_null(array, np.nan).to_numpy(zero_copy_only=False).astype("<f8").view("<i8"))
    rows = np.stack(columns, axis=1)
    width, data = rows.shape[1] * 8, memoryview(rows.tobytes())
    digests = [blake2b(data[at : at + width], digest_size=_DIGITS // 2).digest() for at in range(0, len(data), width)]
    return _hex(digests)


def _packed(column: Column) -> list[NDArray[np.int64]]:
    return [np.where(column.known, column.values, 0), column.known.astype(np.int64)]


def _numbered(keys: pa.Array) -> pa.Array:
    """The keys, with the how-manieth it is behind those that came before."""
    encoded = keys.dictionary_encode()
    if len(encoded.dictionary) == len(keys):
        return keys
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    ordinal = np.empty(len(codes), dtype=np.int64)
    ordinal[order] = np.arange(len(codes)) - starts
    again = pa.array(ordinal > 0)
    return pc.if_else(again, _join(keys, pa.array(ordinal).cast(pa.string())), keys)


def _hashed(keys: pa.Array, digest: Callable[[bytes], bytes]) -> pa.Array:
    return _hex([digest(key)[: _DIGITS // 2] for key in keys.cast(pa.binary()).to_pylist()])


def _hex(digests: Sequence[bytes]) -> pa.Array:
    text = b"".join(digests).hex().encode()
    offsets = np.arange(len(digests) + 1, dtype=np.int32) * _DIGITS
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(digests), buffers)


def _text(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if pa.types.is_timestamp(array.type):
        array = array.view(pa.int64())
    elif pa.types.is_date(array.type):
        array = array.view(pa.int32())
    return pc.fill_null(array.cast(pa.string()), "")


def _join(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, SEPARATOR)
