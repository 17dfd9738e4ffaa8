"""Which version of a record counts: equal copies, revisions, overlaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest._core.contract import arrow_schema
from ingest.mart.session_versions import left_out, session_versions

EVENING = datetime(2026, 3, 1, 22, tzinfo=UTC)


def _row(session: str, export: str, exported_day: int, content: str, hours: float = 8, start: float = 0,
         **other: Any) -> dict[str, Any]:  # fmt: skip
    begin = EVENING + timedelta(hours=start)
    return {
        "session_id": session, "participant_id": "p1", "source": "fitbit", "source_record_id": session,
        "source_file_id": export, "device": "watch", "start_utc": begin, "end_utc": begin + timedelta(hours=hours),
        "time_basis": "roster", "detail": "stages", "exported_at": datetime(2026, 4, exported_day, tzinfo=UTC),
        "content_hash": content, **other,
    }  # fmt: skip


def _versions(*rows: dict[str, Any]) -> list[tuple[str, str, bool, str | None]]:
    table = session_versions(pa.Table.from_pylist(list(rows), schema=arrow_schema("sleep_session")))
    return [(r["session_id"], r["source_file_id"], r["is_current"], r["superseded_reason"]) for r in table.to_pylist()]


def test_nothing_in_nothing_out() -> None:
    assert _versions() == []


def test_equal_copies_stand_once_under_the_first_export() -> None:
    assert _versions(_row("s", "b", 2, "x"), _row("s", "a", 1, "x")) == [("s", "a", True, None)]


@pytest.mark.fault(56)
def test_the_newest_export_counts() -> None:
    assert _versions(_row("s", "a", 1, "x", 9), _row("s", "b", 2, "y", 8)) == [
        ("s", "a", False, "newer_export"),
        ("s", "b", True, None),
    ]


def test_an_old_version_that_the_newest_export_brings_again_counts() -> None:
    """a and c hold the same; b, between them, was a passing revision."""
    assert _versions(_row("s", "a", 1, "x"), _row("s", "b", 2, "y"), _row("s", "c", 3, "x")) == [
        ("s", "a", True, None),
        ("s", "b", False, "newer_export"),
    ]


def test_of_equally_new_versions_the_longest_counts() -> None:
    assert _versions(_row("s", "a", 1, "x", 8), _row("s", "b", 1, "y", 9)) == [
        ("s", "a", False, "more_complete"),
        ("s", "b", True, None),
    ]


def test_overlapping_records_of_one_device_give_way_to_the_longest() -> None:
    assert _versions(_row("s", "a", 1, "x", 8), _row("t", "a", 1, "y", 3, start=6)) == [
        ("s", "a", True, None),
        ("t", "a", False, "overlap"),
    ]


def test_touching_records_and_other_devices_do_not_overlap() -> None:
    rows = [_row("s", "a", 1, "x", 8), _row("t", "a", 1, "y", 1, start=8), _row("u", "a", 1, "z", 2, device="ring"),
            _row("v", "a", 1, "q", 2, source="oura"), _row("w", "a", 1, "r", 2, participant_id="p2")]  # fmt: skip
    assert all(current for _, _, current, _ in _versions(*rows))


@pytest.mark.parametrize(
    ("old", "new", "wins", "reason"),
    [
        ({"detail": "stages"}, {"detail": "summary"}, "a", "more_complete"),
        ({"detail": "summary"}, {"detail": "stages"}, "b", "newer_export"),
        ({"detail": "stages"}, {"detail": "period", "flags": "vendor_rejected"}, "b", "newer_export"),
        ({"detail": "period", "flags": "manual_entry,placeholder"}, {"detail": "summary"}, "b", "newer_export"),
        ({"hours": 8}, {"hours": 6}, "b", "newer_export"),
    ],
)
def test_of_versions_the_fullest_then_the_newest_counts_and_a_rejection_is_final(
    old: dict[str, Any], new: dict[str, Any], wins: str, reason: str
) -> None:
    found = _versions(_row("s", "a", 1, "x", **old), _row("s", "b", 2, "y", **new))
    assert [(export, why) for _, export, current, why in found if not current] == [
        ({"a": "b", "b": "a"}[wins], reason)]  # fmt: skip


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        # Begun later in the same export, an hour long, nested in the longer one.
        (_row("t", "a", 1, "y", 1, start=3), _row("s", "a", 1, "x", 8)),
        # Sent again by a newer export: shorter, longer, begun earlier.
        (_row("s", "a", 1, "x", 8), _row("t", "b", 2, "y", 7)),
        (_row("s", "a", 1, "x", 8), _row("t", "b", 2, "y", 9, start=-1)),
        # A piece of the night in a newer export is no replacement of it.
        (_row("t", "b", 2, "y", 3, start=2), _row("s", "a", 1, "x", 8)),
        # Totals of a newer export beside stages, and a longer bare period beside a short sleep.
        (_row("t", "b", 2, "y", 8.5, detail="summary"), _row("s", "a", 1, "x", 8)),
        (_row("t", "b", 2, "y", 12, start=-2, detail="period"), _row("s", "a", 1, "x", 3)),
        # What is rejected stands back, however long and new.
        (_row("t", "b", 2, "y", 12, start=-2, flags="vendor_rejected"), _row("s", "a", 1, "x", 3, detail="period")),
    ],
)
def test_of_overlapping_records_of_one_stream(loser: dict[str, Any], winner: dict[str, Any]) -> None:
    found = _versions(loser, winner)
    assert [(session, why) for session, _, current, why in found if not current] == [(loser["session_id"], "overlap")]
    assert _versions(winner, loser) == found


HELD = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 3), st.sampled_from(("watch", "ring", None))), max_size=8)


@given(st.tuples(HELD, HELD, HELD))
@settings(max_examples=200, deadline=None)
def test_records_a_newer_export_leaves_out_as_one_would_look_for_them(
    held: tuple[list[tuple[int, int, str | None]], ...],
) -> None:
    rows = [_row(f"{start}-{hours}-{device}", "abc"[place], place + 1, "x", hours, start, device=device)
            for place, records in enumerate(held) for start, hours, device in set(records)]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=arrow_schema("sleep_session"))
    expected = []
    for row in rows:
        same = [other for other in rows if other["device"] == row["device"]]
        last = max(other["exported_at"] for other in same if other["session_id"] == row["session_id"])
        newer = {other["source_file_id"] for other in same if other["exported_at"] > last}
        expected.append(any(_leaves_out([o for o in same if o["source_file_id"] == export], row) for export in newer))
    assert left_out(table, table).tolist() == expected


def _leaves_out(export: list[dict[str, Any]], row: dict[str, Any]) -> bool:
    covers = min(o["start_utc"] for o in export) <= row["start_utc"] and max(
        o["end_utc"] for o in export) >= row["end_utc"]  # fmt: skip
    return covers and not any(o["start_utc"] < row["end_utc"] and row["start_utc"] < o["end_utc"] for o in export)


ROWS = st.lists(
    st.builds(
        _row,
        st.sampled_from("stuv"),
        st.sampled_from("abcd"),
        st.just(1),
        st.sampled_from("xyz"),
        st.integers(1, 10),
        st.integers(0, 30),
    ),
    max_size=12,
    unique_by=lambda row: (row["session_id"], row["source_file_id"]),
)
DAYS = {"a": 1, "b": 2, "c": 2, "d": 3}


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
@pytest.mark.fault(56)
def test_at_most_one_version_counts_and_order_does_not(rows: list[dict[str, Any]], shuffle: Any) -> None:
    for row in rows:
        row["exported_at"] = datetime(2026, 4, DAYS[row["source_file_id"]], tzinfo=UTC)
        # What the hash stands for: equal hashes are equal records.
        row["content_hash"] += f"{row['start_utc']}{row['end_utc']}"
    found = _versions(*rows)
    current = [session for session, _, is_current, _ in found if is_current]
    assert len(current) == len(set(current))
    assert {session for session, _, _, _ in found} == {row["session_id"] for row in rows}
    assert all(is_current == (reason is None) for _, _, is_current, reason in found)
    alive = [next(row for row in rows if (row["session_id"], row["source_file_id"]) == (s, e))
             for s, e, is_current, _ in found if is_current]  # fmt: skip
    for i, one in enumerate(alive):
        for two in alive[:i]:
            assert one["end_utc"] <= two["start_utc"] or two["end_utc"] <= one["start_utc"]
    shuffle.shuffle(rows)
    assert _versions(*rows) == found
