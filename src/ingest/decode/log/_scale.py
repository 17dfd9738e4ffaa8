"""Questionnaires and daily ratings: a row is one set of answers."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.log_mapping import ScaleColumns
from ingest.decode.log._clocks import CLOCK, Clocks, read_when
from ingest.decode.log._daily import repeats
from ingest.decode.log._reader import DAYS_BACK, Reader, days, stamps
from ingest.decode.log._rows import Fault, told
from ingest.decode.log._words import NO_NUMBER, NOT_A_NUMBER, NUMBER, Bools, flag_column, read_numbers, texts
from ingest.decode.model import decoded_response_schema

Numbers = NDArray[np.float64]


def read_scale(reader: Reader) -> pa.Table:
    """Answers of a scale log with decoded_response_schema(), ordered by row.

    A row is kept if an item or the total is answered, ignored if nothing is, and set aside if nothing is but a
    cell holds what is no answer. Whether a number is one of a published scale is not looked at here.
    """
    mapping, findings = reader.mapping, reader.findings
    assert mapping.date is not None
    assert mapping.scale is not None
    findings.kind = "scale"
    column = reader.sheet.column(mapping.date.column)
    clocks = read_when(column, mapping.date)
    faults: list[Fault] = []
    items = {name: _item(reader, mapping.scale, name, faults) for name in sorted(mapping.scale.items, key=_place)}
    total = _total(reader, mapping.scale, faults)
    silent = np.all([np.isnan(values) for values in (*items.values(), total)], axis=0)
    usable = _usable(reader, column, clocks, faults, silent)
    answered = np.array([values[usable] for values in items.values()]).reshape(len(items), len(usable))
    stated = {name: None if each is None else each.take(pa.array(usable)) for name, each in _shared(reader).items()}
    return _table(
        {
            **stated,
            **_days(reader, clocks, usable),
            "items": _objects(list(items), answered),
            "total_reported": pa.array(total[usable], mask=np.isnan(total[usable])),
        },
        len(usable),
    )


def _place(name: str) -> tuple[int, str]:
    """Numbered items in the order of their numbers, before named ones."""
    return (int(name), "") if name.isdecimal() else (1 << 30, name)


def _item(reader: Reader, scale: ScaleColumns, name: str, faults: list[Fault]) -> Numbers:
    """Answers to one item, NaN for none; what is no answer is added to `faults`."""
    column, part = scale.items[name], f"item {name}"
    kinds, values = _read(reader, column, scale)
    expected, action = "a number or a word of `labels`", "correct it, or list the word under `labels`"
    _note(reader, column, part, kinds == NOT_A_NUMBER, "not_a_number", expected, action, faults)
    if scale.instrument == "DAILY":
        low, high = scale.range_of(name)
        outside = ~np.isnan(values) & ~((values >= low) & (values <= high))
        action = "correct it, or `low` and `high` (of single items `ranges`)"
        _note(reader, column, part, outside, "out_of_range", f"a number from {low:g} to {high:g}", action, faults)
        values[outside] = np.nan
    return values


def _total(reader: Reader, scale: ScaleColumns, faults: list[Fault]) -> Numbers:
    """The totals handed in, NaN for none."""
    if scale.total is None:
        return np.full(reader.n, np.nan)
    kinds, values = _read(reader, scale.total, None)
    wrong = kinds == NOT_A_NUMBER
    _note(reader, scale.total, scale.total, wrong, "not_a_number", "a total in digits", "correct it", faults)
    return values


def _read(reader: Reader, name: str, scale: ScaleColumns | None) -> tuple[NDArray[np.int8], Numbers]:
    """Kind and number of every cell of a column; NaN where the kind is no number."""
    words = reader.sheet.column(name).dictionary_encode()
    kinds, values = read_numbers(words.dictionary, reader.mapping.decimal)
    kinds, values = kinds.copy(), values.copy()
    labels = {} if scale is None else {label.strip().casefold(): value for label, value in scale.labels.items()}
    none = {word for word, meaning in reader.mapping.answers.meanings().items() if meaning is None}
    for i, word in enumerate(words.dictionary.to_pylist()):
        key = word.strip().casefold()
        if key in labels:
            kinds[i], values[i] = NUMBER, labels[key] + 0.0
        elif key in none:
            kinds[i] = NO_NUMBER
    values[(kinds == NO_NUMBER) | (kinds == NOT_A_NUMBER)] = np.nan
    codes = words.indices.to_numpy()
    return kinds[codes], values[codes]


def _note(
    reader: Reader, column: str, part: str, where: Bools, reason: str, expected: str, action: str, faults: list[Fault]
) -> None:
    detail = told(reader.sheet.column(column), expected, action)
    faults += [Fault(position, part, reason, detail(position)) for position in np.flatnonzero(where).tolist()]


def _usable(reader: Reader, column: pa.Array, clocks: Clocks, faults: list[Fault], silent: Bools) -> NDArray[np.int64]:
    """Positions of the rows that are kept; what becomes of the others goes to the findings."""
    mapping, findings = reader.mapping, reader.findings
    assert mapping.date is not None
    faulty = np.zeros(reader.n, dtype=np.bool_)
    faulty[[fault.position for fault in faults]] = True
    unanswered = silent & ~faulty
    reader.check_dates(column, clocks, mapping.date)
    for position in np.flatnonzero(unanswered).tolist():
        findings.records.pop(position, None)
    findings.pass_over("no_answer", unanswered)
    for fault in faults:
        if silent[fault.position]:
            findings.records.setdefault(fault.position, fault)
    gone = unanswered | findings.lost(reader.n)
    repeated = repeats(reader, np.flatnonzero(~gone))
    findings.repeated = repeated
    gone |= repeated
    findings.values = [fault for fault in faults if not gone[fault.position]]
    reader.flags["answer_set_aside"] = faulty
    return np.flatnonzero(~gone)


def _shared(reader: Reader) -> dict[str, pa.Array | None]:
    """What is read alike in every row."""
    mapping, scale = reader.mapping, reader.mapping.scale
    assert scale is not None
    names = {"participant_ref": mapping.participant, "record_id": mapping.record_id}
    return {
        **{key: None if name is None else texts(reader.sheet.column(name)) for key, name in names.items()},
        "source_row": pa.array(reader.sheet.rows),
        "instrument": pa.repeat(scale.instrument, reader.n),
        "date_column": pa.repeat(pa.scalar(mapping.date.column if mapping.date else None, pa.string()), reader.n),
        "part_of_day": pa.repeat(pa.scalar(scale.part_of_day, pa.string()), reader.n),
        "flags": flag_column(reader.n, reader.flags),
    }


def _days(reader: Reader, clocks: Clocks, usable: NDArray[np.int64]) -> dict[str, pa.Array]:
    """The day the answers speak of, and the clock beside the date where there is one."""
    assert reader.mapping.date_means is not None
    day, local = clocks.day[usable], clocks.local[usable]
    timed = clocks.kind[usable] == CLOCK
    in_utc = timed & clocks.stated[usable] & (clocks.offset_us[usable] == 0)
    return {
        "answered_day": days(day - DAYS_BACK[reader.mapping.date_means], np.ones(len(usable), dtype=np.bool_)),
        "answered_clock": stamps(local, timed & ~in_utc),
        "answered_utc": stamps(local, in_utc, instants=True),
    }


def _objects(names: list[str], answered: Numbers) -> pa.Array:
    """A JSON object for each row, from a line of numbers for each item; NULL where none is answered."""
    n = answered.shape[1]
    if not names:
        return pa.nulls(n, pa.string())
    parts: list[pa.Array | str] = []
    for i, name in enumerate(names):
        parts += [("{" if i == 0 else ",") + json.dumps(name) + ":", _as_json(answered[i])]
    joined = pc.binary_join_element_wise(*parts, "}", "")
    return pc.if_else(pa.array(np.all(np.isnan(answered), axis=0)), None, joined)


def _as_json(values: Numbers) -> pa.Array:
    different, codes = np.unique(values, return_inverse=True)
    words = [
        "null" if np.isnan(value) else json.dumps(int(value) if value.is_integer() else value)
        for value in different.tolist()
    ]
    return pa.array(words, pa.string()).take(pa.array(codes))


def _table(columns: dict[str, pa.Array | None], n: int) -> pa.Table:
    schema = decoded_response_schema()
    arrays = []
    for each in schema:
        column = columns.get(each.name)
        arrays.append(pa.nulls(n, each.type) if column is None else column.cast(each.type))
    return pa.table(arrays, schema=schema)
