"""Calendars (Timeline Follow-Back): a row is a substance, or one of a person, with a column for each day."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import DAY
from ingest._core.errors import Refused
from ingest._core.log_mapping import LogMapping, When
from ingest.decode.log._clocks import IMPOSSIBLE, NO_TIME, read_when
from ingest.decode.log._daily import Reading, enter_faults, repeats, texts_or_none
from ingest.decode.log._long import substance_columns, unit_column
from ingest.decode.log._reader import DAYS_BACK, Reader, days, reported_columns, use_table
from ingest.decode.log._rows import SEPARATOR, Fault, told
from ingest.decode.log._words import (
    NEGATIVE,
    NO,
    NO_ANSWER,
    NOT_A_NUMBER,
    NUMBER,
    UNKNOWN_ANSWER,
    YES,
    Bools,
    flag_column,
    read_answers,
    read_numbers,
)

_RECALL = "tlfb"


def day_columns(header: Sequence[str], mapping: LogMapping) -> dict[int, int]:
    """Days since 1970 by the place (from 0) of each column whose name is a day.

    Raises Refused where a name is written like a day but is none, or one day stands twice.
    """
    clocks = read_when(pa.array(header, pa.string()), When(column="header", format=mapping.day_format))
    impossible = np.flatnonzero(clocks.kind == IMPOSSIBLE)
    if len(impossible):
        raise Refused("impossible_date", f"header: expected days that exist, got one that cannot be in column "
                      f"{impossible[0] + 1}; correct it")  # fmt: skip
    found: dict[int, int] = {}
    for place in np.flatnonzero((clocks.kind > 0) & (clocks.kind != NO_TIME) & (clocks.local % DAY == 0)).tolist():
        day = int(clocks.day[place])
        if day in found.values():
            raise Refused("repeated_column", f"header: expected each day once, got column {place + 1} with a day that "
                          "stands before; rename or remove one")  # fmt: skip
        found[place] = day
    return found


def read_calendar(reader: Reader) -> pa.Table:
    """Uses of a calendar with decoded_use_schema(), ordered by row and column.

    A row gives a use for every day that is answered. It is kept if one is, ignored if none is, and set aside if
    none is but one holds what is no answer.
    """
    findings = reader.findings
    places = day_columns(reader.sheet.header, reader.mapping)
    readings = [_read_day(reader, place) for place in places]
    silent = np.all([reading.answer == NO_ANSWER for reading in readings], axis=0)
    faulty = np.zeros(reader.n, dtype=np.bool_)
    for reading in readings:
        faulty[list(reading.faults)] = True
    shared = substance_columns(reader) | {"unit_reported": unit_column(reader)}
    unanswered = silent & ~faulty
    for position in np.flatnonzero(unanswered).tolist():
        findings.records.pop(position, None)
    findings.pass_over("no_answer", unanswered)
    gone = unanswered | findings.lost(reader.n)
    enter_faults(reader, readings, gone, silent)
    gone |= findings.lost(reader.n)
    repeated = repeats(reader, np.flatnonzero(~gone))
    findings.repeated = repeated
    gone |= repeated
    uses = _uses(reader, places, readings, np.flatnonzero(~gone), shared)
    findings.values = [fault for fault in findings.values if not gone[fault.position]]
    return uses


def _read_day(reader: Reader, place: int) -> Reading:
    """The answers of one day's column; its numbers are amounts where the mapping tells a unit."""
    column = reader.sheet.cells.column(place).combine_chunks()
    said = read_answers(column, reader.mapping.answers.meanings())
    faults: dict[int, Fault] = {}

    def fault(where: Bools, reason: str, expected: str, action: str) -> None:
        detail = told(column, expected, action)
        for position in np.flatnonzero(where).tolist():
            faults.setdefault(position, Fault(position, f"column {place + 1}", reason, detail(position)))

    amount = np.full(reader.n, np.nan)
    answer = said.copy()
    listed = "correct it, or list the word under `answers`"
    if reader.mapping.unit is None and reader.mapping.unit_is is None:
        expected = "a word for yes, no or no answer"
        fault(said == UNKNOWN_ANSWER, "unknown_answer", expected, listed + "; amounts need `unit` or `unit_is`")
    else:
        kinds, values = read_numbers(column, reader.mapping.decimal)
        number = (kinds == NUMBER) & (said != NO_ANSWER)
        answer[number] = np.where(values[number] > 0, YES, NO)
        amount[number] = values[number]
        fault((kinds == NOT_A_NUMBER) & (said == UNKNOWN_ANSWER), "not_a_number", "an amount in digits", listed)
        fault((kinds == NEGATIVE) & (said != NO_ANSWER), "negative_amount", "an amount of 0 or more", "correct it")
    answer[list(faults)] = NO_ANSWER
    return Reading(answer, amount, np.full(reader.n, -1, dtype=np.int64), faults)


def _uses(
    reader: Reader,
    places: dict[int, int],
    readings: list[Reading],
    usable: NDArray[np.int64],
    shared: dict[str, pa.Array | None],
) -> pa.Table:
    mapping = reader.mapping
    assert mapping.date_means is not None
    shared |= reported_columns(reader.reported(), reader.flags) | {
        "participant_ref": texts_or_none(reader, mapping.participant),
        "flags": flag_column(reader.n, reader.flags),
        "source_row": pa.array(reader.sheet.rows),
        "instrument": pa.repeat(mapping.name, reader.n),
        "recall_method": pa.repeat(mapping.recall_method or _RECALL, reader.n),
        "time_precision": pa.repeat("day", reader.n),
        "unit_column": pa.repeat(pa.scalar(mapping.unit, pa.string()), reader.n),
    }
    ids = texts_or_none(reader, mapping.record_id)
    tables, order = [], []
    for k, (reading, (place, day)) in enumerate(zip(readings, places.items(), strict=True)):
        where = usable[reading.answer[usable] != NO_ANSWER]
        rows, amount = pa.array(where), reading.amount[where]
        used = np.full(len(where), day - DAYS_BACK[mapping.date_means])
        columns = {name: None if column is None else column.take(rows) for name, column in shared.items()}
        columns |= {
            "record_id": None if ids is None else pc.binary_join_element_wise(ids.take(rows), str(day), SEPARATOR),
            "no_use": pa.array(reading.answer[where] == NO),
            "use_day": days(used, np.ones(len(where), dtype=np.bool_)),
            "amount_reported": pa.array(amount, mask=np.isnan(amount)),
            "date_column": pa.repeat(f"column {place + 1}", len(where)),
        }
        tables.append(use_table(columns, len(where)))
        order.append(np.stack([where, np.full(len(where), k)]))
    position, column = np.concatenate(order, axis=1)
    return pa.concat_tables(tables).take(pa.array(np.lexsort((column, position)))).combine_chunks()
