"""Dates and clocks: read strictly, and told apart from those that cannot be."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest._core.clock import MINUTE, to_micros
from ingest._core.log_mapping import When
from ingest.decode.log import _clocks
from ingest.decode.log._clocks import read_iso, read_times_of_day, read_when

NAMES = {
    _clocks.EMPTY: "empty",
    _clocks.BARE_DATE: "date",
    _clocks.CLOCK: "clock",
    _clocks.NO_TIME: "none",
    _clocks.IMPOSSIBLE: "impossible",
}


def one(text: str, form: str | None = None) -> tuple[str, int, int | None]:
    """Kind, microseconds and stated offset in minutes of a cell."""
    clocks = read_when(pa.array([text]), When(column="t", format=form))
    offset = int(clocks.offset_us[0]) // MINUTE if clocks.stated[0] else None
    return NAMES[int(clocks.kind[0])], int(clocks.local[0]), offset


CLOCKS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
OFFSETS = st.none() | st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.lists(st.tuples(CLOCKS, OFFSETS, st.sampled_from("T ")), min_size=1, max_size=20))
@settings(max_examples=150, deadline=None)
def test_iso_times_are_read_as_the_standard_library_writes_them(
    cells: list[tuple[datetime, Any, str]],
) -> None:
    moments = [clock.replace(tzinfo=zone) for clock, zone, _ in cells]
    column = pa.array([m.isoformat(sep=sep) for m, (_, _, sep) in zip(moments, cells, strict=True)])
    read = read_iso(column)
    assert {NAMES[kind] for kind in read.kind.tolist()} == {"clock"}
    assert read.local.tolist() == [to_micros(m.replace(tzinfo=None)) for m in moments]
    assert read.stated.tolist() == [m.tzinfo is not None for m in moments]
    offsets = [(m.utcoffset() or timedelta()) // timedelta(microseconds=1) for m in moments]
    assert read.offset_us.tolist() == offsets


@given(st.lists(st.dates(), min_size=1, max_size=20))
@settings(deadline=None)
def test_bare_dates_stand_at_midnight(days: list[Any]) -> None:
    read = read_iso(pa.array([day.isoformat() for day in days]))
    assert {NAMES[kind] for kind in read.kind.tolist()} == {"date"}
    assert read.local.tolist() == [to_micros(datetime.combine(day, datetime.min.time())) for day in days]


@given(st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?\Z"))
@settings(max_examples=300, deadline=None)
def test_what_has_the_shape_of_a_time_is_one_or_cannot_be(text: str) -> None:
    try:
        expected = to_micros(datetime.fromisoformat(text))
    except ValueError:
        assert one(text)[0] == "impossible"
    else:
        assert one(text)[1] == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        ("   ", "empty"),
        (" 2026-03-01 ", "date"),
        ("2026-02-29", "impossible"),
        ("1900-02-29", "impossible"),
        ("2000-02-29", "date"),
        ("2026-13-01", "impossible"),
        ("2026-00-10", "impossible"),
        ("2026-03-01T24:00", "impossible"),
        ("2026-03-01T21:60", "impossible"),
        ("2026-03-01T21:30:60", "impossible"),
        ("2026-03-01T21:30+14:30", "impossible"),
        ("2026-03-01T21:30+02:75", "impossible"),
        ("2026-3-1", "none"),
        ("01/03/2026", "none"),
        ("2026-03-01T21", "none"),
        ("2026-03-01X21:30", "none"),
        ("2026-03-01T21:30 pm", "none"),
        ("２０２６-03-01", "none"),
        ("2026-03-01T21:3０", "none"),
        ("yesterday", "none"),
    ],
)
def test_no_other_text_is_a_time(text: str, kind: str) -> None:
    assert one(text)[0] == kind


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("Z", 0),
        ("z", 0),
        ("+00:00", 0),
        ("+02", 120),
        ("+0530", 330),
        ("-03:30", -210),
        (" +0100", 60),
        ("", None),
    ],
)
def test_offsets(text: str, offset: int | None) -> None:
    assert one("2026-03-01T21:30:15.25" + text) == (
        "clock",
        to_micros(datetime(2026, 3, 1, 21, 30, 15, 250000)),
        offset,
    )


@pytest.mark.parametrize(
    ("text", "form", "kind"),
    [
        ("01/11/2019", "%d/%m/%Y", "date"),
        ("1/2/2019", "%d/%m/%Y", "date"),
        ("31/02/2019", "%d/%m/%Y", "impossible"),
        ("11/25/2019", "%d/%m/%Y", "impossible"),
        ("2019-11-01", "%d/%m/%Y", "none"),
        ("０1/11/2019", "%d/%m/%Y", "none"),
        ("06/12/2019 21:58:30", "%d/%m/%Y %H:%M:%S", "clock"),
        ("06/12/2019 25:58:30", "%d/%m/%Y %H:%M:%S", "impossible"),
        ("3/1/26 9:05 PM", "%m/%d/%y %I:%M %p", "clock"),
        ("", "%d/%m/%Y", "empty"),
    ],
)
def test_formats(text: str, form: str, kind: str) -> None:
    assert one(text, form)[0] == kind


def test_a_format_is_read_as_it_says() -> None:
    assert one("06/12/2019 21:58:30", "%d/%m/%Y %H:%M:%S")[1] == to_micros(datetime(2019, 12, 6, 21, 58, 30))
    assert one("3/1/26 9:05 PM", "%m/%d/%y %I:%M %p")[1] == to_micros(datetime(2026, 3, 1, 21, 5))
    assert one("2026-03-01 21:30 +0200", "%Y-%m-%d %H:%M %z") == (
        "clock",
        to_micros(datetime(2026, 3, 1, 21, 30)),
        120,
    )


def test_times_of_day() -> None:
    words = ["08:15", "9:05", "23:59:59", "24:00", "12:60", "", "noon", "08:15"]
    kinds, micros = read_times_of_day(pa.array(words))
    assert [NAMES[kind] for kind in kinds.tolist()] == [
        "clock", "clock", "clock", "impossible", "impossible", "empty", "none", "clock",
    ]  # fmt: skip
    assert micros.tolist()[:3] == [495 * MINUTE, 545 * MINUTE, 86_399_000_000]


def test_a_slice_of_a_column_is_read_like_a_column() -> None:
    column = pa.array(["2026-01-01", "2026-03-01T21:30", "2026-03-02"]).slice(1)
    assert read_iso(column).local.tolist() == [
        to_micros(datetime(2026, 3, 1, 21, 30)),
        to_micros(datetime(2026, 3, 2)),
    ]
