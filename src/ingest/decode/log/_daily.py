"""Day-level logs: a row is a day, with a column per substance (`daily`) or per dose (`wide`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import DAY, HOUR
from ingest._core.log_mapping import Item
from ingest.decode.log._clocks import CLOCK, IMPOSSIBLE, NO_TIME, Clocks, read_times_of_day, read_when
from ingest.decode.log._parts import partial_noes
from ingest.decode.log._reader import DAYS_BACK, Reader, days, reported_columns, stamps, use_table
from ingest.decode.log._restated import restated
from ingest.decode.log._rows import SEPARATOR, Fault, repeated_rows, superseded_rows, told
from ingest.decode.log._words import (
    NEGATIVE,
    NO,
    NO_ANSWER,
    NO_NUMBER,
    NOT_A_NUMBER,
    NUMBER,
    UNKNOWN_ANSWER,
    YES,
    Bools,
    flag_column,
    read_answers,
    read_numbers,
    read_word,
    texts,
)

_AFTER_MIDNIGHT = ("wake_day", "bed_day")


@dataclass
class Reading:
    """One item over all rows: YES, NO or NO_ANSWER, the amount where there is one, the clock within the day
    (-1 where there is none), and the rows whose cells cannot be used, with the fault.
    """

    answer: NDArray[np.int8]
    amount: NDArray[np.float64]
    clock: NDArray[np.int64]
    faults: dict[int, Fault]


def read_daily(reader: Reader) -> pa.Table:
    """Uses of a daily or wide log with decoded_use_schema(), ordered by row and item.

    A row gives a use for every item that is answered. It is kept if one is, ignored if none is, and set
    aside if none is but one holds what is no answer. What is said again of a day is flagged; see restated.
    """
    mapping, findings = reader.mapping, reader.findings
    assert mapping.date is not None
    column = reader.sheet.column(mapping.date.column)
    clocks = read_when(column, mapping.date)
    readings = [_read_item(reader, item) for item in mapping.items]
    silent = np.all([reading.answer == NO_ANSWER for reading in readings], axis=0)
    faulty = np.zeros(reader.n, dtype=np.bool_)
    for reading in readings:
        faulty[list(reading.faults)] = True
    unanswered = silent & ~faulty
    reader.check_dates(column, clocks, mapping.date)
    for position in np.flatnonzero(unanswered).tolist():
        findings.records.pop(position, None)
    findings.pass_over("no_answer", unanswered)
    gone = unanswered | findings.lost(reader.n)
    enter_faults(reader, readings, gone, silent)
    gone |= findings.lost(reader.n)
    repeated = repeats(reader, np.flatnonzero(~gone))
    findings.repeated = repeated
    gone |= repeated
    reported = reader.reported()
    uses = _uses(reader, clocks, reported, readings, np.flatnonzero(~gone))
    findings.values = [fault for fault in findings.values if not gone[fault.position]]
    return uses


def enter_faults(reader: Reader, readings: list[Reading], gone: Bools, silent: Bools) -> None:
    """A fault loses its item and, in a row without any answer, the row; the first one of a row is told."""
    for reading in readings:
        for position, fault in reading.faults.items():
            if gone[position]:
                continue
            if silent[position]:
                reader.findings.records.setdefault(position, fault)
            else:
                reader.findings.values.append(fault)


def repeats(reader: Reader, usable: NDArray[np.int64]) -> Bools:
    """Rows that an equal one precedes or, where they have an id of their own, that one with it follows."""
    mapping = reader.mapping
    mask = np.zeros(reader.n, dtype=np.bool_)
    if mapping.record_id is None:
        mask[repeated_rows(reader.sheet, usable)] = True
        return mask
    ids = texts(reader.sheet.column(mapping.record_id))
    has_id = ids.is_valid().to_numpy(zero_copy_only=False)[usable]
    mask[repeated_rows(reader.sheet, usable[~has_id])] = True
    owner = "" if mapping.participant is None else reader.sheet.column(mapping.participant)
    keys = pc.binary_join_element_wise(owner, ids, SEPARATOR).take(pa.array(usable[has_id]))
    mask[superseded_rows(keys, usable[has_id])[0]] = True
    return mask


def _read_item(reader: Reader, item: Item) -> Reading:
    n = reader.n
    faults: dict[int, Fault] = {}
    answer = np.full(n, NO_ANSWER, dtype=np.int8)
    kinds, values = np.full(n, NO_NUMBER, dtype=np.int8), np.full(n, np.nan)
    meanings = reader.mapping.answers.meanings()

    def fault(where: Bools, column: str, reason: str, expected: str) -> None:
        detail = told(reader.sheet.column(column), expected, "correct it, or list the word under `answers`")
        for position in np.flatnonzero(where).tolist():
            faults.setdefault(position, Fault(position, column, reason, detail(position)))

    if item.answer is not None:
        answer = read_answers(reader.sheet.column(item.answer), meanings).copy()
        fault(answer == UNKNOWN_ANSWER, item.answer, "unknown_answer", "a word for yes, no or no answer")
    if item.amount is not None:
        column = reader.sheet.column(item.amount)
        kinds, values = read_numbers(column, reader.mapping.decimal)
        said = read_answers(column, meanings)
        kinds[said == NO_ANSWER] = NO_NUMBER
        in_words = (kinds == NOT_A_NUMBER) & (said == NO) & (answer != YES)
        kinds[in_words], values[in_words] = NUMBER, 0.0
        fault(kinds == NOT_A_NUMBER, item.amount, "not_a_number", "an amount in digits")
        fault(kinds == NEGATIVE, item.amount, "negative_amount", "an amount of 0 or more")
        some, zero = (kinds == NUMBER) & (values > 0), (kinds == NUMBER) & (values == 0)
        differ = ((answer == NO) & some) | ((answer == YES) & zero)
        fault(differ, item.amount, "answer_and_amount_differ", "an amount that agrees with the answer")
        answer = np.where(some, YES, np.where(zero, NO, answer)).astype(np.int8)
    clock = _clock_of(reader, item, answer == YES, fault)
    answer[list(faults)] = NO_ANSWER
    return Reading(answer, np.where(kinds == NUMBER, values, np.nan), clock, faults)


def _clock_of(reader: Reader, item: Item, used: Bools, fault: Callable[..., None]) -> NDArray[np.int64]:
    """Microseconds since midnight at which the item was used; -1 where that is not said."""
    if item.at is None:
        return np.full(reader.n, -1, dtype=np.int64)
    kinds, micros = read_times_of_day(reader.sheet.column(item.at))
    expected = "a clock time written HH:MM"
    fault(used & (kinds == NO_TIME), item.at, "not_a_clock", expected)
    fault(used & (kinds == IMPOSSIBLE), item.at, "impossible_clock", f"{expected}, 00:00 to 23:59")
    return np.where(used & (kinds == CLOCK), micros, -1)


def _uses(
    reader: Reader,
    clocks: Clocks,
    reported: Clocks,
    readings: list[Reading],
    usable: NDArray[np.int64],
) -> pa.Table:
    shared = reported_columns(reported, reader.flags) | {
        "participant_ref": texts_or_none(reader, reader.mapping.participant),
        "flags": flag_column(reader.n, reader.flags),
        "source_row": pa.array(reader.sheet.rows),
        "date_column": pa.repeat(
            pa.scalar(reader.mapping.date.column if reader.mapping.date else None, pa.string()), reader.n
        ),
    }
    partial = partial_noes(reader.mapping.items, [reading.answer for reading in readings])
    again = restated(reader, clocks.day, reported, readings, usable)
    tables, order = [], []
    for k, reading in enumerate(readings):
        where = usable[reading.answer[usable] != NO_ANSWER]
        rows = pa.array(where)
        columns = {name: None if c is None else c.take(rows) for name, c in shared.items()}
        columns |= _item_columns(reader, clocks, readings, k, where, partial[k][where])
        flags = {"restated": again[k].restated, "conflict": again[k].contested, "partial_no": partial[k]}
        if any(mask.any() for mask in flags.values()):
            columns["flags"] = flag_column(reader.n, reader.flags | flags).take(rows)
        tables.append(use_table(columns, len(where)))
        order.append(np.stack([where, np.full(len(where), k)]))
    position, item = np.concatenate(order, axis=1)
    return pa.concat_tables(tables).take(pa.array(np.lexsort((item, position)))).combine_chunks()


def _item_columns(
    reader: Reader, clocks: Clocks, readings: list[Reading], k: int, where: NDArray[np.int64], partial: Bools
) -> dict[str, pa.Array | None]:
    """What one item says of the rows `where`; `partial` are those of them in which its no is not the day's."""
    mapping, item, n = reader.mapping, reader.mapping.items[k], len(where)
    assert mapping.date_means is not None
    reading = readings[k]
    answer, amount, clock = reading.answer[where], reading.amount[where], reading.clock[where]
    day = clocks.day[where] - DAYS_BACK[mapping.date_means]
    timed, used = clock >= 0, answer == YES
    next_day = (clock < reader.day_start_hour * HOUR) & (mapping.date_means in _AFTER_MIDNIGHT)
    part = (used | partial) & (item.part_of_day is not None)
    precision = np.where(timed, "exact", np.where(part, "part_of_day", "day"))
    return {
        "record_id": _record_ids(reader, k, where),
        "substance_reported": pa.repeat(item.substance, n),
        "no_use": pa.array(~used),
        "taken_clock": stamps((day + next_day) * DAY + clock, timed),
        "use_day": days(day, ~timed),
        "part_of_day": pa.array(np.full(n, item.part_of_day, dtype=object), pa.string(), mask=~part),
        "time_precision": pa.array(precision.astype(object), pa.string()),
        "amount_reported": pa.array(amount, mask=np.isnan(amount)),
        "unit_reported": pa.repeat(pa.scalar(item.unit, pa.string()), n),
        "product_form": pa.repeat(pa.scalar(read_word(item.product_form or ""), pa.string()), n),
        "recall_method": pa.repeat(pa.scalar(mapping.recall_method, pa.string()), n),
        "instrument": pa.repeat(mapping.name, n),
    }


def _record_ids(reader: Reader, k: int, where: NDArray[np.int64]) -> pa.Array | None:
    """The row's own id, the substance and the how-manieth item of it this is; None without an own id."""
    ids = texts_or_none(reader, reader.mapping.record_id)
    if ids is None:
        return None
    items = reader.mapping.items
    number = sum(item.substance == items[k].substance for item in items[:k])
    return pc.binary_join_element_wise(ids.take(pa.array(where)), f"{items[k].substance}{number}", SEPARATOR)


def texts_or_none(reader: Reader, name: str | None) -> pa.Array | None:
    """A column's cells without outer blanks, NULL where nothing is left; None where the mapping names none."""
    return None if name is None else texts(reader.sheet.column(name))
