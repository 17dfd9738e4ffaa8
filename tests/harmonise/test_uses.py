"""Decoded uses into the lake's rows: owners, instants, days, plausibility, ids."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decode.log.log_cases import ARRIVED, FACTS, PEOPLE, decode, harmonise, lines_of, settings_with, uses_of
from ingest._core.contract import arrow_schema
from ingest.decode.model import Tally, decoded_use_schema
from ingest.harmonise.person import Person
from ingest.harmonise.uses import USE_CHECKS, harmonise_uses

LONG = "substance,taken_at,amount,unit\n"
WIDE: dict[str, Any] = {
    "name": "wide",
    "layout": "wide",
    "date": {"column": "day"},
    "date_means": "use_day",
    "items": [
        {"substance": "kratom", "amount": "g1", "unit": "g", "at": "t1"},
        {"substance": "kratom", "amount": "g2", "unit": "blops"},
    ],
}


def test_rows_have_the_lakes_columns() -> None:
    table = harmonise(decode(LONG + "kratom,2026-03-01T21:30,3,g\n"))
    wanted = arrow_schema("substance_use")
    assert [(each.name, each.nullable) for each in table.schema] == [(each.name, each.nullable) for each in wanted]
    assert table.cast(wanted).to_pylist() == table.to_pylist()
    (row,) = table.to_pylist()
    assert (row["participant_id"], row["source_file_id"], row["exported_at"]) == (
        PEOPLE["P01"].participant_id, FACTS.source_file_id, FACTS.exported_at,
    )  # fmt: skip


def test_an_empty_log_gives_nobody_anything() -> None:
    tally = Tally()
    assert harmonise_uses(decoded_use_schema().empty_table(), tally, FACTS, PEOPLE, "P01") == {}
    assert harmonise_uses(decoded_use_schema().empty_table(), tally, FACTS, PEOPLE, None) == {}
    assert tally == Tally()


CLOCKS = st.datetimes(datetime(2001, 1, 1), datetime(2026, 4, 1)).map(lambda clock: clock.replace(microsecond=0))
NEAR_CHANGES = st.builds(
    lambda change, minutes: change + timedelta(minutes=minutes),
    st.sampled_from(
        [
            datetime(2025, 3, 30, 2),
            datetime(2025, 10, 26, 3),
            datetime(2026, 3, 8, 2),
            datetime(2025, 11, 2, 2),
        ]
    ),
    st.integers(-150, 150),
)


@given(st.lists(st.tuples(CLOCKS | NEAR_CHANGES, st.sampled_from(["P01", "P02"])), min_size=1, max_size=12))
@settings(max_examples=120, deadline=None)
def test_local_clocks_are_read_in_their_persons_zone(rows: list[tuple[datetime, str]]) -> None:
    text = "".join(f"{ref},{k},kratom,{clock.isoformat()}\n" for k, (clock, ref) in enumerate(rows))
    uses = harmonise(decode("participant_ref,event_id,substance,taken_at\n" + text), None).to_pylist()
    assert len(uses) == len(rows)
    for use in uses:
        clock, ref = rows[use["source_row"] - 1]
        zone = ZoneInfo(PEOPLE[ref].zone_name)
        first, second = (clock.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        assert use["participant_id"] == PEOPLE[ref].participant_id
        assert use["taken_utc"] == first.astimezone(UTC)
        assert (use["taken_local"], use["local_date"]) == (clock, clock.date())
        flags = set(use["flags"].split(","))
        comes_back = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == clock
        assert ("nonexistent_local_time" in flags) == (not comes_back)
        assert ("ambiguous_local_time" in flags) == (comes_back and first.utcoffset() != second.utcoffset())


def test_an_offset_in_the_file_goes_before_the_roster() -> None:
    (use,) = uses_of(LONG + "kratom,2025-10-26T02:30+01:00,3,g\n")
    assert use["taken_utc"] == datetime(2025, 10, 26, 1, 30, tzinfo=UTC)
    assert use["flags"] == "no_mme_factor"


@pytest.mark.fault(50)
def test_a_zone_that_is_only_assumed_is_flagged_where_it_was_used() -> None:
    people = {"P01": replace(PEOPLE["P01"], time_basis="assumed")}
    times = ("2026-03-01T21:30", "2026-03-01T21:30+01:00", "2026-03-01T21:30Z", "2026-03-02")
    text = LONG + "".join(f"alcohol,{time},,\n" for time in times)
    decoded = decode(text)
    assert decoded.uses is not None
    (table,) = harmonise_uses(decoded.uses, decoded.tally, FACTS, people, "P01").values()
    flags = dict(zip(table["source_row"].to_pylist(), table["flags"].to_pylist(), strict=True))
    assert flags == {1: "assumed_zone", 2: None, 3: "assumed_zone", 4: None}


@pytest.mark.parametrize(
    ("taken", "reported", "lag", "flag"),
    [
        ("2026-03-01T21:30", "2026-03-02T09:30", 0.5, None),
        ("2026-03-01", "2026-03-01T23:59", 0.0, None),
        ("2026-03-01", "2026-03-04T00:10", 3.0, None),
        ("2026-03-01T21:30", "2026-03-01T21:00", None, "reported_before_use"),
        ("2026-03-01", "2026-02-28T21:00", None, "reported_before_use"),
        ("2026-03-01T21:30", "", None, None),
    ],
)
def test_days_from_use_to_report(taken: str, reported: str, lag: float | None, flag: str | None) -> None:
    (use,) = uses_of(f"substance,taken_at,reported_at\nalcohol,{taken},{reported}\n")
    assert (use["recall_lag_days"], use["flags"]) == (lag, flag)


def at(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        (at(ARRIVED + timedelta(days=1)), None),
        (at(ARRIVED + timedelta(days=1, microseconds=1)), "in_the_future"),
        ("2026-05-02", None),
        ("2026-05-03", "in_the_future"),
        ("9999-12-31", "in_the_future"),
        ("2000-01-01T00:00Z", None),
        ("1999-12-31T23:59:59Z", "before_2000"),
        ("0001-01-01", "before_2000"),
        ("1970-01-01T00:00", "before_2000"),
    ],
)
@pytest.mark.fault(51, 52)
def test_times_that_cannot_be_are_refused(taken: str, reason: str | None) -> None:
    decoded = decode(LONG + f"kratom,{taken},3,g\n")
    assert len(harmonise(decoded)) == (reason is None)
    assert lines_of(decoded, "substance_use") == ([] if reason is None else [["row 1, taken_at", reason]])


def test_an_extreme_amount_is_kept_and_flagged() -> None:
    uses = uses_of(
        LONG + "kratom,2026-03-01T21:30,49.9,g\nkratom,2026-03-02T21:30,50,g\noxycodone,2026-03-03T21:30,9999,mg\n"
    )
    assert [use["flags"] for use in uses] == ["no_mme_factor", "extreme_amount,no_mme_factor", None]
    assert [use["amount"] for use in uses] == [49.9, 50.0, 9999.0]


def test_every_check_has_a_name_of_its_own_and_says_what_was_expected() -> None:
    assert len({check.name for check in USE_CHECKS}) == len(USE_CHECKS)
    assert all(check.expected.startswith("expected") for check in USE_CHECKS if check.action == "refuse")


def test_a_record_is_lost_once_and_only_if_all_its_uses_are() -> None:
    text = "day,g1,t1,g2\n2026-03-01,3,08:00,2\n2030-03-01,3,08:00,2\n2026-05-02,3,23:00,2\n"
    decoded = decode(text, settings_with(WIDE))
    uses = harmonise(decoded).to_pylist()
    assert [(use["source_row"], use["amount"]) for use in uses] == [(1, None), (1, 3.0), (3, None)]
    assert lines_of(decoded, "substance_use") == [["row 2, day", "in_the_future"]]
    assert lines_of(decoded, "value") == [
        ["row 1, use 2", "unknown_unit"],
        ["row 3, use 1, day", "in_the_future"],
        ["row 3, use 2", "unknown_unit"],
    ]
    assert (decoded.tally.read, decoded.tally.kept, decoded.tally.quarantined) == (3, 2, 1)


def test_in_a_participants_folder_only_their_rows_are_taken() -> None:
    decoded = decode(
        "participant_ref,substance,taken_at\nP01,kratom,2026-03-01\nP02,kratom,2026-03-01\n,kratom,2026-03-02\n"
    )
    assert harmonise(decoded, "P01")["source_row"].to_pylist() == [1, 3]
    assert lines_of(decoded, "substance_use") == [["row 2", "belongs_to_another_participant"]]


def test_a_study_wide_log_names_its_participants() -> None:
    decoded = decode(
        "participant_ref,substance,taken_at\nP02,kratom,2026-03-01\nP09,kratom,2026-03-01\n,kratom,2026-03-02\n"
    )
    assert decoded.uses is not None
    shares = harmonise_uses(decoded.uses, decoded.tally, FACTS, PEOPLE, None)
    assert {name: len(table) for name, table in shares.items()} == {PEOPLE["P02"].participant_id: 1}
    assert lines_of(decoded, "substance_use") == [
        ["row 2", "unknown_participant"],
        ["row 3", "unknown_participant"],
    ]
    assert not any("P09" in line.detail for line in decoded.tally.refusals)


def test_a_study_wide_log_without_that_column_belongs_to_nobody() -> None:
    decoded = decode(LONG + "kratom,2026-03-01,3,g\n")
    assert len(harmonise(decoded, None)) == 0
    assert (decoded.tally.kept, decoded.tally.quarantined) == (0, 1)


REPORT = "kratom,2026-03-0{day}T21:30,{grams},g\n"


def ids(text: str, *mappings: dict[str, Any]) -> list[str]:
    found: list[str] = harmonise(decode(text, settings_with(*mappings)))["use_id"].to_pylist()
    return found


def test_the_same_report_has_the_same_id_and_hash_in_every_export() -> None:
    march = LONG + REPORT.format(day=1, grams=3) + REPORT.format(day=2, grams=3)
    later = LONG + REPORT.format(day=3, grams=1) + REPORT.format(day=2, grams=3) + REPORT.format(day=1, grams=3)
    a, b = (harmonise(decode(text)).to_pylist() for text in (march, later))
    assert [use["use_id"] for use in a] == [use["use_id"] for use in b[:2]]
    assert [use["content_hash"] for use in a] == [use["content_hash"] for use in b[:2]]
    assert [use["source_row"] for use in b] == [3, 2, 1]
    assert b[2]["use_id"] not in {use["use_id"] for use in a}


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("amount", "3", "4"),
        ("unit", "g", "gram"),
        ("reason", "pain", "sleep"),
        ("no_use", "no", "yes"),
        ("route", "oral", "nasal"),
        ("product_form", "powder", "tea"),
        ("mitragynine_pct", "1.3", "1.4"),
        ("mitragynine_mg", "40", ""),
        ("recall_method", "event", "tlfb"),
    ],
)
def test_a_corrected_report_keeps_its_id_and_changes_its_hash(column: str, before: str, after: str) -> None:
    header = f"event_id,substance,taken_at,{column}\n"
    old, new = (uses_of(header + f"7,kratom,2026-03-01T21:30,{value}\n")[0] for value in (before, after))
    assert old["use_id"] == new["use_id"]
    assert old["content_hash"] != new["content_hash"]


def test_with_an_id_of_its_own_a_report_may_move_in_time() -> None:
    header = "event_id,substance,taken_at\n"
    old, new = (uses_of(header + f"7,kratom,2026-03-0{day}T21:30\n")[0] for day in (1, 2))
    assert old["use_id"] == new["use_id"]
    assert old["content_hash"] != new["content_hash"]
    assert ids(header + "8,kratom,2026-03-01T21:30\n") != [old["use_id"]]


def test_two_answers_for_one_day_are_two_uses() -> None:
    daily = {**WIDE, "layout": "daily", "items": [{"substance": "alcohol", "answer": "drank"}]}
    first = ids("day,drank\n2026-03-01,yes\n", daily)
    both = ids("day,drank\n2026-03-01,yes\n2026-03-01,no\n", daily)
    assert both[:1] == first
    assert len(set(both)) == 2


def test_doses_of_one_day_without_a_clock_are_uses_of_their_own() -> None:
    found = ids("day,g1,t1,g2\n2026-03-01,3,,3\n", WIDE)
    assert len(set(found)) == 2
    assert found == ids("day,g1,t1,g2\n2026-02-28,3,,3\n2026-03-01,3,,3\n", WIDE)[2:]


def test_ids_tell_participants_sources_and_instruments_apart() -> None:
    text = "participant_ref,event_id,substance,taken_at\nP01,1,kratom,2026-03-01\nP02,1,kratom,2026-03-01\n"
    assert len(set(harmonise(decode(text), None)["use_id"].to_pylist())) == 2
    own = {"name": "own", "layout": "long", "record_id": "id", "taken_at": {"column": "t"}}
    own |= {"substance_is": "kratom", "date_means": "use_day"}
    canonical = ids("event_id,substance,taken_at\n1,kratom,2026-03-01\n")
    assert canonical != ids("id,t\n1,2026-03-01\n", own)


def test_ids_do_not_depend_on_the_zone_but_instants_do() -> None:
    text = LONG + "kratom,2026-03-01T21:30,3,g\n"
    moved = {"P01": Person(PEOPLE["P01"].participant_id, "P01", "Asia/Tokyo", "roster", PEOPLE["P01"].secret)}
    decoded = decode(text)
    assert decoded.uses is not None
    (there,) = pa.concat_tables(harmonise_uses(decoded.uses, decoded.tally, FACTS, moved, "P01").values()).to_pylist()
    (here,) = uses_of(text)
    assert (there["use_id"], there["taken_local"]) == (here["use_id"], here["taken_local"])
    assert here["taken_utc"] - there["taken_utc"] == timedelta(hours=8)


def test_days_stay_days() -> None:
    (use,) = uses_of(LONG + "kratom,2026-03-29,3,g\n")
    assert (use["local_date"], use["taken_utc"], use["taken_local"]) == (date(2026, 3, 29), None, None)


def test_rows_are_ordered_by_local_time_within_a_participant() -> None:
    text = "".join(f"P0{1 + k % 2},kratom,2026-03-{20 - k:02d}T21:30\n" for k in range(10))
    decoded = decode("participant_ref,substance,taken_at\n" + text)
    assert decoded.uses is not None
    for table in harmonise_uses(decoded.uses, decoded.tally, FACTS, PEOPLE, None).values():
        clocks = table["taken_local"].to_pylist()
        assert clocks == sorted(clocks)
        assert len(clocks) == 5


def test_a_share_holds_no_word_that_only_another_participant_wrote() -> None:
    log = "participant_ref,substance,taken_at,amount,unit,route\n"
    log += "P01,kratom,2026-03-01T08:00,2,g,oral\nP02,Ann's tea,2026-03-01T08:00,2,g,hers_alone\n"
    decoded = decode(log)
    assert decoded.uses is not None
    shares = harmonise_uses(decoded.uses, decoded.tally, FACTS, PEOPLE, None)
    mine = [column.chunk(0) for column in shares[PEOPLE["P01"].participant_id].columns]
    words = {word for column in mine if pa.types.is_dictionary(column.type) for word in column.dictionary.to_pylist()}
    assert {"kratom", "oral"} <= words
    assert not words & {"hers_alone", "ann_s_tea", "unknown"}
