"""What users of similar systems report: nights lost, doubled, swapped with naps, or with borrowed numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from ingest.mart.person import PersonSettings
from mart.sleep_rows import ALICE, Sleep, built, flags, nights, roles

NIGHT = [("light", 400)]
LATER = {"export": "e2", "exported": datetime(2026, 4, 20, tzinfo=UTC)}


def _role(*sleeps: Sleep, **chosen: object) -> dict[str, str]:
    return {name: role for name, (role, _) in roles(built(*sleeps, **chosen)).items()}  # type: ignore[arg-type]


@pytest.mark.parametrize(("word", "reason"), [
    ("vendor_rejected", "the vendor or the wearer says that it is no sleep"),
    ("placeholder", "not measured: a window from the device's settings"),
])  # fmt: skip
def test_rejected_sleeps_are_neither_nights_nor_naps(word: str, reason: str) -> None:
    rest = Sleep("x", "2026-03-01T23:00", None, minutes=480, detail="period", words=f"manual_entry,{word}", main=True)
    nap = replace(rest, id="y", start="2026-03-02T14:00", minutes=60, nap=True, main=None)
    out = built(rest, nap, Sleep("n", "2026-03-02T09:30", [("light", 60)]))
    assert {name: role for name, (role, _) in roles(out).items()} == {"x": "rejected", "y": "rejected", "n": "nap"}
    assert {row["reason"] for row in out["night_source"].to_pylist() if row["role"] == "rejected"} == {reason}
    assert nights(out) == {}


def test_a_rejected_sleep_neither_merges_nor_parts_what_it_lies_between() -> None:
    rest = Sleep("x", "2026-03-02T02:10", None, minutes=30, detail="period", words="vendor_rejected")
    out = built(
        Sleep("a", "2026-03-01T23:00", [("light", 180)]), rest, Sleep("b", "2026-03-02T03:00", [("light", 180)])
    )
    assert {name: role for name, (role, _) in roles(out).items()} == {"a": "main", "b": "merged", "x": "rejected"}
    assert nights(out)["2026-03-01"]["gap_min"] == 60


def test_a_nested_copy_inside_a_longer_record_counts_once() -> None:
    """The same stream holds the last three hours again as a record of its own, in the same export or a newer one."""
    whole, part = Sleep("a", "2026-03-01T23:00", [("light", 480)]), Sleep("b", "2026-03-02T04:00", [("deep", 180)])
    for copy in (part, replace(part, **LATER)):
        out = built(whole, copy)
        assert {name: role for name, (role, _) in roles(out).items()} == {"a": "main", "b": "superseded"}
        assert nights(out)["2026-03-01"]["tst_min"] == 480


@pytest.mark.parametrize("start", ["2026-03-01T23:00", "2026-03-01T22:40"])
def test_a_session_sent_again_longer_under_other_times_replaces_the_first(start: str) -> None:
    out = built(Sleep("a", "2026-03-01T23:00", [("light", 300)]), Sleep("b", start, [("light", 460)], **LATER))  # type: ignore[arg-type]
    assert {name: role for name, (role, _) in roles(out).items()} == {"a": "superseded", "b": "main"}
    assert flags(nights(out)["2026-03-01"]) == set()


def test_a_session_sent_again_shorter_under_other_times_replaces_the_first() -> None:
    out = built(Sleep("a", "2026-03-01T23:00", [("light", 480)]),
                Sleep("b", "2026-03-01T23:00", [("light", 420)], **LATER))  # type: ignore[arg-type]  # fmt: skip
    assert {name: role for name, (role, _) in roles(out).items()} == {"a": "superseded", "b": "main"}


def test_one_night_in_two_formats_of_one_vendor_counts_once_and_with_its_stages() -> None:
    """JSON with stages in the first export, totals under another id in the second."""
    out = built(Sleep("json", "2026-03-01T23:00", NIGHT),
                Sleep("csv", "2026-03-01T23:00", None, minutes=401, tst=390, **LATER))  # type: ignore[arg-type]  # fmt: skip
    assert {name: role for name, (role, _) in roles(out).items()} == {"json": "main", "csv": "superseded"}


def test_a_device_period_does_not_displace_measured_sleep_of_its_stream() -> None:
    sleep, bed = Sleep("s", "2026-03-01T23:30", [("light", 200)]), Sleep("p", "2026-03-01T21:00", [("in_bed", 600)])
    assert _role(sleep, bed) == {
        "s": "main", "p": "superseded"}  # fmt: skip


def test_one_vendors_nights_are_not_lost_beside_anothers() -> None:
    """Thirty nights of a ring, ten of a watch that is the study's first: forty nights minus the ten they share."""
    ring = [Sleep(f"r{day}", f"2026-03-{day:02}T23:00", NIGHT, source="oura", device="ring") for day in range(1, 31)]
    watch = [Sleep(f"w{day}", f"2026-03-{day:02}T23:20", NIGHT) for day in range(11, 21)]
    out = built(*ring, *watch, source_priority=["fitbit"], last="2026-04-01")
    found = nights(out)
    assert len(found) == 30
    assert [n["source"] for n in found.values()].count("fitbit") == 10
    assert sum("source_switch" in flags(n) for n in found.values()) == 20


def test_a_nap_does_not_take_the_nights_place() -> None:
    """The vendor's main of the calendar day is the nap after a night that it gave to the day before."""
    out = built(Sleep("nap", "2026-03-02T14:00", [("light", 120)], main=True),
                Sleep("night", "2026-03-02T23:30", [("light", 100)], main=False))  # fmt: skip
    assert roles(out) == {"nap": ("nap", "2026-03-02"), "night": ("main", "2026-03-02")}
    assert flags(nights(out)["2026-03-02"]) == {"vendor_not_main"}


def test_a_short_staged_record_does_not_take_the_place_of_a_long_one_without_stages() -> None:
    out = built(Sleep("long", "2026-03-01T22:00", None, minutes=420, tst=400),
                Sleep("short", "2026-03-02T07:00", [("light", 30)]))  # fmt: skip
    assert roles(out)["long"][0] == "main"
    staged = Sleep("short", "2026-03-02T07:00", [("light", 200)])
    assert roles(built(Sleep("long", "2026-03-01T22:00", None, minutes=420, tst=400), staged))["short"][0] == "main"


def test_of_two_vendor_mains_the_longer_counts_though_the_shorter_has_stages() -> None:
    assert _role(Sleep("long", "2026-03-01T20:00", None, minutes=420, tst=400, main=True),
                 Sleep("short", "2026-03-02T05:00", [("light", 200)], main=True)) == {
        "long": "main", "short": "extra_main"}  # fmt: skip


@pytest.mark.parametrize("main", [None, True, False])
def test_ninety_nights_stay_ninety(main: bool | None) -> None:
    """Nights of 100 min or more that begin between 20:00 and 8:00, whatever the vendor says of main sleeps."""
    first = datetime(2026, 1, 1, 12)
    starts = [first + timedelta(days=day, minutes=(day * 97) % 720 + 480) for day in range(90)]
    sleeps = [Sleep(f"n{day}", start.isoformat(), [("light", 100 + (day * 37) % 400)], main=main)
              for day, start in enumerate(starts)]  # fmt: skip
    assert len(nights(built(*sleeps, last="2026-04-01"))) == 90


def test_a_vendors_nap_flag_on_nights_is_obeyed_and_can_be_found() -> None:
    """83 of 90 nights called naps by an import's rule: their dates say `only_nap`, each session why."""
    first = datetime(2026, 1, 1, 23)
    sleeps = [Sleep(f"n{day}", (first + timedelta(days=day)).isoformat(), [("light", 420)], nap=day % 13 != 0)
              for day in range(90)]  # fmt: skip
    sleeps.append(Sleep("siesta", "2026-01-05T14:00", [("light", 30)], nap=True))
    out = built(*sleeps, last="2026-03-31")
    assert len(nights(out)) == 7
    assert [row["reason"] for row in out["coverage"].to_pylist()].count("only_nap") == 83
    reasons = {row["session_id"]: row["reason"] for row in out["night_source"].to_pylist()}
    assert reasons["siesta"] == "the vendor says so"
    assert sum(reason.endswith("; by its hours it could be a night") for reason in reasons.values()) == 83


def test_an_evening_nap_by_the_vendors_word_is_not_merged_into_the_night() -> None:
    out = built(Sleep("nap", "2026-03-01T21:00", [("light", 60)], nap=True),
                Sleep("night", "2026-03-01T22:30", NIGHT, nap=False))  # fmt: skip
    assert roles(out) == {"nap": ("nap", "2026-03-01"), "night": ("main", "2026-03-01")}
    night = nights(out)["2026-03-01"]
    assert (night["tst_min"], night["nap_before_min"], night["tst_24h_min"]) == (400, 60, 460)


def test_dates_that_vanish_and_double_on_travel_lose_no_sleep() -> None:
    """Honolulu to Auckland skips the 5th, back again the 7th stands twice; each record states its own offset."""
    honolulu, auckland = ({"basis": "export", "offset": hours * 60} for hours in (-10, 13))
    out = built(
        Sleep("a", "2026-03-05T09:00", NIGHT, **honolulu),  # type: ignore[arg-type]
        Sleep("b", "2026-03-06T11:00", NIGHT, **auckland),  # type: ignore[arg-type]
        Sleep("c", "2026-03-07T11:00", NIGHT, **auckland),  # type: ignore[arg-type]
        Sleep("d", "2026-03-08T09:00", [("light", 300)], **honolulu),  # type: ignore[arg-type]
    )
    assert roles(out) == {"a": ("main", "2026-03-04"), "b": ("main", "2026-03-06"), "c": ("main", "2026-03-07"),
                          "d": ("extra_main", "2026-03-07")}  # fmt: skip
    assert "extra_main" in flags(nights(out)["2026-03-07"])


@pytest.mark.fault(49)
def test_ten_years_are_dated_by_each_nights_own_clock() -> None:
    """The zone of the person, summer and winter, not the offset of the day of the import."""
    oslo = PersonSettings("p1", "Europe/Oslo")
    # 23:30 and 00:30 local in winter (UTC+1) and in summer (UTC+2), as clocks an hour ahead of UTC.
    starts = {"2016-01-10": "2016-01-10T23:30", "2016-07-10": "2016-07-10T22:30",
              "2025-01-09": "2025-01-10T00:30", "2025-07-09": "2025-07-09T23:30"}  # fmt: skip
    out = built(*(Sleep(day, start, NIGHT) for day, start in starts.items()), person=oslo)
    assert {name: night for name, (_, night) in roles(out).items()} == {day: day for day in starts}
    assert [n["utc_offset_min"] for n in nights(out).values()] == [60, 120, 60, 120]


def test_a_score_is_no_efficiency_and_a_stated_offset_is_kept() -> None:
    (night,) = nights(built(Sleep("a", "2026-03-01T23:00", [("light", 300), ("awake", 100), ("light", 20)], score=88,
                                  basis="export", offset=-300))).values()  # fmt: skip
    assert (night["vendor_score"], night["vendor_efficiency_pct"], round(night["se_tib_pct"], 3)) == (88, None, 76.19)
    assert night["utc_offset_min"] == -300
    assert night["onset_local"] == datetime(2026, 3, 1, 17)


@pytest.mark.parametrize(
    ("start", "offset", "onset", "wake"),
    [
        # 22:30Z to 05:30Z in Oslo: the clock is set forward at 01:00Z on 29 March and back on 25 October.
        ("2026-03-28T23:30", 60, "2026-03-28T23:30", "2026-03-29T07:30"),
        ("2026-03-28T23:30", 120, "2026-03-28T23:30", "2026-03-29T07:30"),
        ("2026-10-24T23:30", 120, "2026-10-25T00:30", "2026-10-25T06:30"),
        ("2026-10-24T23:30", 60, "2026-10-25T00:30", "2026-10-25T06:30"),
        ("2026-03-28T23:30", -300, "2026-03-28T17:30", "2026-03-29T00:30"),
    ],
)
@pytest.mark.parametrize("basis", ["export", "zone"])
def test_one_offset_for_a_night_of_a_clock_change_is_either_of_the_two(
    start: str, offset: int, onset: str, wake: str, basis: str
) -> None:
    """Vendors state the offset before the change or the one after; an offset of elsewhere is kept as it is."""
    out = built(Sleep("a", start, [("light", 420)], basis=basis, offset=offset),
                person=PersonSettings("p1", "Europe/Oslo"), last="2026-11-01")  # fmt: skip
    (night,) = nights(out).values()
    assert [night["onset_local"], night["final_wake_local"]] == [datetime.fromisoformat(each) for each in (onset, wake)]
    assert night["time_basis"] == basis


@pytest.mark.parametrize(("offset", "night"), [(-600, "2026-03-01"), (60, "2026-03-02")])
def test_a_superseded_record_is_dated_by_the_clock_it_states(offset: int, night: str) -> None:
    """21:30 at home is 10:30 where the offset is -10 h: the date before."""
    out = built(Sleep("a", "2026-03-02T21:30", NIGHT, basis="export", offset=offset),
                Sleep("b", "2026-03-02T21:40", [("light", 120)], basis="export", offset=offset))  # fmt: skip
    assert roles(out) == {"a": ("main", night), "b": ("superseded", night)}


def test_totals_of_the_vendor_give_sleep_time_flagged_and_no_stages() -> None:
    out = built(Sleep("a", "2026-03-01T23:00", None, minutes=480, tst=400, stage_minutes=200))
    (night,) = nights(out).values()
    assert (night["basis"], night["tst_min"], night["tib_min"]) == ("summary", 400, 480)
    assert {"tst_from_vendor", "onset_from_record"} <= flags(night)
    unknown = (
        "light_min",
        "deep_min",
        "rem_min",
        "asleep_min",
        "waso_min",
        "sol_min",
        "spt_min",
        "nawk",
        "midsleep_utc",
    )
    assert [night[name] for name in unknown] == [None] * len(unknown)


@pytest.mark.parametrize(("stated", "tst"), [(480.4, 480.0), (481.5, None), (None, None)])
def test_sleep_never_exceeds_the_record(stated: float | None, tst: float | None) -> None:
    (night,) = nights(built(Sleep("a", "2026-03-01T23:00", None, minutes=480, tst=stated))).values()
    assert (night["tst_min"], night["tst_24h_min"]) == (tst, tst)


def test_a_night_merged_of_stages_and_a_bare_period_knows_no_sleep_time() -> None:
    out = built(Sleep("a", "2026-03-01T23:00", NIGHT),
                Sleep("b", "2026-03-02T06:00", None, minutes=60, detail="period"))  # fmt: skip
    (night,) = nights(out).values()
    assert (night["basis"], night["tst_min"], night["tst_24h_min"], night["gap_min"]) == ("period", None, None, 20)


def test_what_a_newer_export_leaves_out_stays_and_is_flagged() -> None:
    """Of three nights the newer export holds the first and the last; the fourth it does not reach."""
    old = [Sleep(f"s{day}", f"2026-03-0{day}T23:00", NIGHT) for day in (1, 2, 3, 4)]
    new = [replace(old[place], **LATER) for place in (0, 2)]  # type: ignore[arg-type]
    found = nights(built(*old, *new))
    assert {day: "left_out_by_newer_export" in flags(n) for day, n in found.items()} == {
        "2026-03-01": False, "2026-03-02": True, "2026-03-03": False, "2026-03-04": False}  # fmt: skip


def test_a_night_that_a_newer_export_dates_otherwise_or_another_device_lacks_is_not_left_out() -> None:
    old = [Sleep(f"s{day}", f"2026-03-0{day}T23:00", NIGHT) for day in (1, 2, 3)]
    new = [replace(old[0], **LATER), replace(old[1], id="t2", start="2026-03-02T22:50", **LATER),  # type: ignore[arg-type]
           replace(old[2], **LATER)]  # type: ignore[arg-type]  # fmt: skip
    assert all("left_out_by_newer_export" not in flags(n) for n in nights(built(*old, *new)).values())
    ring = [replace(each, id=f"r{each.id}", source="oura", device="ring") for each in new[::2]]
    assert all("left_out_by_newer_export" not in flags(n) for n in nights(built(*old, *ring)).values())


def test_a_rejected_date_may_still_hide_a_night_in_a_refused_file() -> None:
    from ingest._core.contract import arrow_schema
    from ingest._core.settings import Settings
    from ingest.mart.participant import build
    from mart.sleep_rows import lake_of

    refused = {"source_file_id": "x", "participant_id": "p1", "source": "garmin", "status": "refused",
               "arrived_at": datetime(2026, 3, 5, 12, tzinfo=UTC)}  # fmt: skip
    place = Sleep("g", "2026-03-02T23:00", None, minutes=480, detail="period", words="placeholder")
    sleeps = [Sleep("a", "2026-03-01T23:00", NIGHT), place, Sleep("b", "2026-03-03T23:00", NIGHT)]
    for rows, reason in (([refused], "file_refused"), ([], "no_record")):
        files = arrow_schema("source_file").empty_table().from_pylist(rows, schema=arrow_schema("source_file"))
        out = build(lake_of(sleeps), files, {"p1": ALICE}, Settings(study="t"), {"p1": date(2026, 3, 4)})
        assert {row["date"].day: row["reason"] for row in out["coverage"].to_pylist()}[2] == reason
