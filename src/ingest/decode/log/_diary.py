"""Sleep diaries: a row is a night, its clocks placed across midnight in the order of the night.

A row whose diary cells are all empty says nothing and is ignored; one cell that cannot be what it should sets the
row aside, since the other times of a night are placed by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import DAY, HOUR, Micros
from ingest._core.log_mapping import DiaryColumns
from ingest.decode.log._clocks import (
    BARE_DATE,
    CLOCK,
    IMPOSSIBLE,
    NO_TIME,
    Clocks,
    read_iso,
    read_times_of_day,
    read_when,
)
from ingest.decode.log._reader import DAYS_BACK, Reader, days, stamps
from ingest.decode.log._rows import SEPARATOR, superseded_rows, told
from ingest.decode.log._words import (
    NEGATIVE,
    NO_ANSWER,
    NO_NUMBER,
    NOT_A_NUMBER,
    NUMBER,
    Bools,
    each,
    read_answers,
    read_numbers,
    texts,
)
from ingest.decode.model import decoded_diary_schema

ORDER = ("into_bed", "try_to_sleep", "final_wake", "out_of_bed")
CLOCKS = (*ORDER, "intended_wake")
_BEFORE_SLEEP = ("into_bed", "try_to_sleep")
# What is stated of being awake between two neighbours; only asleep may a night be longer than this.
_AWAKE_STEPS = {"try_to_sleep": "into_bed", "out_of_bed": "final_wake"}
_LONGEST_AWAKE_STEP = 16 * HOUR
_NIGHT_BEGINS, _WAKING_BEGINS = 12 * HOUR, 18 * HOUR
_MINUTES_OF_A_DAY = 24 * 60
_ACTION = "correct it in the diary, or list the word under `answers` as none if it is no answer"


@dataclass(frozen=True)
class Cells:
    """A column of clocks: where one is `known`, its microseconds since midnight or, where it is `dated`, the whole
    local time in microseconds.
    """

    known: Bools
    dated: Bools
    value: Micros

    @classmethod
    def none(cls, n: int) -> Cells:
        """`n` cells without a clock."""
        empty = np.zeros(n, dtype=np.bool_)
        return cls(empty, empty, np.zeros(n, dtype=np.int64))


@dataclass(frozen=True)
class Placed:
    """Local times by column, in microseconds, and the nights that cannot be: out of order, or of another day."""

    at: dict[str, Micros]
    disordered: Bools
    elsewhere: Bools


def read_diary(reader: Reader) -> pa.Table:
    """Nights with decoded_diary_schema(), in the order of the file; faults go to the reader's findings."""
    mapping, findings = reader.mapping, reader.findings
    assert mapping.date is not None
    assert mapping.diary is not None
    assert mapping.date_means is not None
    findings.kind = "diary"
    column = reader.sheet.column(mapping.date.column)
    dates = read_when(column, mapping.date)
    silent = _silent(reader, mapping.diary)
    reader.check_dates(column, dates, mapping.date)
    clocks = {name: _read_clocks(reader, name) for name in CLOCKS}
    numbers = {name: _read_minutes(reader, name) for name in ("sol_min", "waso_min")}
    numbers |= {"awakenings": _read_count(reader), "quality": _read_quality(reader)}
    night = dates.day - DAYS_BACK[mapping.date_means]
    placed = place(night, clocks)
    _refuse_impossible(reader, placed)
    for position in np.flatnonzero(silent).tolist():
        findings.records.pop(position, None)
    findings.pass_over("no_answer", silent)
    usable = np.flatnonzero(~(silent | findings.lost(reader.n)))
    nights = _table(reader, night, {name: clocks[name].known for name in CLOCKS}, placed, numbers)
    repeated = _repeats(nights.take(pa.array(usable)))
    findings.repeated = np.zeros(reader.n, dtype=np.bool_)
    findings.repeated[usable[repeated]] = True
    return nights.take(pa.array(usable[~repeated])).combine_chunks()


def place(night: NDArray[np.int64], clocks: Mapping[str, Cells]) -> Placed:
    """The clocks of each night (days since 1970) on their dates.

    The first of into_bed and try_to_sleep lies in the 24 h that begin at noon of the night's date; if neither is
    known, the awakening in those that begin at 18:00. Each next one is the first such clock at or after the one
    before it, and intended_wake the first at or after the first of the night. Full local times stand as they are.
    Out of order are times that go back, last a day or more, or leave more than 16 h awake in bed at one end.
    """
    noon = night * DAY + _NIGHT_BEGINS
    floor, first = noon.copy(), noon.copy()
    begun, disordered, elsewhere = (np.zeros(len(night), dtype=np.bool_) for _ in range(3))
    at: dict[str, Micros] = {}
    start, in_bed = noon, begun
    for name in ORDER:
        if name == "final_wake":
            start, in_bed = first.copy(), begun.copy()
            floor = np.where(begun, floor, night * DAY + _WAKING_BEGINS)
        cells = clocks[name]
        at[name] = _at(cells, floor)
        elsewhere |= cells.known & ((at[name] < noon) | (at[name] >= noon + 2 * DAY)) & cells.dated
        if name in _BEFORE_SLEEP:
            elsewhere |= cells.known & ~begun & (at[name] >= noon + DAY)
        disordered |= cells.known & begun & (at[name] < floor)
        before = _AWAKE_STEPS.get(name)
        if before is not None:
            both = cells.known & clocks[before].known
            disordered |= both & (at[name] - at[before] > _LONGEST_AWAKE_STEP)
        first = np.where(cells.known & ~begun, at[name], first)
        floor = np.where(cells.known, at[name], floor)
        begun = begun | cells.known
    disordered |= begun & (floor - first >= DAY)
    wish = clocks["intended_wake"]
    at["intended_wake"] = _at(wish, np.where(in_bed, start, night * DAY + _WAKING_BEGINS))
    elsewhere |= wish.known & wish.dated & ((at["intended_wake"] < noon) | (at["intended_wake"] >= noon + 2 * DAY))
    return Placed(at, disordered, elsewhere)


def _at(cells: Cells, floor: Micros) -> Micros:
    """The first such clock at or after `floor`; whole local times as they are."""
    return np.where(cells.dated, cells.value, floor + (cells.value - floor) % DAY)


def _refuse_impossible(reader: Reader, placed: Placed) -> None:
    reader.findings.lose(
        placed.elsewhere,
        "other_night",
        "expected times of the night that begins at noon of the row's date (moved as `date_means` says), got times "
        "of another; correct the row, or `date_means` of the mapping",
    )
    reader.findings.lose(
        placed.disordered,
        "impossible_times",
        "expected the times in the order of the night (into bed, try to sleep, final awakening, out of bed) within "
        "24 h, got an order that cannot be; correct the clocks in the diary",
    )


def _no_answer(reader: Reader, column: pa.Array) -> Bools:
    mask: Bools = read_answers(column, reader.mapping.answers.meanings()) == NO_ANSWER
    return mask


def _silent(reader: Reader, columns: DiaryColumns) -> Bools:
    """Rows without an answer in any column of the diary."""
    silent = np.ones(reader.n, dtype=np.bool_)
    for name in sorted(columns.columns()):
        silent &= _no_answer(reader, reader.sheet.column(name))
    return silent


def _column(reader: Reader, name: str) -> pa.Array | None:
    """The cells of one of the diary's answers; None where the mapping does not name it."""
    named: str | None = getattr(reader.mapping.diary, name)
    return reader.cells(named)


def _lose(reader: Reader, name: str, column: pa.Array, where: Bools, reason: str, expected: str) -> None:
    reader.findings.lose(where, reason, told(column, expected, _ACTION), getattr(reader.mapping.diary, name))


def _read_clocks(reader: Reader, name: str) -> Cells:
    column = _column(reader, name)
    if column is None:
        return Cells.none(reader.n)
    asked = ~_no_answer(reader, column)
    kinds, value = read_times_of_day(column)
    kinds, value, dated = kinds.copy(), value.copy(), np.zeros(reader.n, dtype=np.bool_)
    in_utc = dated.copy()
    again = np.flatnonzero(asked & (kinds == NO_TIME))
    if len(again):
        whole = read_iso(column.take(pa.array(again)))
        kinds[again], value[again] = whole.kind, whole.local
        dated[again] = whole.kind == CLOCK
        in_utc[again] = _tells_no_local_clock(whole)
    expected = "a local clock written HH:MM, or a local time written YYYY-MM-DDThh:mm"
    bare = (kinds == NO_TIME) | (kinds == BARE_DATE)
    _lose(reader, name, column, asked & bare, "not_a_clock", expected)
    _lose(reader, name, column, asked & (kinds == IMPOSSIBLE), "impossible_clock", f"{expected}, that exists")
    _lose(reader, name, column, asked & in_utc, "clock_in_utc", f"{expected}, not in UTC")
    return Cells(asked & (kinds == CLOCK) & ~in_utc, dated, value)


def _tells_no_local_clock(clocks: Clocks) -> Bools:
    in_utc: Bools = (clocks.kind == CLOCK) & clocks.stated & (clocks.offset_us == 0)
    return in_utc


def _read_numbers(reader: Reader, name: str) -> tuple[pa.Array, NDArray[np.int8], NDArray[np.float64]] | None:
    column = _column(reader, name)
    if column is None:
        return None
    kinds, values = read_numbers(column, reader.mapping.decimal)
    kinds, values = kinds.copy(), values.copy()
    kinds[_no_answer(reader, column)] = NO_NUMBER
    return column, kinds, values


def _read_minutes(reader: Reader, name: str) -> NDArray[np.float64]:
    """Minutes of each row, NaN where there are none."""
    read = _read_numbers(reader, name)
    if read is None:
        return np.full(reader.n, np.nan)
    column, kinds, values = read
    expected = "minutes in digits, 0 to 1440"
    _lose(reader, name, column, kinds == NOT_A_NUMBER, "not_a_number", expected)
    _lose(reader, name, column, kinds == NEGATIVE, "negative_minutes", expected)
    _lose(reader, name, column, (kinds == NUMBER) & (values > _MINUTES_OF_A_DAY), "impossible_minutes", expected)
    return np.where(kinds == NUMBER, values, np.nan)


def _read_count(reader: Reader) -> NDArray[np.float64]:
    """Awakenings of each row, NaN where they are not told."""
    read = _read_numbers(reader, "awakenings")
    if read is None:
        return np.full(reader.n, np.nan)
    column, kinds, values = read
    with np.errstate(invalid="ignore"):
        whole = (kinds == NUMBER) & (values == np.rint(values)) & (values <= _MINUTES_OF_A_DAY)
    wrong = (kinds != NO_NUMBER) & ~whole
    _lose(reader, "awakenings", column, wrong, "not_a_whole_number", "a whole number of awakenings, 0 to 1440")
    return np.where(whole, values, np.nan)


def _read_quality(reader: Reader) -> NDArray[np.float64]:
    """Quality of each row on the diary's own scale, NaN where it is not told."""
    read = _read_numbers(reader, "quality")
    if read is None:
        return np.full(reader.n, np.nan)
    column, kinds, values = read
    assert reader.mapping.diary is not None
    words = {word.strip().casefold(): value for word, value in reader.mapping.diary.quality_words.items()}
    meant = each(column, lambda word: words.get(word.casefold()), pa.float64())
    by_word = meant.is_valid().to_numpy(zero_copy_only=False) & (kinds != NO_NUMBER)
    wrong = (kinds == NOT_A_NUMBER) & ~by_word
    _lose(reader, "quality", column, wrong, "unknown_answer", "a number, or a word of `quality_words`")
    told_in_digits = (kinds == NUMBER) | (kinds == NEGATIVE)
    in_words = pc.fill_null(meant, np.nan).to_numpy(zero_copy_only=False)
    return np.where(by_word, in_words, np.where(told_in_digits, values, np.nan))


def _table(
    reader: Reader,
    night: NDArray[np.int64],
    known: Mapping[str, Bools],
    placed: Placed,
    numbers: Mapping[str, NDArray[np.float64]],
) -> pa.Table:
    mapping, n = reader.mapping, reader.n
    nothing = np.isnan(numbers["awakenings"])
    columns: dict[str, pa.Array] = {
        "source_row": pa.array(reader.sheet.rows),
        "participant_ref": _texts(reader, mapping.participant),
        "record_id": _texts(reader, mapping.record_id),
        "night_day": days(night, np.ones(n, dtype=np.bool_)),
        "awakenings": pa.array(np.where(nothing, 0, numbers["awakenings"]).astype(np.int64), mask=nothing),
        "instrument": pa.repeat(mapping.name, n),
        "date_column": pa.repeat(pa.scalar(mapping.date.column if mapping.date else None, pa.string()), n),
        "flags": pa.nulls(n, pa.string()),
    }
    columns |= {f"{name}_clock": stamps(placed.at[name], known[name]) for name in CLOCKS}
    columns |= {
        name: pa.array(numbers[name], mask=np.isnan(numbers[name])) for name in ("sol_min", "waso_min", "quality")
    }
    schema = decoded_diary_schema()
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _texts(reader: Reader, name: str | None) -> pa.Array:
    column = reader.cells(name)
    return pa.nulls(reader.n, pa.string()) if column is None else texts(column)


def _repeats(nights: pa.Table) -> Bools:
    """Which nights an equal one precedes or, where they have an id of their own, one with the same id follows."""
    mask = np.zeros(len(nights), dtype=np.bool_)
    ids = nights["record_id"].combine_chunks()
    has_id = ids.is_valid().to_numpy(zero_copy_only=False)
    owner = pc.fill_null(nights["participant_ref"].combine_chunks(), "")
    among = np.flatnonzero(has_id)
    keys = pc.binary_join_element_wise(owner, pc.fill_null(ids, ""), SEPARATOR)
    mask[superseded_rows(keys.take(pa.array(among)), among)[0]] = True
    said = [name for name in nights.column_names if name not in ("source_row", "record_id", "instrument", "flags")]
    answers = pc.binary_join_element_wise(*(_as_text(nights[name]) for name in said), SEPARATOR)
    without = np.flatnonzero(~has_id)
    codes = answers.take(pa.array(without)).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    first = np.zeros(len(without), dtype=np.bool_)
    first[np.unique(codes, return_index=True)[1]] = True
    mask[without[~first]] = True
    return mask


def _as_text(column: pa.ChunkedArray) -> pa.Array:
    return pc.fill_null(column.combine_chunks().cast(pa.string()), "")
