"""Sleep diaries by a mapping: clocks across midnight, what is missing, what cannot be."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decode.log.diary_cases import ANSWERS, COLUMNS, FIRST, HEADER, at, line, nights, only, read, refused
from ingest._core.clock import DAY, HOUR, MINUTE
from ingest.decode.log._diary import CLOCKS, ORDER, Cells, place
from ingest.decode.model import decoded_diary_schema


def test_an_ordinary_night() -> None:
    decoded = read(line())
    assert decoded.diaries is not None
    assert decoded.uses is None or len(decoded.uses) == 0
    assert decoded.diaries.schema == decoded_diary_schema()
    assert decoded.diaries.to_pylist() == [
        {
            "source_row": 1, "participant_ref": None, "record_id": None, "night_day": FIRST,
            "into_bed_clock": at("1 23:00"), "try_to_sleep_clock": at("1 23:20"), "sol_min": 15.0, "awakenings": 2,
            "waso_min": 30.0, "final_wake_clock": at("2 06:50"), "out_of_bed_clock": at("2 07:10"),
            "intended_wake_clock": at("2 07:00"), "quality": 4.0, "instrument": "diary", "date_column": "day",
            "flags": None,
        }
    ]  # fmt: skip
    assert (decoded.tally.read, decoded.tally.kept) == (1, 1)


@pytest.mark.parametrize(
    ("means", "night"),
    [("wake_day", FIRST), ("report_day", FIRST), ("bed_day", date(2026, 3, 2)), ("use_day", date(2026, 3, 2))],
)
def test_what_the_date_means_says_which_night(means: str, night: date) -> None:
    (row,) = nights(line(), date_means=means)
    assert row["night_day"] == night
    assert row["into_bed_clock"] == datetime.combine(night, datetime.min.time()) + timedelta(hours=23)


@pytest.mark.parametrize(
    ("bed", "trying", "wake", "up", "placed"),
    [
        ("23:00", "00:30", "07:00", "07:30", ("1 23:00", "2 00:30", "2 07:00", "2 07:30")),
        ("00:30", "00:40", "08:00", "08:00", ("2 00:30", "2 00:40", "2 08:00", "2 08:00")),
        ("12:00", "12:30", "18:00", "18:10", ("1 12:00", "1 12:30", "1 18:00", "1 18:10")),
        ("11:59", "12:10", "18:00", "18:10", ("2 11:59", "2 12:10", "2 18:00", "2 18:10")),
        ("16:00", "16:12", "08:00", "08:00", ("1 16:00", "1 16:12", "2 08:00", "2 08:00")),
        ("10:00", "10:00", "14:20", "14:20", ("2 10:00", "2 10:00", "2 14:20", "2 14:20")),
        ("21:00", "", "05:00", "12:30", ("1 21:00", None, "2 05:00", "2 12:30")),
        ("", "01:00", "", "09:00", (None, "2 01:00", None, "2 09:00")),
        ("", "", "07:00", "07:20", (None, None, "2 07:00", "2 07:20")),
        ("", "", "12:40", "", (None, None, "2 12:40", None)),
        ("", "", "17:59", "18:00", (None, None, "2 17:59", "2 18:00")),
        ("23:50:30", "", "", "", ("1 23:50", None, None, None)),
        (" 7:05 ", "", "", "", ("2 07:05", None, None, None)),
    ],
)
def test_clocks_are_placed_in_the_order_of_the_night(
    bed: str, trying: str, wake: str, up: str, placed: tuple[str | None, ...]
) -> None:
    (row,) = nights(only(into_bed=bed, try_to_sleep=trying, final_wake=wake, out_of_bed=up))
    found = [row[f"{name}_clock"] for name in ORDER]
    assert [each and each.replace(second=0) for each in found] == [each and at(each) for each in placed]


@pytest.mark.parametrize(
    ("bed", "plan", "placed"),
    [
        ("23:00", "07:00", "2 07:00"),
        ("00:30", "07:00", "2 07:00"),
        ("07:30", "07:00", "3 07:00"),
        ("", "07:00", "2 07:00"),
    ],
)
def test_the_intended_wake_follows_getting_into_bed(bed: str, plan: str, placed: str) -> None:
    (row,) = nights(only(into_bed=bed, intended_wake=plan))
    assert row["intended_wake_clock"] == at(placed)


def test_whole_local_times_stand_as_they_are() -> None:
    rows = [
        only(into_bed="2026-03-01T22:50", try_to_sleep="23:10", final_wake="2026-03-02 06:40:30"),
        only("2026-03-03", into_bed="2026-03-03T00:30+01:00", out_of_bed="08:00"),
    ]
    first, second = nights(*rows)
    assert (first["into_bed_clock"], first["try_to_sleep_clock"]) == (at("1 22:50"), at("1 23:10"))
    assert first["final_wake_clock"] == datetime(2026, 3, 2, 6, 40, 30)
    assert (second["into_bed_clock"], second["out_of_bed_clock"]) == (at("3 00:30"), at("3 08:00"))


@pytest.mark.parametrize(
    "answers",
    [
        {"into_bed": "2026-03-02T22:50"},  # the evening after the night
        {"into_bed": "2026-03-01T11:59"},  # before the noon at which it begins
        {"final_wake": "2026-03-03T12:00"},
        {"intended_wake": "2026-02-27T07:00"},
    ],
)
def test_whole_times_of_another_night_are_set_aside(answers: dict[str, str]) -> None:
    decoded = read(only(**answers))
    assert refused(decoded) == [("row 1", "other_night")]


@pytest.mark.parametrize(
    "answers",
    [
        {"try_to_sleep": "22:50"},  # before getting into bed: all the rest would be a day late
        {"out_of_bed": "06:40"},  # before the awakening
        {"final_wake": "23:10", "out_of_bed": "23:15"},
        {"final_wake": "", "out_of_bed": "", "try_to_sleep": "22:59"},
        {"into_bed": "", "try_to_sleep": "", "out_of_bed": "06:49"},
        {"into_bed": "2026-03-01T23:30", "try_to_sleep": "2026-03-01T23:20"},
    ],
)
def test_an_order_that_cannot_be_is_set_aside(answers: dict[str, str]) -> None:
    decoded = read(line(**answers), line("2026-03-03"))
    assert refused(decoded) == [("row 1", "impossible_times")]
    assert (decoded.tally.kept, decoded.tally.quarantined) == (1, 1)


def test_a_very_long_night_is_no_impossible_one() -> None:
    (row,) = nights(only(into_bed="16:00", try_to_sleep="16:10", final_wake="15:30", out_of_bed="15:59"))
    assert row["out_of_bed_clock"] - row["into_bed_clock"] == timedelta(hours=23, minutes=59)


@pytest.mark.parametrize("name", list(ANSWERS))
def test_a_missing_answer_is_null_and_never_zero(name: str) -> None:
    (row,) = nights(line(**{name: " "}))
    column = name if name in row else f"{name}_clock"
    assert row[column] is None
    assert sum(value is None for value in row.values()) == 4  # and participant, record id and flags


def test_a_column_that_is_not_mapped_is_null() -> None:
    (row,) = nights(line(), diary={"final_wake": "wake"})
    assert row["final_wake_clock"] == at("2 06:50")
    assert [row[name] for name in ("into_bed_clock", "sol_min", "awakenings", "quality")] == [None] * 4


def test_a_row_that_answers_nothing_is_ignored() -> None:
    decoded = read(only(), only(day="nonsense"), line("2026-03-03"), only(sol_min="n/a"),
                   answers={"none": ["", "N/A"]})  # fmt: skip
    assert dict(decoded.tally.ignored) == {"no_answer": 3}
    assert (decoded.tally.read, decoded.tally.kept, decoded.tally.refusals) == (4, 1, [])


@pytest.mark.parametrize(
    ("name", "cell", "reason"),
    [
        ("into_bed", "25:00", "impossible_clock"),
        ("into_bed", "24:00", "impossible_clock"),
        ("try_to_sleep", "23.30", "not_a_clock"),
        ("try_to_sleep", "11:30 PM", "not_a_clock"),
        ("final_wake", "seven", "not_a_clock"),
        ("final_wake", "2026-03-02", "not_a_clock"),
        ("final_wake", "０７:00", "not_a_clock"),
        ("out_of_bed", "2026-02-30T07:00", "impossible_clock"),
        ("intended_wake", "2026-03-02T07:00Z", "clock_in_utc"),
        ("sol_min", "-5", "negative_minutes"),
        ("sol_min", "about 10", "not_a_number"),
        ("sol_min", "1_0", "not_a_number"),
        ("waso_min", "00:20", "not_a_number"),
        ("waso_min", "1441", "impossible_minutes"),
        ("awakenings", "2.5", "not_a_whole_number"),
        ("awakenings", "-1", "not_a_whole_number"),
        ("awakenings", "twice", "not_a_whole_number"),
        ("awakenings", "1e20", "not_a_whole_number"),
        ("quality", "Zebrowski slept well", "unknown_answer"),
    ],
)
def test_a_cell_that_cannot_be_sets_the_night_aside(name: str, cell: str, reason: str) -> None:
    decoded = read(line("2026-03-03"), line(**{name: cell}))
    assert refused(decoded) == [(f"row 2, {COLUMNS[name]}", reason)]
    assert (decoded.tally.read, decoded.tally.kept, decoded.tally.quarantined) == (2, 1, 1)
    detail = decoded.tally.refusals[0].detail
    assert cell not in detail
    assert detail.startswith("expected ")


def test_only_one_line_is_told_of_a_night() -> None:
    decoded = read(line("2026-13-02", into_bed="25:00", sol_min="-1"))
    assert refused(decoded) == [("row 1, day", "impossible_date")]


def test_quality_in_words_and_in_numbers() -> None:
    rows = [line(f"2026-03-0{i}", quality=word) for i, word in enumerate(["very POOR ", "fair", "-2", "3.5", ""], 1)]
    assert [row["quality"] for row in nights(*rows)] == [1.0, 3.0, -2.0, 3.5, None]


def test_minutes_may_have_a_decimal_comma() -> None:
    text = line(sol_min="7,5", waso_min="0").replace(",", ";").replace("7;5", "7,5")
    (row,) = nights(text, header=HEADER.replace(",", ";"), delimiter=";", decimal=",")
    assert (row["sol_min"], row["waso_min"]) == (7.5, 0.0)


def test_equal_rows_are_duplicates_and_different_ones_stay() -> None:
    decoded = read(line(), line(sol_min="15.0"), line(sol_min="16"), line(into_bed="2026-03-01T23:00"))
    assert decoded.diaries is not None
    assert decoded.diaries["source_row"].to_pylist() == [1, 3]
    assert (decoded.tally.duplicate, decoded.tally.kept) == (2, 2)


def test_the_last_row_of_a_record_counts() -> None:
    header = f"id,{HEADER}"
    rows = [f"a,{line()}", f"b,{line('2026-03-03')}", f"a,{line(sol_min='40')}", f",{line()}", f",{line()}"]
    decoded = read(*rows, header=header, record_id="id")
    assert decoded.diaries is not None
    kept = decoded.diaries.to_pylist()
    assert [(row["source_row"], row["record_id"], row["sol_min"]) for row in kept] == [
        (2, "b", 15.0), (3, "a", 40.0), (4, None, 15.0),
    ]  # fmt: skip
    assert decoded.tally.duplicate == 2


def test_rows_of_two_people_are_not_each_others_duplicates() -> None:
    rows = [f"{ref},{line()}" for ref in ("P01", "P02", "P01")]
    decoded = read(*rows, header=f"who,{HEADER}", participant="who")
    assert decoded.diaries is not None
    assert decoded.diaries["participant_ref"].to_pylist() == ["P01", "P02"]
    assert decoded.tally.duplicate == 1


def test_notes_do_not_leave_the_decoder() -> None:
    decoded = read(f"{line()},Zebrowski called", header=f"{HEADER},note")
    assert decoded.diaries is not None
    assert "Zebrowski" not in str(decoded.diaries.to_pylist())
    assert decoded.tally.classes["columns unmapped"] == 1


def test_a_diary_of_no_rows() -> None:
    decoded = read()
    assert decoded.diaries is not None
    assert (len(decoded.diaries), decoded.tally.read) == (0, 0)


NIGHT = int((FIRST - date(1970, 1, 1)).days)
CLOCK = st.one_of(st.none(), st.integers(0, 24 * 60 - 1))


@given(st.lists(st.tuples(*[CLOCK] * len(CLOCKS)), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_placing_keeps_clocks_and_never_goes_back(rows: list[tuple[int | None, ...]]) -> None:
    clocks = {}
    for k, name in enumerate(CLOCKS):
        known = np.array([row[k] is not None for row in rows])
        value = np.array([(row[k] or 0) * MINUTE for row in rows], dtype=np.int64)
        clocks[name] = Cells(known, np.zeros(len(rows), dtype=np.bool_), value)
    placed = place(np.full(len(rows), NIGHT), clocks)
    assert not placed.elsewhere.any()
    for i, row in enumerate(rows):
        told = [(name, int(placed.at[name][i])) for name, cell in zip(ORDER, row, strict=False) if cell is not None]
        for (name, micros), cell in zip(told, [cell for cell in row[:4] if cell is not None], strict=True):
            assert micros % DAY == cell * MINUTE, name
        if told:
            begins = NIGHT * DAY + (12 if told[0][0] in ("into_bed", "try_to_sleep") else 18) * HOUR
            assert begins <= told[0][1] < begins + DAY
        times = [micros for _, micros in told]
        assert all(0 <= later - earlier < DAY for earlier, later in pairwise(times))
        if not placed.disordered[i] and told:
            assert times[-1] - times[0] < DAY
        if row[4] is not None:
            start = next((t for name, t in told if name in ("into_bed", "try_to_sleep")), NIGHT * DAY + 18 * HOUR)
            assert 0 <= placed.at["intended_wake"][i] - start < DAY


@given(st.integers(0, 24 * 60 - 1), st.lists(st.integers(0, 400), min_size=3, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_night_under_a_day_is_found_again(bed: int, steps: list[int]) -> None:
    """Written as bare clocks, a night that begins in the 24 h from noon comes back as it was."""
    start = datetime(2026, 3, 1, 12) + timedelta(minutes=bed)
    true = [start + timedelta(minutes=sum(steps[:k])) for k in range(4)]
    answers = {name: moment.strftime("%H:%M") for name, moment in zip(ORDER, true, strict=True)}
    (row,) = nights(only(**answers))
    assert [row[f"{name}_clock"] for name in ORDER] == true
