"""Decoded diary nights into the lake's rows: owners, ids, flags."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from decode.log.diary_cases import HEADER, Row, at, harmonised, line, only, read, refused
from decode.log.log_cases import FACTS, PEOPLE
from ingest._core.contract import arrow_schema
from ingest.decode.model import Tally, decoded_diary_schema
from ingest.harmonise.diaries import harmonise_diaries

P01, P02 = PEOPLE["P01"].participant_id, PEOPLE["P02"].participant_id


def one(*lines: str, **other: object) -> Row:
    (row,) = harmonised(read(*lines, **other))
    return row


def test_rows_have_the_lakes_columns() -> None:
    decoded = read(line())
    assert decoded.diaries is not None
    (table,) = harmonise_diaries(decoded.diaries, decoded.tally, FACTS, PEOPLE, "P01").values()
    wanted = arrow_schema("sleep_diary")
    assert [(each.name, each.nullable) for each in table.schema] == [(each.name, each.nullable) for each in wanted]
    assert table.cast(wanted).to_pylist() == table.to_pylist()
    (row,) = table.to_pylist()
    del row["diary_id"], row["content_hash"]
    assert row == {
        "participant_id": P01, "night_date": date(2026, 3, 1),
        "into_bed_local": at("1 23:00"), "try_to_sleep_local": at("1 23:20"), "sol_min": 15.0, "awakenings": 2,
        "waso_min": 30.0, "final_wake_local": at("2 06:50"), "out_of_bed_local": at("2 07:10"),
        "intended_wake_local": at("2 07:00"), "quality": 4.0, "instrument": "diary",
        "exported_at": FACTS.exported_at, "flags": None, "source_file_id": FACTS.source_file_id, "source_row": 1,
    }  # fmt: skip


def test_an_empty_diary_gives_nobody_anything() -> None:
    tally = Tally()
    for folder in ("P01", None):
        assert harmonise_diaries(decoded_diary_schema().empty_table(), tally, FACTS, PEOPLE, folder) == {}
    assert tally == Tally()


def test_rows_go_to_their_participants() -> None:
    rows = [f"P02,{line()}", f"P01,{line('2026-03-03')}", f"P09,{line()}", f",{line()}", f"P01,{line()}"]
    decoded = read(*rows, header=f"who,{HEADER}", participant="who")
    found = harmonised(decoded, None)
    assert [(row["participant_id"], row["night_date"].day, row["source_row"]) for row in found] == [
        (P01, 1, 5), (P01, 2, 2), (P02, 1, 1),
    ]  # fmt: skip
    assert refused(decoded) == [("row 3", "unknown_participant"), ("row 4", "unknown_participant")]
    assert (decoded.tally.read, decoded.tally.kept) == (5, 3)


def test_a_folder_takes_no_rows_of_another() -> None:
    decoded = read(f"P02,{line()}", f",{line()}", header=f"who,{HEADER}", participant="who")
    (row,) = harmonised(decoded, "P01")
    assert (row["participant_id"], row["source_row"]) == (P01, 2)
    assert refused(decoded) == [("row 1", "belongs_to_another_participant")]


@pytest.mark.parametrize(
    ("day", "reason"),
    [("2026-05-04", "in_the_future"), ("2026-05-03", None), ("2000-01-01", "before_2000"), ("2000-01-02", None)],
)
def test_nights_lie_between_2000_and_the_arrival(day: str, reason: str | None) -> None:
    """The diary arrives on 1 May 2026, 00:00 UTC; the night of 2 May begins at 10:00 UTC of that day."""
    facts = replace(FACTS, arrived_at=datetime(2026, 5, 1, 10, tzinfo=UTC))
    decoded = read(line(day))
    assert len(harmonised(decoded, facts=facts)) == (reason is None)
    assert refused(decoded) == ([("row 1, day", reason)] if reason else [])


@pytest.mark.parametrize(
    ("answers", "flags"),
    [
        ({}, None),
        ({"into_bed": "15:09", "try_to_sleep": "22:00"}, "long_time_in_bed"),  # 16 h 1 min to 07:10
        ({"into_bed": "15:10", "try_to_sleep": "22:00"}, None),
        ({"sol_min": "200", "waso_min": "250"}, None),  # 23:20 to 06:50 are 450 min
        ({"sol_min": "200", "waso_min": "251"}, "awake_exceeds_night"),
        ({"sol_min": "", "waso_min": "451"}, "awake_exceeds_night"),
        ({"try_to_sleep": "", "sol_min": "240", "waso_min": "251"}, "awake_exceeds_night"),  # 490 min in bed
        ({"sol_min": "", "waso_min": ""}, None),
        ({"into_bed": "", "try_to_sleep": "", "out_of_bed": ""}, None),  # one clock is no length
    ],
)
def test_extreme_nights_are_kept_and_flagged(answers: dict[str, str], flags: str | None) -> None:
    assert one(line(**answers))["flags"] == flags


def test_lengths_of_a_night_with_a_clock_change_are_those_of_instants() -> None:
    """In Oslo the night of 28 March 2026 is an hour shorter: 23:20 to 06:50 are 390 min."""
    assert one(line("2026-03-29", sol_min="200", waso_min="190"))["flags"] is None
    assert one(line("2026-03-29", sol_min="200", waso_min="191"))["flags"] == "awake_exceeds_night"


def test_clocks_that_never_were_or_stood_twice_are_flagged() -> None:
    assert one(only("2026-03-29", try_to_sleep="02:30"))["flags"] == "nonexistent_local_time"
    assert one(only("2025-10-26", try_to_sleep="02:30"))["flags"] == "ambiguous_local_time"
    assert one(only("2025-10-26", try_to_sleep="03:00"))["flags"] is None


def test_two_answers_for_one_night_are_kept_and_flagged() -> None:
    rows = harmonised(read(line(), line("2026-03-03"), line(sol_min="40")))
    assert [(row["source_row"], row["flags"]) for row in rows] == [(1, "conflict"), (3, "conflict"), (2, None)]
    assert len({row["diary_id"] for row in rows}) == 3


def test_the_same_night_has_the_same_id_in_every_export() -> None:
    first = one(line())
    later = replace(FACTS, source_file_id="e" * 64, exported_at=datetime(2026, 5, 1, tzinfo=UTC))
    same, other = harmonised(read(line(), line("2026-03-03")), facts=later)
    (edited,) = harmonised(read(line(sol_min="40")), facts=later)
    assert (same["diary_id"], same["content_hash"]) == (first["diary_id"], first["content_hash"])
    assert edited["diary_id"] == first["diary_id"]
    assert edited["content_hash"] != first["content_hash"]
    assert other["diary_id"] != first["diary_id"]
    assert one(line(), name="evening")["diary_id"] != first["diary_id"]


def test_a_night_with_an_own_id_may_move_to_another_date() -> None:
    header = f"id,{HEADER}"
    first = one(f"7,{line()}", header=header, record_id="id")
    moved = one(f"7,{line('2026-03-03')}", header=header, record_id="id")
    assert moved["diary_id"] == first["diary_id"]
    assert moved["content_hash"] != first["content_hash"]
    assert one(line())["diary_id"] != first["diary_id"]


def test_a_night_that_is_contradicted_is_another_version_of_itself() -> None:
    alone = one(line())
    beside, _ = harmonised(read(line(), line(sol_min="40")))
    assert beside["diary_id"] == alone["diary_id"]
    assert beside["content_hash"] != alone["content_hash"]


@pytest.mark.parametrize("name", ["into_bed", "try_to_sleep", "sol_min", "awakenings", "waso_min", "final_wake",
                                  "out_of_bed", "intended_wake", "quality"])  # fmt: skip
def test_every_answer_tells_in_the_hash(name: str) -> None:
    assert one(line(**{name: ""}))["content_hash"] != one(line())["content_hash"]
