"""Several devices and health hubs: one stream counts, others fill in, copies are found, nothing adds up."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from ingest.mart.hubs import hub_copies
from ingest.mart.streams import Holds, Stream, ranked
from mart.sleep_rows import ALICE, Sleep, built, flags, nights, roles

NIGHT = [("light", 400)]
WATCH, PHONE, APP = (Stream("apple_health", device) for device in ("watch", "phone", "app"))
RING = Stream("oura", "ring")


@pytest.mark.parametrize(
    ("holds", "priority", "order"),
    [
        ({WATCH: Holds(5, 5, 5), RING: Holds(6, 6, 6)}, [], [RING, WATCH]),
        ({WATCH: Holds(5, 5, 5), RING: Holds(6, 6, 6)}, ["apple_health"], [WATCH, RING]),
        ({WATCH: Holds(5, 5, 5), APP: Holds(6, 6, 6)}, ["apple_health"], [APP, WATCH]),
        ({WATCH: Holds(5, 5, 5), APP: Holds(6, 6, 6)}, ["apple_health/watch"], [WATCH, APP]),
        ({PHONE: Holds(0, 0, 9), APP: Holds(0, 1, 1)}, [], [APP, PHONE]),
        ({PHONE: Holds(0, 0, 9), APP: Holds(0, 0, 8)}, [], [PHONE, APP]),
        ({APP: Holds(1, 1, 1), WATCH: Holds(1, 1, 1), RING: Holds(1, 1, 1)}, [], [RING, WATCH, APP]),
        ({PHONE: Holds(1, 1, 1), WATCH: Holds(1, 1, 1)}, [], [PHONE, WATCH]),
    ],
)
def test_order_of_streams(holds: dict[Stream, Holds], priority: list[str], order: list[Stream]) -> None:
    assert ranked(holds, priority) == order
    assert ranked(dict(reversed(holds.items())), priority) == order


def test_two_devices_under_one_source_are_never_merged_or_added() -> None:
    """Apple's watch and app tell one night each in their own way; half an hour after it the app has another."""
    watch = Sleep("w", "2026-03-01T23:00", NIGHT, source="apple_health", device="watch")
    out = built(
        watch,
        replace(watch, id="w2", start="2026-03-02T23:00"),
        Sleep("a", "2026-03-01T22:50", [("light", 420)], source="apple_health", device="app"),
        Sleep("a2", "2026-03-02T06:10", [("light", 60)], source="apple_health", device="app"),
    )
    assert {name: role for name, (role, _) in roles(out).items()} == {
        "w": "main", "w2": "main", "a": "other_device", "a2": "other_device"}  # fmt: skip
    night = nights(out)["2026-03-01"]
    assert (night["tst_min"], night["gap_min"], night["device"], night["n_sources"]) == (400, 0, "watch", 1)


def test_a_night_filled_from_another_device_of_the_source_is_flagged() -> None:
    watch = Sleep("w", "2026-03-01T23:00", NIGHT, source="apple_health", device="watch")
    out = built(watch, replace(watch, id="a", start="2026-03-02T23:00", device="app"))
    # One night each: the watch stands before the app.
    assert {n["device"]: "source_switch" in flags(n) for n in nights(out).values()} == {"watch": False, "app": True}
    (reason,) = [row["reason"] for row in out["night_source"].to_pylist() if row["session_id"] == "a"]
    assert reason == "the only one of the night date; apple_health watch has none"


def test_a_nap_of_the_primary_stream_keeps_no_night_out() -> None:
    """The watch is worn by day only on the second day; the ring has the night."""
    out = built(
        Sleep("w1", "2026-03-01T23:00", NIGHT),
        Sleep("nap", "2026-03-02T14:00", [("light", 60)]),
        Sleep("r2", "2026-03-02T23:00", NIGHT, source="oura", device="ring"),
        Sleep("rn", "2026-03-02T16:00", [("light", 30)], source="oura", device="ring"),
        source_priority=["fitbit"],
    )
    assert roles(out) == {"w1": ("main", "2026-03-01"), "nap": ("nap", "2026-03-02"), "r2": ("main", "2026-03-02"),
                          "rn": ("nap", "2026-03-02")}  # fmt: skip
    night = nights(out)["2026-03-02"]
    assert (night["source"], night["nap_min"], night["n_sources"]) == ("oura", 90, 2)
    assert "source_switch" in flags(night)


def test_naps_of_another_stream_do_not_add_to_the_primarys_night() -> None:
    out = built(Sleep("w1", "2026-03-01T23:00", NIGHT), Sleep("w2", "2026-03-02T23:00", NIGHT),
                Sleep("r", "2026-03-02T09:30", [("light", 60)], source="oura", device="ring"))  # fmt: skip
    assert roles(out)["r"] == ("other_device", "2026-03-01")
    assert nights(out)["2026-03-01"]["tst_24h_min"] == 400


def test_the_primary_stream_is_that_of_most_nights_not_of_most_pieces() -> None:
    """The app has three pieces of one night, the watch two whole nights."""
    pieces = [Sleep(f"a{hour}", f"2026-03-02T0{hour}:00", [("light", 45)], source="apple_health", device="app")
              for hour in (0, 2, 4)]  # fmt: skip
    whole = [Sleep(f"w{day}", f"2026-03-0{day}T23:00", NIGHT, source="apple_health") for day in (1, 2)]
    assert {n["device"] for n in nights(built(*pieces, *whole)).values()} == {"watch"}


def test_nights_after_withdrawal_do_not_choose_the_stream() -> None:
    ring = [Sleep(f"r{day}", f"2026-03-0{day}T23:00", NIGHT, source="oura", device="ring") for day in (1, 2, 3)]
    out = built(Sleep("w1", "2026-03-01T23:30", NIGHT), *ring, person=replace(ALICE, withdrew_on=date(2026, 3, 2)))
    # One night each: the names decide.
    assert nights(out)["2026-03-01"]["source"] == "fitbit"
    assert set(roles(out)) == {"w1", "r1"}


BEDTIME = "2026-03-02T00:56:56"


@pytest.mark.parametrize("source", ["withings", "apple_health", "health_connect", "google_fit"])
def test_a_bedtime_of_another_vendor_in_a_hubs_record_is_a_copy(source: str) -> None:
    """Oura's bedtime to the second, with another end and other stages, under the hub's name."""
    copy = Sleep("h", BEDTIME, [("light", 520)], source=source, device="unknown")
    own = replace(copy, id="h2", start="2026-03-02T23:10", stages=NIGHT)
    out = built(Sleep("o", BEDTIME, NIGHT, source="oura", device="ring"), copy, own, source_priority=[source])
    assert {name: role for name, (role, _) in roles(out).items()} == {"o": "main", "h": "hub_copy", "h2": "main"}
    night = nights(out)["2026-03-01"]
    assert (night["source"], night["tst_min"], night["n_sources"]) == ("oura", 400, 1)
    (reason,) = [row["reason"] for row in out["night_source"].to_pylist() if row["session_id"] == "h"]
    assert reason == "the same bedtime as that of oura ring"


def test_another_vendors_onset_in_an_all_awake_row_is_a_copy() -> None:
    """A row that begins with WHOOP's onset, awake for over nine hours."""
    out = built(Sleep("w", "2026-03-02T01:41:18", NIGHT, source="whoop", device="strap"),
                Sleep("h", "2026-03-02T01:41:18", [("awake", 562)], source="withings", device="mat"),
                source_priority=["withings"])  # fmt: skip
    assert roles(out) == {"w": ("main", "2026-03-01"), "h": ("hub_copy", "2026-03-01")}
    assert (nights(out)["2026-03-01"]["waso_min"], nights(out)["2026-03-01"]["n_sources"]) == (0, 1)


def test_a_copy_of_a_rejected_sleep_does_not_bring_it_back() -> None:
    rest = Sleep(
        "o", BEDTIME, None, minutes=240, source="oura", device="ring", detail="period", words="vendor_rejected"
    )
    out = built(rest, Sleep("h", BEDTIME, [("light", 240)], source="apple_health", device="app"))
    assert {name: role for name, (role, _) in roles(out).items()} == {"o": "rejected", "h": "hub_copy"}
    assert nights(out) == {}


def test_equal_starts_on_the_minute_are_no_evidence_but_equal_ends_too_are() -> None:
    watch = Sleep("w", "2026-03-01T23:00", NIGHT)
    hub = replace(watch, id="h", source="withings", device="mat")
    assert roles(built(watch, hub))["h"][0] == "hub_copy"
    assert roles(built(watch, replace(hub, stages=[("light", 430)]), source_priority=["fitbit"]))["h"][0] == (
        "other_device"
    )


def test_two_vendors_of_their_own_copy_nothing() -> None:
    out = built(Sleep("w", BEDTIME, NIGHT), Sleep("r", BEDTIME, NIGHT, source="oura", device="ring"))
    assert sorted(role for role, _ in roles(out).values()) == ["main", "other_device"]
    assert nights(out)["2026-03-01"]["n_sources"] == 2


def _copies(*rows: tuple[Stream, float, float, bool]) -> dict[int, int]:
    """Rows of (stream, start, end in seconds, staged), ordered by start."""
    start, end = (np.array([round(row[i] * 1_000_000) for row in rows], dtype=np.int64) for i in (1, 2))
    return hub_copies([row[0] for row in rows], start, end, np.array([row[3] for row in rows]),
                      np.zeros(len(rows), dtype=bool))  # fmt: skip


def test_of_copies_the_vendors_own_then_the_device_then_the_staged_one_stands() -> None:
    connect = Stream("health_connect", "app")
    assert _copies((APP, 601, 9000, True), (RING, 604, 9003, False)) == {0: 1}
    assert _copies((APP, 601, 9000, True), (WATCH, 601, 9000, False)) == {0: 1}
    assert _copies((APP, 601, 9000, False), (connect, 601, 9000, True)) == {0: 1}
    assert _copies((APP, 601, 9000, True), (connect, 601, 9000, True), (RING, 601, 9000, True)) == {0: 2, 1: 2}
    assert _copies((APP, 601, 9000, True), (APP, 601.5, 9000, True)) == {}
    assert _copies((Stream("samsung_health", "watch"), 601, 9000, True), (RING, 601, 9000, True)) == {}
    assert _copies((Stream("samsung_health", "app_2"), 601, 9000, True), (RING, 601, 9000, True)) == {0: 1}


@pytest.mark.parametrize(("start", "end", "same"), [(605, 9004, True), (607, 9004, False), (601, 9999, True),
                                                    (603, 9999, False), (605, 9006, False)])  # fmt: skip
def test_how_close_two_records_must_be(start: float, end: float, same: bool) -> None:
    assert bool(_copies((RING, 601, 9000, True), (APP, start, end, True))) is same


def _in_bed(day: int, start: str = "22:00", minutes: int = 560, **other: object) -> Sleep:
    return Sleep(f"p{day}", f"2026-03-0{day}T{start}", [("in_bed", minutes)], source="apple_health",  # type: ignore[arg-type]
                 device="phone", **other)  # fmt: skip


def test_a_phones_block_around_a_watchs_sleep_is_recognised_and_lends_it_nothing() -> None:
    """The phone's time in bed is no measure of the watch's wearer: the night keeps the basis of its own record."""
    out = built(_in_bed(1), Sleep("w", "2026-03-01T23:00", NIGHT, source="apple_health"))
    assert roles(out) == {"w": ("main", "2026-03-01"), "p1": ("hub_copy", "2026-03-01")}
    night = nights(out)["2026-03-01"]
    assert (night["tib_basis"], night["tib_min"], night["sol_min"], night["n_sources"]) == ("record", 400, None, 1)
    (reason,) = [row["reason"] for row in out["night_source"].to_pylist() if row["session_id"] == "p1"]
    assert reason == "only time in bed around the sleep of apple_health watch"


def test_time_in_bed_gives_way_even_where_its_source_is_the_studys_first() -> None:
    ring = Sleep("r", "2026-03-01T23:00", NIGHT, source="oura", device="ring")
    out = built(_in_bed(1), _in_bed(2), ring, source_priority=["apple_health"])
    one, two = nights(out).values()
    assert (one["source"], one["tst_min"], two["source"], two["basis"]) == ("oura", 400, "apple_health", "period")
    assert ("source_switch" in flags(one), "source_switch" in flags(two)) == (True, False)


def test_a_night_of_time_in_bed_alone_knows_its_time_in_bed_and_nothing_else() -> None:
    (night,) = nights(built(_in_bed(1))).values()
    assert (night["basis"], night["tib_basis"], night["tib_min"]) == ("period", "in_bed", 560)
    assert [night[name] for name in ("tst_min", "sol_min", "waso_min", "spt_min", "se_tib_pct", "tst_24h_min")] == (
        [None] * 6
    )
    assert "onset_from_record" in flags(night)


def test_a_phone_picked_up_in_the_evening_is_no_night() -> None:
    out = built(_in_bed(1, minutes=3))
    assert roles(out)["p1"][0] == "rejected"
    assert nights(out) == {}


def test_one_streams_time_in_bed_beside_its_own_sleep() -> None:
    """An app's evening in bed, more than an hour before the sleep it recorded, is not the night."""
    sleep = Sleep("s", "2026-03-02T03:00", [("light", 200)], source="apple_health", device="phone")
    out = built(_in_bed(1, "20:00", 300), sleep)
    assert roles(out) == {"s": ("main", "2026-03-01"), "p1": ("rejected", "2026-03-01")}


@pytest.mark.parametrize(
    ("stages", "tib", "sol", "snooze"),
    [
        ([("in_bed", 20), ("light", 400), ("in_bed", 10)], 430, 20, 10),
        ([("in_bed", 20), ("awake", 5), ("light", 400), ("awake", 4), ("in_bed", 6)], 435, 25, 10),
        ([("in_bed", 20), ("light", 400)], 420, 20, 0),
        ([("in_bed", 4), ("hole", 16), ("light", 400)], 420, 20, 0),
        ([("awake", 30), ("in_bed", 20), ("light", 400), ("awake", 9)], 420, 20, 0),
        ([("in_bed", 20), ("light", 200), ("in_bed", 10), ("light", 190)], 420, 20, 0),
    ],
)
def test_stretches_in_bed_around_the_sleep_make_latency_known(
    stages: list[tuple[str, int]], tib: int, sol: int, snooze: int
) -> None:
    (night,) = nights(built(Sleep("s", "2026-03-01T22:30", stages))).values()
    assert (night["tib_basis"], night["tib_min"], night["sol_min"], night["snooze_min"]) == ("in_bed", tib, sol, snooze)
    assert night["tib_min"] == night["sol_min"] + night["spt_min"] + night["snooze_min"]
    assert night["bed_end_utc"] - night["bed_start_utc"] == timedelta(minutes=tib)
    assert night["record_first_wake_min"] is None


@pytest.mark.parametrize("stages", [[("light", 400), ("in_bed", 20)], [("light", 200), ("in_bed", 20), ("light", 200)]])
def test_a_bed_that_begins_with_the_sleep_gives_no_latency(stages: list[tuple[str, int]]) -> None:
    (night,) = nights(built(Sleep("s", "2026-03-01T22:30", stages))).values()
    assert (night["tib_basis"], night["sol_min"], night["snooze_min"]) == ("record", None, None)
