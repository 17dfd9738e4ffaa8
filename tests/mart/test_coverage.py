"""What is there on every date, and why not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest._core.contract import arrow_schema
from ingest._core.settings import Exposure, Settings
from ingest.mart.coverage import coverage
from ingest.mart.person import PersonSettings
from ingest.mart.phase import phases
from mart.exposure_rows import WHO, day_use, dose, night, nights_table, no_use, uses_table

Row = dict[str, Any]
FIRST = date(2024, 3, 1)


def day(number: int) -> date:
    """The date with this day of March 2024."""
    return FIRST + timedelta(days=number - 1)


def session(number: int, role: str) -> Row:
    return {
        "participant_id": WHO,
        "night_date": day(number),
        "session_id": f"s{number}{role}",
        "role": role,
        "reason": "r",
    }


def export(status: str, arrived: datetime, source: str = "unknown", who: str = WHO) -> Row:
    return {
        "source_file_id": f"{status}{arrived}{source}",
        "participant_id": who,
        "source": source,
        "arrived_at": arrived,
        "status": status,
    }


def covered(
    nights: list[int],
    naps: tuple[int, ...] = (),
    uses: tuple[Row, ...] = (),
    files: tuple[Row, ...] = (),
    last_seen: int | None = 10,
    log_sources: tuple[str, ...] = (),
    **person: Any,
) -> dict[int, Row]:
    """Coverage of one participant by day of March."""
    people = {WHO: PersonSettings(WHO, **{"zone_name": "UTC", "enrolled_on": FIRST, **person})}
    sources = [session(number, "main") for number in nights] + [session(number, "nap") for number in naps]
    table = coverage(
        nights_table(night(str(day(number)), f"{day(number)}T23:00Z", None) for number in nights),
        pa.Table.from_pylist(sources, schema=arrow_schema("night_source")),
        uses_table(uses),
        pa.Table.from_pylist(list(files), schema=arrow_schema("source_file")),
        people,
        Exposure(),
        {} if last_seen is None else {WHO: day(last_seen)},
        log_sources,
        phases=phases(uses_table(uses), people, Settings(study="s")),
    )
    assert table.schema.equals(arrow_schema("coverage"))
    rows = table.to_pylist()
    dates = [row["date"] for row in rows]
    assert dates == [dates[0] + timedelta(days=i) for i in range(len(dates))] if dates else True
    return {(row["date"] - FIRST).days + 1: row for row in rows}


def reasons(rows: dict[int, Row]) -> list[str | None]:
    return [rows[number]["reason"] for number in sorted(rows)]


def test_reasons_before_between_and_after_the_sessions() -> None:
    rows = covered([3, 5], naps=(4,), last_seen=7)
    before, after = "before_first_export", "after_last_export"
    assert reasons(rows) == [before, before, None, "only_nap", None, after, after]
    assert [rows[number]["has_sleep"] for number in rows] == [False, False, True, False, True, False, False]
    assert reasons(covered([3, 5], last_seen=5))[3] == "no_record"


def test_a_nap_beside_a_night_is_no_gap_and_a_nap_is_a_session() -> None:
    rows = covered([3], naps=(3, 2), last_seen=4)
    assert reasons(rows) == ["before_first_export", "only_nap", None, "after_last_export"]


def test_without_any_session_there_is_no_record() -> None:
    assert reasons(covered([], last_seen=2)) == ["no_record", "no_record"]


def test_rows_end_with_the_withdrawal() -> None:
    assert reasons(covered([3], last_seen=9, withdrew_on=day(5))) == [
        "before_first_export",
        "before_first_export",
        None,
        "after_last_export",
        "withdrawn",
    ]
    rows = covered([3, 5, 7], last_seen=9, withdrew_on=day(5))
    assert (max(rows), rows[5]["has_sleep"], rows[5]["reason"]) == (5, True, None)
    assert max(covered([3], last_seen=4, withdrew_on=day(8))) == 4


def test_rows_begin_at_enrolment_else_at_what_is_there_first() -> None:
    assert min(covered([3, 9], enrolled_on=day(5))) == 5
    assert min(covered([3, 9], enrolled_on=None)) == 3
    assert min(covered([3, 9], uses=(no_use("2024-03-02"),), enrolled_on=None)) == 2
    assert covered([], enrolled_on=None) == {}
    assert covered([], last_seen=None) == {}
    assert covered([], last_seen=4, enrolled_on=day(6)) == {}


def test_rows_reach_the_last_night_and_the_last_log_day() -> None:
    assert max(covered([3, 9], last_seen=None)) == 9
    assert max(covered([3], uses=(no_use("2024-03-06"),), last_seen=4)) == 6


def test_rows_reach_the_last_arrival_by_the_participants_clock() -> None:
    files = tuple(export("loaded", datetime(2024, 3, at, 23, 30, tzinfo=UTC)) for at in (7, 4))
    assert max(covered([3], files=files, last_seen=4)) == 7
    assert max(covered([3], files=files, last_seen=4, zone_name="Europe/Oslo")) == 8
    assert max(covered([3], files=files, last_seen=4, withdrew_on=day(6))) == 6
    assert max(covered([3], files=(export("refused", datetime(2024, 3, 6, tzinfo=UTC)),), last_seen=4)) == 6


def test_a_log_counts_on_its_exposure_day() -> None:
    # 03:30 in Oslo belongs to the day before; 4 March is silent.
    uses = (
        dose("2024-03-03T02:30Z", 1.0, zone="Europe/Oslo"),
        no_use("2024-03-03"),
        day_use("2024-03-05", 1.0),
    )
    rows = covered([3], uses=uses, last_seen=6, zone_name="Europe/Oslo")
    assert [number for number in rows if rows[number]["has_log"]] == [2, 3, 5]
    assert not any(row["has_diary"] for row in rows.values())


def test_phase_turns_with_the_taper() -> None:
    rows = covered([3], last_seen=4, taper_start_on=day(3))
    assert [rows[number]["phase"] for number in rows] == ["baseline", "baseline", "taper", "taper"]
    assert covered([3])[3]["phase"] is None


def test_a_refused_file_may_hold_every_night_up_to_its_arrival() -> None:
    files = (export("refused", datetime(2024, 3, 6, 12, tzinfo=UTC)),)
    rows = covered([3, 5], naps=(1,), files=files, last_seen=8)
    refused, after = "file_refused", "after_last_export"
    assert reasons(rows) == ["only_nap", refused, None, refused, None, refused, after, after]


def test_the_arrival_is_dated_by_the_participants_clock() -> None:
    files = (export("refused", datetime(2024, 3, 1, 23, 30, tzinfo=UTC)),)
    rows = covered([5], files=files, last_seen=5, zone_name="Europe/Oslo")
    assert reasons(rows)[:3] == ["file_refused", "file_refused", "before_first_export"]


@pytest.mark.parametrize(
    "file",
    [
        export("loaded", datetime(2024, 3, 9, tzinfo=UTC)),
        export("partial", datetime(2024, 3, 9, tzinfo=UTC)),
        export("refused", datetime(2024, 3, 9, tzinfo=UTC), source="csv_log"),
        export("refused", datetime(2024, 3, 9, tzinfo=UTC), who="p0000000000000000000b"),
    ],
)
def test_files_that_hide_no_night(file: Row) -> None:
    assert "file_refused" not in reasons(covered([3], files=(file,), log_sources=("csv_log",)))


@settings(deadline=None)
@given(
    st.sets(st.integers(1, 12)),
    st.sets(st.integers(1, 12)),
    st.sets(st.integers(1, 12)),
    st.none() | st.integers(1, 12),
)
def test_every_date_has_a_night_or_one_reason(
    nights: set[int], naps: set[int], logs: set[int], withdrew: int | None
) -> None:
    uses = tuple(no_use(str(day(number))) for number in logs)
    rows = covered(sorted(nights), tuple(naps), uses, last_seen=12, withdrew_on=day(withdrew) if withdrew else None)
    assert sorted(rows) == list(range(1, (withdrew or 12) + 1))
    for number, row in rows.items():
        assert row["has_sleep"] == (number in nights)
        assert row["has_log"] == (number in logs)
        assert (row["reason"] is None) == row["has_sleep"]
        expected = "withdrawn" if number == withdrew else "only_nap" if number in naps else None
        assert row["has_sleep"] or expected is None or row["reason"] == expected
