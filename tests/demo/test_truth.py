"""The demo's nights and doses, read back from its files: what the README claims is what the data hold."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from demo.reading import asleep_and_waso, exposure_day, kratom_rows, logs_of, painted
from ingest.demo.facts import DemoFacts, PersonFacts


def test_summaries_are_the_overlaid_minutes_in_the_vendors_rounding(demo: DemoFacts) -> None:
    checked = overlaid = 0
    for person in demo.people:
        for log in logs_of(demo.root, person.exports).values():
            cells = painted(log)
            summary = {level: each["minutes"] for level, each in log["levels"]["summary"].items()}
            for level, minutes in summary.items():
                assert abs(minutes - cells.count(level) / 2) <= 0.5
            awake = sum(minutes for level, minutes in summary.items() if level in {"wake", "awake", "restless"})
            assert log["minutesAwake"] == awake
            assert log["minutesAsleep"] == sum(summary.values()) - awake
            known = (len(cells) - cells.count("unknown")) // 2
            assert log["minutesAsleep"] + log["minutesAwake"] == known
            plain = sum(each["seconds"] for each in log["levels"]["data"] if each["level"] == "wake") / 60
            overlaid += log["type"] == "stages" and summary["wake"] - plain >= 2
            checked += log["type"] == "stages"
            wall = datetime.fromisoformat(log["endTime"]) - datetime.fromisoformat(log["startTime"])
            assert wall == timedelta(seconds=30 * len(cells))
            assert log["duration"] == wall // timedelta(minutes=1) * 60_000
            assert all(30 <= wake["seconds"] <= 180 for wake in log["levels"].get("shortData", []))
    assert checked > 1200
    assert overlaid / checked > 0.99


def test_the_truth_is_what_the_files_hold(demo: DemoFacts) -> None:
    compared = 0
    for person in demo.people:
        mains = _mains(demo, person)
        for night in person.truth:
            log = mains.get(night.night_date)
            if log is None or night.clock == "fall":
                continue
            asleep, waso = asleep_and_waso(log)
            assert (asleep, waso) == (night.tst_min, night.waso_min) or log["type"] == "classic"
            assert asleep == night.tst_min
            compared += 1
    assert compared > 1200


def test_a_late_dose_costs_the_stated_minutes(demo: DemoFacts) -> None:
    """Within person, on nights outside withdrawal; tolerance is about 3.5 standard errors."""
    nights = _analysed(demo)
    waso, waso_error = _within(nights, "waso")
    tst, tst_error = _within(nights, "tst")
    assert waso_error < 0.8
    assert abs(waso - demo.late_wake_min) < 3.5 * waso_error
    assert tst_error < 2
    assert abs(tst + demo.late_wake_min) < 3.5 * tst_error


def test_a_late_dose_changes_nothing_else(demo: DemoFacts) -> None:
    nights = _analysed(demo)
    for outcome in ("in_bed", "bedtime", "first_wake"):
        effect, error = _within(nights, outcome)
        assert abs(effect) < 3.5 * error
    early, error = _within([night for night in nights if not night["late"]], "waso", cause="doses")
    assert abs(early) < 3.5 * error


def test_doses_vary_within_everybody(demo: DemoFacts) -> None:
    by_person: dict[str, list[bool]] = defaultdict(list)
    for night in _analysed(demo):
        by_person[night["ref"]].append(night["late"])
    assert len(by_person) == 12
    assert all(min(sum(late), len(late) - sum(late)) >= 7 for late in by_person.values())
    for person in demo.people:
        amounts = [float(row["amount"]) for row in kratom_rows(demo.root, person.ref) if row["amount"]]
        assert np.std(amounts) / np.mean(amounts) > 0.2


def test_withdrawal_comes_and_goes(demo: DemoFacts) -> None:
    during, after = [], []
    for person in demo.people:
        if person.taper_start_on is None:
            assert all(night.withdrawal_wake_min == 0 for night in person.truth)
            continue
        since = {night: (night.night_date - person.taper_start_on).days for night in person.truth}
        usual = np.mean([n.waso_min for n, days in since.items() if days < 0 and not n.late_dose])
        during += [n.waso_min - usual for n, days in since.items() if 9 <= days <= 17 and not n.late_dose]
        after += [n.waso_min - usual for n, days in since.items() if days >= 28]
        assert max(since, key=lambda night: night.withdrawal_wake_min).withdrawal_wake_min == 20
    # By the README: 14 to 20 minutes on these days, nothing from the fifth week on.
    assert 11 < np.mean(during) < 21
    assert abs(np.mean(after)) < 4


def test_tapered_doses_fall_to_stated_none(demo: DemoFacts) -> None:
    for person in demo.people:
        if person.taper_start_on is None:
            continue
        daily: dict[int, list[float]] = defaultdict(list)
        for row in kratom_rows(demo.root, person.ref):
            day = (exposure_day(row["taken_at"]) - person.taper_start_on).days
            daily[min(day // 7, 5)].append(0.0 if row["no_use"] else float(row["amount"]))
        assert set(daily[5]) == {0.0}
        assert len(daily[5]) > 25
        before = np.mean([amount for week, amounts in daily.items() if week < 0 for amount in amounts if amount])
        last = [amount for amount in daily[3] if amount]
        assert np.mean(last) < 0.45 * before


def test_spring_and_fall_nights_are_written_as_the_vendor_does(demo: DemoFacts) -> None:
    nights = {
        "Europe/Oslo": "2026-03-29",
        "America/New_York": "2026-03-08",
        "Australia/Melbourne": "2026-04-05",
    }
    for person in demo.people:
        (log,) = [log for log in logs_of(demo.root, person.exports).values()
                  if log["mainSleep"] and log["dateOfSleep"] == nights[person.zone]]  # fmt: skip
        data = log["levels"]["data"]
        truth = next(n for n in person.truth if n.clock != "ordinary")
        wall = (datetime.fromisoformat(log["endTime"]) - datetime.fromisoformat(log["startTime"])).seconds / 60
        if truth.clock == "spring":
            assert wall == truth.time_in_bed_min + 60
            assert (data[-1]["level"], data[-1]["seconds"]) == ("unknown", 3600)
            assert log["minutesAsleep"] + log["minutesAwake"] == log["timeInBed"] - 60
        else:
            assert wall == truth.time_in_bed_min - 60
            assert all(segment["level"] != "unknown" for segment in data)
        assert log["startTime"][11:16] > "21:00" or log["startTime"][11:16] < "02:00"


def _mains(demo: DemoFacts, person: PersonFacts) -> dict[date, dict[str, Any]]:
    """Main logs by the date of their evening."""
    found = {}
    for log in logs_of(demo.root, person.exports).values():
        if log["mainSleep"]:
            start = datetime.fromisoformat(log["startTime"])
            found[(start - timedelta(hours=12)).date()] = log
    return found


def _analysed(demo: DemoFacts) -> list[dict[str, Any]]:
    """Ordinary staged nights before any taper whose day was logged."""
    rows = []
    for person in demo.people:
        doses: dict[date, list[datetime]] = defaultdict(list)
        for row in kratom_rows(demo.root, person.ref):
            taken = [] if row["no_use"] else [datetime.fromisoformat(row["taken_at"])]
            doses[exposure_day(row["taken_at"])] += taken
        ordinary = {n.night_date for n in person.truth if n.clock == "ordinary"}
        for night, log in _mains(demo, person).items():
            before = person.taper_start_on is None or night < person.taper_start_on
            if night in doses and night in ordinary and before and log["type"] == "stages":
                rows.append(_row(person.ref, log, doses[night]))
    return rows


def _row(ref: str, log: dict[str, Any], doses: list[datetime]) -> dict[str, Any]:
    start = datetime.fromisoformat(log["startTime"])
    cells = painted(log)
    first = next(i for i, level in enumerate(cells) if level != "wake")
    onset = start + timedelta(seconds=30 * first)
    asleep, waso = asleep_and_waso(log)
    evening = datetime.combine((start - timedelta(hours=12)).date(), datetime.min.time())
    return {
        "ref": ref,
        "late": any(onset - timedelta(hours=3) < dose <= onset for dose in doses),
        "doses": len(doses),
        "waso": waso,
        "tst": asleep,
        "in_bed": len(cells) / 2,
        "first_wake": first / 2,
        "bedtime": (start - evening).total_seconds() / 60,
    }


def _within(nights: list[dict[str, Any]], outcome: str, cause: str = "late") -> tuple[float, float]:
    """Least squares with a mean for each person: slope and its standard error."""
    by_person: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for night in nights:
        by_person[night["ref"]].append((float(night[cause]), float(night[outcome])))
    centred = np.concatenate([np.array(rows) - np.mean(rows, axis=0) for rows in by_person.values()])
    x, y = centred.T
    slope = float(x @ y / (x @ x))
    rest = y - slope * x
    return slope, float(np.sqrt(rest @ rest / (len(y) - len(by_person) - 1) / (x @ x)))
