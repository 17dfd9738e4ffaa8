"""Nights under every order, overlap, device and zone: nothing lost, nothing twice, nothing longer than the clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest._core.contract import arrow_schema
from ingest._core.settings import Settings
from ingest.mart.night import nights
from ingest.mart.participant import build
from ingest.mart.person import PersonSettings
from mart.metrics_reference import Session, metrics
from mart.sleep_rows import lake_of
from tries import tries

Row = dict[str, Any]
# Clocks change on 31 March and 27 October 2024 in Oslo, on 6 April and 5 October in Lord Howe (half an hour).
ZONES = ("Europe/Oslo", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia", "UTC")
BEGINNINGS = (datetime(2024, 3, 29, tzinfo=UTC), datetime(2024, 10, 25, tzinfo=UTC), datetime(2024, 4, 5, tzinfo=UTC))
STREAMS = (("fitbit", "watch"), ("apple_health", "watch"), ("apple_health", "phone"), ("apple_health", "app"),
           ("oura", "ring"), ("withings", None))  # fmt: skip
STAGES = ("awake", "light", "deep", "rem", "asleep", "in_bed", "unknown", "hole")
STRETCHES = st.lists(st.tuples(st.sampled_from(STAGES), st.integers(1, 150)), min_size=1, max_size=6)


@st.composite
def sleeps(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Rows of sleep_session and sleep_stage: up to 14 records of four days in some streams and exports."""
    begin = draw(st.sampled_from(BEGINNINGS))
    streams = draw(st.lists(st.sampled_from(STREAMS), min_size=1, max_size=4, unique=True))
    sessions, stages = [], []
    for number in range(draw(st.integers(1, 14))):
        source, device = draw(st.sampled_from(streams))
        start = begin + timedelta(minutes=15 * draw(st.integers(0, 4 * 24 * 4)), seconds=draw(st.sampled_from((0, 7))))
        stretches = draw(STRETCHES)
        detail = draw(st.sampled_from(("stages", "stages", "asleep_awake", "summary", "period")))
        length = timedelta(minutes=sum(minutes for _, minutes in stretches))
        export = draw(st.integers(1, 3))
        id_ = f"s{number}" if draw(st.booleans()) else f"s{number % 4}{source}{device}"
        key = {"session_id": id_, "participant_id": "p1", "source_file_id": f"e{export}"}
        if any(row["session_id"] == id_ and row["source_file_id"] == f"e{export}" for row in sessions):
            continue
        told = detail == "summary" and draw(st.booleans())
        row = key | {
            "source": source, "device": device, "start_utc": start, "end_utc": start + length, "detail": detail,
            "utc_offset_min": draw(st.sampled_from((-600, 0, 60, 630))),
            "time_basis": draw(st.sampled_from(("roster", "export"))),
            "is_main_reported": draw(st.sampled_from((None, None, True, False))),
            "is_nap_reported": draw(st.sampled_from((None, None, None, True, False))),
            "vendor_tst_min": draw(st.integers(0, 600)) if told else None,
            "flags": draw(st.sampled_from((None, None, None, None, "vendor_rejected", "manual_entry,placeholder"))),
            "exported_at": datetime(2024, 12, export, tzinfo=UTC),
        }  # fmt: skip
        if row["is_main_reported"] and row["is_nap_reported"]:
            row["is_nap_reported"] = False
        kinds = {"stages": set(STAGES), "asleep_awake": {"awake", "asleep", "hole"}, "period": {"in_bed"}}
        known = kinds.get(detail, set())
        row["content_hash"] = repr((row, stretches))
        sessions.append(row)
        at = start
        for stage, minutes in stretches:
            if stage != "hole" and stage in known:
                stages.append(key | {"start_utc": at, "end_utc": at + timedelta(minutes=minutes), "stage": stage})
            at += timedelta(minutes=minutes)
    return sessions, stages


def _built(sessions: Sequence[Row], stages: Sequence[Row], zone: str, **person: Any) -> dict[str, pa.Table]:
    lake = lake_of([])
    lake["sleep_session"] = pa.Table.from_pylist(list(sessions), schema=arrow_schema("sleep_session"))
    lake["sleep_stage"] = pa.Table.from_pylist(list(stages), schema=arrow_schema("sleep_stage"))
    return build(lake, arrow_schema("source_file").empty_table(), {"p1": PersonSettings("p1", zone, **person)},
                 Settings(study="t"), {"p1": date(2024, 11, 5)})  # fmt: skip


def _minutes(delta: timedelta) -> float:
    return delta / timedelta(minutes=1)


@given(sleeps(), st.sampled_from(ZONES), st.sampled_from((12, 12, 20, 4)))
@settings(max_examples=tries(50), deadline=None)
@pytest.mark.fault(58)
def test_every_session_once_and_no_sleep_beyond_the_clock(
    drawn: tuple[list[Row], list[Row]], zone: str, anchor: int
) -> None:
    sessions, stages = drawn
    out = _built(sessions, stages, zone, day_anchor_hour=anchor)
    told, found = out["night_source"].to_pylist(), out["night"].to_pylist()
    assert sorted(row["session_id"] for row in told) == sorted({row["session_id"] for row in sessions})
    assert all(row["reason"] for row in told)
    mains = [row["night_date"] for row in told if row["role"] == "main"]
    assert sorted(mains) == [night["night_date"] for night in found]
    assert len(set(mains)) == len(mains)
    assert all(count == 1 for count in Counter(mains).values())
    for night in found:
        _check_parts(night)
    beds = sorted((night["bed_start_utc"], night["bed_end_utc"]) for night in found)
    assert all(one[1] <= two[0] for one, two in pairwise(beds))
    counted = {row["session_id"]: row["role"] for row in told if row["role"] in {"main", "merged", "nap", "extra_main"}}
    current = {row["session_id"]: row["source_file_id"] for row in out["session_version"].to_pylist()
               if row["is_current"]}  # fmt: skip
    spans = sorted(
        (row["start_utc"], row["end_utc"], row["flags"])
        for row in sessions
        if row["session_id"] in counted and current.get(row["session_id"]) == row["source_file_id"]
    )
    assert len(spans) == len(counted)
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    assert not any(flags and ("rejected" in flags or "placeholder" in flags) for _, _, flags in spans)


def _check_parts(night: Row) -> None:
    """The invariants of decided rules 3 and 4, to a second."""
    second = 1 / 60
    assert night["tib_min"] == pytest.approx(_minutes(night["bed_end_utc"] - night["bed_start_utc"]), abs=second)
    assert night["bed_start_utc"] <= night["onset_utc"] < night["final_wake_utc"] <= night["bed_end_utc"]
    assert night["n_sources"] >= 1
    if night["tst_min"] is not None:
        assert 0 < night["tst_min"] <= night["tib_min"]
        assert 0 < night["se_tib_pct"] <= 100
    if night["spt_min"] is None:
        assert [night[name] for name in ("waso_min", "sol_min", "light_min", "asleep_min", "nawk")] == [None] * 5
        return
    parts = sum(night[name] for name in ("tst_min", "waso_min", "unknown_min", "gap_min"))
    assert night["spt_min"] == pytest.approx(parts, abs=second)
    assert night["unknown_min"] >= 0
    stages = [night[f"{name}_min"] for name in ("light", "deep", "rem", "asleep")]
    assert sum(minutes or 0 for minutes in stages) == pytest.approx(night["tst_min"], abs=second)
    assert night["waso_long_min"] <= night["waso_min"]
    if night["sol_min"] is None:
        assert (night["tib_basis"], night["snooze_min"]) == ("record", None)
    else:
        whole = night["sol_min"] + night["spt_min"] + night["snooze_min"]
        assert night["tib_min"] == pytest.approx(whole, abs=second)


@given(sleeps(), st.sampled_from(ZONES), st.randoms(use_true_random=False))
@settings(max_examples=tries(25), deadline=None)
def test_any_order_of_rows_gives_the_same_tables(drawn: tuple[list[Row], list[Row]], zone: str, shuffle: Any) -> None:
    sessions, stages = drawn
    expected = _built(sessions, stages, zone)
    shuffle.shuffle(sessions)
    shuffle.shuffle(stages)
    assert _built(sessions, stages, zone) == expected


@given(st.lists(sleeps(), min_size=2, max_size=3))
@settings(max_examples=tries(15), deadline=None)
def test_participants_do_not_touch_each_other(drawn: list[tuple[list[Row], list[Row]]]) -> None:
    """What comes out for one is what comes out for that one alone."""
    people, sessions, stages, alone = {}, [], [], []
    for number, (own_sessions, own_stages) in enumerate(drawn):
        name = f"p{number}"
        mine = [[{**row, "participant_id": name, "session_id": f"{name}{row['session_id']}"} for row in rows
                 if row["source_file_id"] == "e1"] for rows in (own_sessions, own_stages)]  # fmt: skip
        people[name] = PersonSettings(name, ZONES[number])
        alone.append(_nights(mine[0], mine[1], {name: people[name]}))
        sessions += mine[0]
        stages += mine[1]
    together = _nights(sessions, stages, people)
    for place in (0, 1):
        key = ("night_date", "session_id")[place]
        expected = sorted((row for each in alone for row in each[place]), key=lambda r: (r["participant_id"], r[key]))
        assert together[place] == expected


def _nights(sessions: list[Row], stages: list[Row], people: dict[str, PersonSettings]) -> tuple[list[Row], list[Row]]:
    night, source = nights(
        pa.Table.from_pylist(sessions, schema=arrow_schema("sleep_session")),
        pa.Table.from_pylist(stages, schema=arrow_schema("sleep_stage")),
        people,
        Settings(study="t"),
    )
    return night.to_pylist(), source.to_pylist()


SECONDS = st.lists(
    st.tuples(
        st.sampled_from(("awake", "light", "deep", "rem", "asleep", "unknown", "in_bed", "out_of_bed", "hole")),
        st.one_of(st.integers(1, 90), st.integers(200, 2000)),
    ),
    min_size=1,
    max_size=14,
)


@given(st.lists(st.tuples(SECONDS, st.integers(0, 3600)), min_size=1, max_size=3))
@settings(max_examples=tries(40), deadline=None)
def test_metrics_agree_with_the_definitions_second_by_second(drawn: list[tuple[list[tuple[str, int]], int]]) -> None:
    """One record of up to three sessions, at most an hour apart."""
    record: list[Session] = []
    at = 0
    for stretches, gap in drawn:
        if any(stage in {"light", "deep", "rem", "asleep"} for stage, _ in stretches):
            start = at + gap if record else 0
            record.append((start, stretches))
            at = start + sum(seconds for _, seconds in stretches)
    if not record:
        return
    evening = datetime(2024, 10, 26, 21, tzinfo=UTC)
    sessions, stages = [], []
    for number, (start, stretches) in enumerate(record):
        key = {"session_id": f"s{number}", "participant_id": "p1", "source_file_id": "e"}
        begin = instant = evening + timedelta(seconds=start)
        for stage, seconds in stretches:
            end = instant + timedelta(seconds=seconds)
            if stage != "hole":
                stages.append(key | {"start_utc": instant, "end_utc": end, "stage": stage})
            instant = end
        sessions.append(key | {"source": "t", "device": "watch", "start_utc": begin, "end_utc": instant,
                               "detail": "stages", "time_basis": "roster", "exported_at": evening,
                               "content_hash": "h", "is_main_reported": True})  # fmt: skip
    found, _ = _nights(sessions, stages, {"p1": PersonSettings("p1", "Europe/Oslo")})
    (night,) = found
    expected = metrics(record)
    assert night["onset_utc"] == evening + timedelta(seconds=expected.pop("onset_s"))
    assert night["final_wake_utc"] == evening + timedelta(seconds=expected.pop("final_wake_s"))
    for name, value in expected.items():
        assert night[name] == (pytest.approx(value, abs=1e-9) if isinstance(value, float) else value), name
