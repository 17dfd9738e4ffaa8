"""Long logs: a row is a use, or a stated no-use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.hashing import all_different
from ingest.decode.log._long_times import read_times
from ingest.decode.log._long_words import read_cells, read_ids, same_word
from ingest.decode.log._reader import Reader, use_table
from ingest.decode.log._rows import SEPARATOR, blank_rows, repeated_rows, superseded_rows, told
from ingest.decode.log._words import (
    NEGATIVE,
    NO_ANSWER,
    NO_NUMBER,
    NOT_A_NUMBER,
    NUMBER,
    UNKNOWN_ANSWER,
    YES,
    Bools,
    each,
    flag_column,
    read_answers,
    read_name,
    read_numbers,
    read_unit,
    read_word,
    read_words,
)

RECALL_METHODS = ("event", "end_of_day", "tlfb", "clinician")
Columns = dict[str, pa.Array | None]


def read_long(reader: Reader) -> pa.Table:
    """Uses of a long log with decoded_use_schema(); `source_row` counts the sheet's data rows."""
    mapping = reader.mapping
    blank = _blank(reader)
    columns: Columns = substance_columns(reader) | read_times(reader) | _amounts(reader)
    columns["product_form"] = _plain(reader, mapping.product_form, "product_form_dropped")
    columns["route"] = _plain(reader, mapping.route, "route_dropped")
    columns["reasons"] = _reasons(reader)
    columns["recall_method"] = _recall_method(reader)
    for name in ("mitragynine_mg", "mitragynine_pct"):
        columns[name] = _strength(reader, name)
    refs, ids = reader.cells(mapping.participant), reader.cells(mapping.record_id)
    columns["participant_ref"] = None if refs is None else read_cells(refs, lambda cell: cell or None)[0]
    columns["record_id"] = None if ids is None else read_ids(ids)
    columns["date_column"] = same_word(mapping.taken_at.column if mapping.taken_at else None, reader.n)
    columns["unit_column"] = same_word(mapping.unit, reader.n)
    reader.flags["partial_no"] = _of_a_part(columns)
    columns["flags"] = flag_column(reader.n, reader.flags)
    columns["instrument"] = same_word(mapping.name, reader.n)
    columns["source_row"] = pa.array(reader.sheet.rows)
    gone = _without(reader, columns, blank)
    table = use_table(columns, reader.n)
    return table.filter(pa.array(~gone)) if gone.any() else table


def _of_a_part(columns: Columns) -> Bools:
    """Rows that state no use for a part of the day, which say nothing of the whole day."""
    stated, precision = columns["no_use"], columns["time_precision"]
    assert stated is not None
    assert precision is not None
    part = pc.and_(stated, pc.equal(precision.indices, precision.dictionary.index("part_of_day")))
    mask: Bools = part.to_numpy(zero_copy_only=False)
    return mask


def _blank(reader: Reader) -> Bools:
    when = reader.mapping.taken_at
    assert when is not None
    undated = pc.equal(pc.binary_length(reader.sheet.column(when.column)), 0)
    return blank_rows(reader.sheet, undated.to_numpy(zero_copy_only=False))


def _without(reader: Reader, columns: Columns, blank: Bools) -> Bools:
    """Rows that are no use: blank ones, those set aside, repeats. Each is counted."""
    findings = reader.findings
    for position in np.flatnonzero(blank).tolist():
        del findings.records[position]
    findings.pass_over("empty_row", blank)
    gone = blank | findings.lost(reader.n)
    repeated = _repeats(reader, columns, np.flatnonzero(~gone))
    findings.repeated = repeated
    gone = gone | repeated | findings.lost(reader.n)
    findings.values = [fault for fault in findings.values if not gone[fault.position]]
    return gone


def _repeats(reader: Reader, columns: Columns, usable: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Bools:
    """Rows that an equal one precedes or, where they have an id of their own, that one with it follows.

    An id that comes again with another substance names no single use: the earlier row is set aside.
    """
    mask = np.zeros(reader.n, dtype=np.bool_)
    ids, names = columns["record_id"], columns["substance_reported"]
    with_id = usable[:0]
    if ids is not None:
        has_id = ids.is_valid().to_numpy(zero_copy_only=False)
        with_id, usable = usable[has_id[usable]], usable[~has_id[usable]]
    mask[repeated_rows(reader.sheet, usable)] = True
    if not len(with_id):
        return mask
    ref = columns["participant_ref"]
    every = len(with_id) == reader.n
    key = [column if every else column.take(pa.array(with_id)) for column in (ref, ids) if column is not None]
    if all_different(*key):
        return mask
    owner = pc.fill_null(ref.cast(pa.string()), "") if ref is not None else ""
    keys = pc.binary_join_element_wise(owner, ids, SEPARATOR)
    old, newer = superseded_rows(keys.take(pa.array(with_id)), with_id)
    assert names is not None
    old_names, new_names = (names.take(pa.array(rows)).cast(pa.string()) for rows in (old, newer))
    same = pc.equal(pc.utf8_lower(old_names), pc.utf8_lower(new_names))
    same_name = same.to_numpy(zero_copy_only=False)
    mask[old[same_name]] = True
    reused = np.zeros(reader.n, dtype=np.bool_)
    reused[old[~same_name]] = True
    reader.findings.lose(
        reused,
        "record_id_reused",
        "expected one use per id, got a later row with this id and another substance; give each use its own",
    )
    return mask


def substance_columns(reader: Reader) -> Columns:
    """`substance_reported` of every row; a row without a name is set aside."""
    mapping = reader.mapping
    if mapping.substance is None:
        return {"substance_reported": same_word(mapping.substance_is, reader.n)}
    column = reader.sheet.column(mapping.substance)
    own = {name.strip().casefold(): code for name, code in mapping.substances.items()}
    names, free_text = read_cells(column, lambda word: own.get(word.casefold()) or read_name(word))
    unnamed = names.is_null().to_numpy(zero_copy_only=False) & ~free_text
    reader.findings.lose(
        unnamed, "no_substance", "expected a substance's name, got nothing; fill it in", mapping.substance
    )
    reader.flags["substance_dropped"] = free_text
    if free_text.any():
        names = pc.if_else(pa.array(free_text), "other", names.cast(pa.string()))
    return {"substance_reported": names}


def _amounts(reader: Reader) -> Columns:
    """Amount, unit and whether it is a stated no: `no_use`, or an amount of 0."""
    mapping, n = reader.mapping, reader.n
    column = reader.cells(mapping.amount)
    kinds, values = np.zeros(n, dtype=np.int8), np.full(n, np.nan)
    if column is not None:
        column = column.dictionary_encode()
        kinds, values = read_numbers(column, mapping.decimal)
        kinds[read_answers(column, mapping.answers.meanings()) == NO_ANSWER] = NO_NUMBER
        expected = "a number with a decimal " + {".": "point", ",": "comma"}[mapping.decimal]
        detail = told(column, expected + ", digits only", "correct it in the log")
        reader.findings.lose(kinds == NOT_A_NUMBER, "not_a_number", detail, mapping.amount)
        below = "expected an amount of 0 or more; correct it in the log"
        reader.findings.lose(kinds == NEGATIVE, "negative_amount", below, mapping.amount)
    stated = _stated_no(reader)
    zero = (kinds == NUMBER) & (values == 0)
    reader.findings.lose(
        stated & (kinds == NUMBER) & ~zero,
        "no_use_with_amount",
        "expected no amount, or 0, where no use is stated, got more; keep one of the two",
        mapping.amount,
    )
    reader.flags["zero_amount"] = zero & ~stated
    return {
        "no_use": pa.array(stated | zero),
        "amount_reported": pa.array(values, mask=kinds != NUMBER),
        "unit_reported": unit_column(reader),
    }


def _stated_no(reader: Reader) -> Bools:
    column = reader.cells(reader.mapping.no_use)
    if column is None:
        return np.zeros(reader.n, dtype=np.bool_)
    answers = read_answers(column, reader.mapping.answers.meanings())
    detail = told(column, "one of the answers yes, no or nothing", "correct it, or list it under `answers`")
    reader.findings.lose(answers == UNKNOWN_ANSWER, "unknown_answer", detail, reader.mapping.no_use)
    stated: Bools = answers == YES
    return stated


def unit_column(reader: Reader) -> pa.Array:
    """`unit_reported` of every row, in the words of `units` where they translate it."""
    mapping = reader.mapping
    if mapping.unit is None:
        return same_word(mapping.unit_is, reader.n)
    own = {word.strip().casefold(): unit for word, unit in mapping.units.items()}
    column = reader.sheet.column(mapping.unit)
    return _words(reader, column, lambda word: own.get(word.casefold()) or read_unit(word), "unit_dropped")


def _plain(reader: Reader, name: str | None, flag: str) -> pa.Array | None:
    """A column of plain words, as Reader.plain."""
    column = reader.cells(name)
    return None if column is None else _words(reader, column, read_word, flag)


def _words(reader: Reader, column: pa.Array, read: Callable[[str], str | None], flag: str) -> pa.Array:
    words, dropped = read_cells(column, read)
    if dropped.any():
        reader.flags[flag] = dropped
    return words


def _reasons(reader: Reader) -> pa.Array | None:
    column = reader.cells(reader.mapping.reason)
    if column is None:
        return None
    column = column.dictionary_encode()
    dropped = each(column, lambda cell: read_words(cell)[1], pa.bool_())
    reader.flags["reason_dropped"] = dropped.to_numpy(zero_copy_only=False)
    return read_cells(column, lambda cell: read_words(cell)[0])[0]


def _recall_method(reader: Reader) -> pa.Array | None:
    mapping = reader.mapping
    column = reader.cells(mapping.recall)
    if column is None or mapping.recall is None:
        return same_word(mapping.recall_method, reader.n)
    codes = {"": mapping.recall_method} | {word: word for word in RECALL_METHODS}
    known = each(column, lambda word: word.lower() in codes, pa.bool_()).to_numpy(zero_copy_only=False)
    detail = told(column, f"one of {', '.join(RECALL_METHODS)}", "correct it in the log")
    reader.findings.lose_values(~known, mapping.recall, "unknown_word", detail)
    return read_cells(column, lambda word: codes.get(word.lower()))[0]


def _strength(reader: Reader, name: str) -> pa.Array | None:
    """A number that must not be negative nor, in per cent, over 100; a bad one is set aside alone."""
    called: str | None = getattr(reader.mapping, name)
    if called is None:
        return None
    column = reader.sheet.column(called)
    kinds, values = read_numbers(column, reader.mapping.decimal)
    bad = (kinds == NOT_A_NUMBER) | (kinds == NEGATIVE)
    if name.endswith("_pct"):
        bad |= (kinds == NUMBER) & (values > 100)
    detail = told(column, "a number that can be (0 to 100 for per cent)", "correct it in the log")
    reader.findings.lose_values(bad, called, "not_a_number", detail)
    return pa.array(values, mask=(kinds != NUMBER) | bad)
