"""Sessions into nights: decided rules 1 to 4 on small hand-made records, and metrics against a slow reference."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest._core.contract import arrow_schema
from ingest._core.settings import Settings
from ingest.mart.participant import build
from mart.sleep_rows import ALICE, Sleep, built, flags, lake_of, nights, roles


@pytest.mark.parametrize(("gap", "together"), [(60, True), (61, False)])
def test_records_up_to_an_hour_apart_are_one_night(gap: int, together: bool) -> None:
    """23:00 to 02:00, then four hours more: the gap is neither sleep nor wake."""
    second = datetime(2026, 3, 2, 2) + timedelta(minutes=gap)
    out = built(Sleep("a", "2026-03-01T23:00", [("light", 180)]), Sleep("b", second.isoformat(), [("deep", 240)]))
    night = nights(out)["2026-03-01"]
    if together:
        assert roles(out) == {"a": ("main", "2026-03-01"), "b": ("merged", "2026-03-01")}
        assert (night["tst_min"], night["gap_min"], night["waso_min"], night["spt_min"]) == (420, 60, 0, 480)
        assert night["tib_min"] == 480
        assert "merged" in flags(night)
    else:
        assert roles(out) == {"b": ("main", "2026-03-01"), "a": ("extra_main", "2026-03-01")}
        assert (night["tst_min"], night["gap_min"]) == (240, 0)


@pytest.mark.fault(58)
def test_naps_by_rule_before_and_after() -> None:
    """A nap is under 3 h and wholly between 9 and 21; the one at 14:00 is of the night that follows."""
    out = built(
        Sleep("night", "2026-03-01T23:00"),
        Sleep("after", "2026-03-02T09:00", [("light", 60)]),
        Sleep("before", "2026-03-02T14:00", [("light", 90)]),
        Sleep("next", "2026-03-02T23:00"),
    )
    assert roles(out) == {"night": ("main", "2026-03-01"), "after": ("nap", "2026-03-01"),
                          "before": ("nap", "2026-03-02"), "next": ("main", "2026-03-02")}  # fmt: skip
    first, second = nights(out).values()
    assert (first["nap_count"], first["nap_min"], first["nap_after_min"], first["nap_before_min"]) == (1, 60, 60, 0)
    assert (second["nap_count"], second["nap_min"], second["nap_after_min"]) == (1, 90, 0)
    assert second["nap_before_min"] == 150
    assert (first["tst_24h_min"], second["tst_24h_min"]) == (540, 570)


@pytest.mark.parametrize(
    ("start", "minutes", "role"),
    [
        ("2026-03-02T13:00", 179, "nap"),
        ("2026-03-02T13:00", 180, "main"),
        ("2026-03-02T08:59", 60, "main"),
        ("2026-03-02T09:00", 60, "nap"),
        ("2026-03-02T19:00", 120, "nap"),
        ("2026-03-02T19:01", 120, "main"),
        ("2026-03-02T03:00", 120, "main"),
    ],
)
def test_edges_of_the_rule_for_naps(start: str, minutes: int, role: str) -> None:
    assert roles(built(Sleep("a", start, [("light", minutes)])))["a"][0] == role


def test_a_date_with_naps_only_has_no_night() -> None:
    out = built(Sleep("a", "2026-03-02T14:00", [("light", 60)]), Sleep("b", "2026-03-03T23:00"))
    assert set(nights(out)) == {"2026-03-03"}
    reasons = {row["date"].isoformat(): row["reason"] for row in out["coverage"].to_pylist()}
    assert reasons["2026-03-02"] == "only_nap"


def test_of_two_mains_the_longer_counts() -> None:
    """Both are the vendor's mains of one night date."""
    out = built(Sleep("short", "2026-03-01T21:00", [("light", 200)], main=True),
                Sleep("long", "2026-03-02T03:00", [("light", 300)], main=True))  # fmt: skip
    assert roles(out) == {"long": ("main", "2026-03-01"), "short": ("extra_main", "2026-03-01")}
    assert "extra_main" in flags(nights(out)["2026-03-01"])


def test_the_vendors_main_wins_over_a_longer_one() -> None:
    out = built(Sleep("main", "2026-03-01T21:00", [("light", 200)], main=True),
                Sleep("other", "2026-03-02T03:00", [("light", 300)], main=False))  # fmt: skip
    assert roles(out) == {"main": ("main", "2026-03-01"), "other": ("nap", "2026-03-01")}


def test_what_the_vendor_calls_a_nap_is_one() -> None:
    out = built(Sleep("a", "2026-03-01T23:00", nap=True))
    assert roles(out)["a"][0] == "nap"
    assert nights(out) == {}


def test_a_night_without_any_sleep_is_rejected() -> None:
    out = built(Sleep("a", "2026-03-01T23:00", [("awake", 300)]))
    assert roles(out)["a"][0] == "rejected"
    assert nights(out) == {}


TWO = (
    Sleep("f1", "2026-03-01T23:00", source="fitbit", device="watch"),
    Sleep("o1", "2026-03-01T22:30", [("light", 540)], source="oura", device="ring"),
    Sleep("o2", "2026-03-02T22:30", [("light", 540)], source="oura", device="ring"),
)


@pytest.mark.fault(57)
def test_another_source_fills_a_night_the_first_lacks() -> None:
    out = built(*TWO, source_priority=["fitbit", "oura"])
    assert roles(out) == {"f1": ("main", "2026-03-01"), "o1": ("other_device", "2026-03-01"),
                          "o2": ("main", "2026-03-02")}  # fmt: skip
    one, two = nights(out).values()
    assert (one["source"], two["source"]) == ("fitbit", "oura")
    assert "source_switch" not in flags(one)
    assert "source_switch" in flags(two)
    assert (one["n_sources"], two["n_sources"]) == (2, 1)
    assert one["tst_min"] == 480


def test_without_priority_the_source_with_most_staged_nights_comes_first() -> None:
    assert {night["source"] for night in nights(built(*TWO)).values()} == {"oura"}


def test_a_shift_workers_day_moves_with_the_anchor() -> None:
    """With the anchor at 20 h the night date runs from 20:00, and naps lie between 17:00 and 5:00."""
    worker = replace(ALICE, day_anchor_hour=20)
    day = Sleep("day", "2026-03-02T13:00")
    assert roles(built(day, person=worker)) == {"day": ("main", "2026-03-01")}
    assert roles(built(day)) == {"day": ("main", "2026-03-02")}
    morning, night = Sleep("m", "2026-03-02T10:00", [("light", 120)]), Sleep("n", "2026-03-02T01:00", [("light", 120)])
    assert roles(built(morning, person=worker))["m"][0] == "main"
    assert roles(built(night, person=worker))["n"][0] == "nap"


def test_nothing_on_or_after_the_withdrawal() -> None:
    gone = replace(ALICE, withdrew_on=date(2026, 3, 2))
    out = built(*(Sleep(f"s{day}", f"2026-03-0{day}T23:00") for day in (1, 2, 3)), person=gone)
    assert set(nights(out)) == {"2026-03-01"}
    assert {name: role for name, (role, _) in roles(out).items()} == {"s1": "main"}


@pytest.mark.parametrize(("history", "expected"), [("keep", {"2026-03-01", "2026-03-02"}), ("drop", {"2026-03-02"})])
def test_nights_before_enrolment(history: str, expected: set[str]) -> None:
    late = replace(ALICE, enrolled_on=date(2026, 3, 2))
    out = built(*(Sleep(f"s{day}", f"2026-03-0{day}T23:00") for day in (1, 2)), person=late, history=history)
    assert set(nights(out)) == expected


STAGE = st.sampled_from(["awake", "light", "deep", "rem", "asleep", "unknown", "in_bed", "out_of_bed", "hole"])
STAGED = st.lists(st.tuples(STAGE, st.integers(1, 40)), min_size=1, max_size=25)
SLEEPING, WAKING = {"light", "deep", "rem", "asleep"}, {"awake", "out_of_bed"}


@given(STAGED)
@settings(max_examples=60, deadline=None)
def test_metrics_minute_by_minute(stretches: list[tuple[str, int]]) -> None:
    minutes = [stage for stage, length in stretches for _ in range(length)]
    asleep = [i for i, stage in enumerate(minutes) if stage in SLEEPING]
    out = built(Sleep("a", "2026-03-01T23:00", stretches, nap=False, main=True))
    if not asleep:
        assert nights(out) == {}
        return
    (night,) = out["night"].to_pylist()
    inside = minutes[asleep[0] : asleep[-1] + 1]
    runs = "".join("w" if stage in WAKING else "." for stage in inside).split(".")
    lengths = [len(run) for run in runs if run]
    assert night["spt_min"] == len(inside)
    assert night["tst_min"] == len(asleep)
    assert night["waso_min"] == sum(lengths)
    assert night["waso_long_min"] == sum(length for length in lengths if length >= 5)
    assert (night["nawk"], night["nawk_long"]) == (len(lengths), sum(length >= 5 for length in lengths))
    assert night["unknown_min"] == sum(stage not in SLEEPING | WAKING for stage in inside)
    assert night["spt_min"] == night["tst_min"] + night["waso_min"] + night["unknown_min"] + night["gap_min"]
    by_stage = {name: night[f"{name}_min"] for name in sorted(SLEEPING)}
    assert by_stage == {name: minutes.count(name) for name in sorted(SLEEPING)}
    assert sum(by_stage.values()) == night["tst_min"]
    if "in_bed" in minutes[: asleep[0]]:
        in_bed = [i for i, stage in enumerate(minutes) if stage == "in_bed"]
        last = max(asleep[-1], in_bed[-1])
        assert (night["tib_basis"], night["record_first_wake_min"]) == ("in_bed", None)
        assert (night["tib_min"], night["sol_min"]) == (last + 1 - in_bed[0], asleep[0] - in_bed[0])
        assert night["tib_min"] == night["sol_min"] + night["spt_min"] + night["snooze_min"]
    else:
        assert (night["tib_basis"], night["sol_min"], night["snooze_min"]) == ("record", None, None)
        assert night["record_first_wake_min"] == sum(stage in WAKING for stage in minutes[: asleep[0]])
    first_rem = minutes.index("rem") - asleep[0] if "rem" in minutes else None
    assert night["rem_latency_min"] == first_rem
    assert night["onset_utc"] - datetime(2026, 3, 1, 22, tzinfo=UTC) == timedelta(minutes=asleep[0])


MANY = (
    *TWO,
    Sleep("nap", "2026-03-02T14:00", [("light", 60)]),
    Sleep("f3", "2026-03-03T23:00", [("awake", 10), ("rem", 200), ("awake", 20), ("deep", 100)]),
    Sleep("f3", "2026-03-03T23:00", [("rem", 330)], export="e2", exported=datetime(2026, 4, 2, tzinfo=UTC)),
    Sleep("f4", "2026-03-04T01:00", [("light", 100)], export="e2", exported=datetime(2026, 4, 2, tzinfo=UTC)),
    Sleep("f5", "2026-03-04T23:00", None, minutes=400, tst=380.0),
    Sleep("f6", "2026-03-05T06:00", [("light", 45)]),
)


@given(st.permutations(range(len(MANY))), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
@pytest.mark.fault(57)
def test_the_order_of_the_rows_does_not_matter(order: list[int], shuffle: Any) -> None:
    expected = built(*MANY)
    lake = lake_of([MANY[i] for i in order])
    rows = list(range(len(lake["sleep_stage"])))
    shuffle.shuffle(rows)
    lake["sleep_stage"] = lake["sleep_stage"].take(rows)
    found = build(lake, arrow_schema("source_file").empty_table(), {"p1": ALICE}, Settings(study="t"),
                  {"p1": date(2026, 3, 10)})  # fmt: skip
    assert {name: table.to_pylist() for name, table in found.items()} == {
        name: table.to_pylist() for name, table in expected.items()
    }


def test_every_session_has_one_role() -> None:
    out = built(*MANY)
    assert sorted(out["night_source"]["session_id"].to_pylist()) == sorted({sleep.id for sleep in MANY})
    mains = [row["night_date"] for row in out["night_source"].to_pylist() if row["role"] == "main"]
    assert len(mains) == len(set(mains)) == len(out["night"])
