"""Ids and content hashes of use reports: the same report has the same ones in every export."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.hashing import all_different, hex_digits, md5_digits, mixed
from ingest.harmonise._codes import Codes, Words, combinations, whole, words_of
from ingest.harmonise._use_times import Bools

SEPARATOR, PARTIAL = "\x1f", "partial_no"
_DIGITS = 20
_WORDS = (
    "time_precision",
    "part_of_day",
    "unit_reported",
    "product_form",
    "route",
    "reasons",
    "recall_method",
)
_NUMBERS = (
    "no_use",
    "taken_clock",
    "taken_utc",
    "use_day",
    "utc_offset_min",
    "reported_clock",
    "recall_lag_days",
    "amount_reported",
    "mitragynine_mg",
    "mitragynine_pct",
)


def use_ids(uses: pa.Table, owners: Words, source: str, substances: Words) -> pa.Array:
    """Hash of the participant's secret (of `owners`), source, instrument and the log's own record id.

    Without an own id: of substance, reported time, precision and time of report instead, and of whether it is a
    no about one product, which is no other version of a use of another one. Reports that agree in all of it are told
    apart by their order in the file.
    """
    record = whole(uses["record_id"])
    has_own = np.ones(len(uses), dtype=np.int8)
    if record.null_count:
        made = _join(
            _text(pa.array(substances.values).take(pa.array(substances.codes))),
            *(_text(uses[name]) for name in ("taken_clock", "taken_utc", "use_day")),
            *(_text(uses[name]) for name in ("time_precision", "part_of_day", "reported_clock")),
        )
        of_a_product = _of_a_product(uses)
        if of_a_product.any():
            made = pc.if_else(pa.array(of_a_product), _join(made, PARTIAL), made)
        has_own = record.is_valid().to_numpy(zero_copy_only=False).astype(np.int8)
        record = pc.coalesce(record, made)
    instruments = words_of(uses["instrument"])
    examples, which = combinations(
        (owners.codes, len(owners.values)), (instruments.codes, len(instruments.values)), (has_own, 2)
    )
    beginnings = [
        SEPARATOR.join(
            [
                owners.values[owners.codes[at]] or "",
                source,
                instruments.values[instruments.codes[at]] or "",
                "id" if has_own[at] else "time",
                "",
            ]
        )
        for at in examples.tolist()
    ]
    keys = pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), pa.array(beginnings, pa.string())), record
    ids = md5_digits(*keys, digits=_DIGITS)
    again, ordinal = _repeats(ids)
    if len(again):
        rows = pa.array(again)
        numbers = _join("", pa.array(ordinal).cast(pa.string()))
        numbered = md5_digits(*(part.take(rows) for part in keys), numbers, digits=_DIGITS)
        mask = np.zeros(len(ids), dtype=np.bool_)
        mask[again] = True
        ids = pc.replace_with_mask(ids, mask, numbered)
    return ids


def _of_a_product(uses: pa.Table) -> Bools:
    """Noes about the whole day that are one product's, or one dose's, alone."""
    flags, precision = words_of(uses["flags"]), words_of(uses["time_precision"])
    partial = np.array([PARTIAL in (words or "").split(",") for words in flags.values], dtype=np.bool_)[flags.codes]
    of_a_day = np.array([word == "day" for word in precision.values], dtype=np.bool_)[precision.codes]
    mask: Bools = partial & of_a_day
    return mask


def content_hashes(uses: pa.Table, substances: Words) -> pa.Array:
    """Hash of all that each report says, its place in the file aside; equal ones are the same version of it."""
    columns = [substances, *(words_of(uses[name]) for name in _WORDS)]
    examples, which = combinations(*((column.codes, len(column.values)) for column in columns))
    said = [SEPARATOR.join(column.values[column.codes[at]] or "" for column in columns) for at in examples.tolist()]
    digests = np.frombuffer(b"".join(sha256(text.encode()).digest()[:8] for text in said), dtype="<i8")
    words, known, stated = [digests[which]], [np.ones(len(uses), dtype=np.bool_)], np.zeros(len(uses), dtype=np.int64)
    for bit, column in enumerate(whole(uses[name]) for name in _NUMBERS):
        if column.null_count < len(column):
            values, there = _bits(column)
            words.append(values)
            known.append(there)
            stated |= there.astype(np.int64) << bit
    return hex_digits(mixed([*words, stated], [*known, known[0]]))


def _bits(column: pa.Array) -> tuple[Codes, Bools]:
    """Numbers, dates and instants as integers of 64 bits that differ where they do, and where there is one."""
    known: Bools = column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(column.type):
        values = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
        return np.ascontiguousarray(values, dtype=np.float64).view(np.int64), known
    if pa.types.is_boolean(column.type):
        values = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    else:
        whole_numbers = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())
        values = pc.fill_null(whole_numbers, 0).to_numpy(zero_copy_only=False)
    return values.astype(np.int64), known


def _repeats(ids: pa.Array) -> tuple[Codes, Codes]:
    """The reports whose id an earlier one has too, and how many have it before them."""
    if all_different(ids):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    codes = ids.dictionary_encode().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ordinal = np.empty(len(codes), dtype=np.int64)
    ordinal[order] = np.arange(len(codes)) - np.searchsorted(codes[order], codes[order])
    again = np.flatnonzero(ordinal)
    return again, ordinal[again]


def _text(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    array = whole(column)
    if pa.types.is_timestamp(array.type):
        array = array.view(pa.int64())
    elif pa.types.is_date(array.type):
        array = array.view(pa.int32())
    return pc.fill_null(array.cast(pa.string()), "")


def _join(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, SEPARATOR)
