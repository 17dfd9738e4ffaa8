"""night_exposure in plain Python, use by use and day by day, straight from the definitions; slow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from ingest._core.settings import Exposure
from ingest.mart.person import PersonSettings

Row = dict[str, Any]
Span = tuple[datetime, datetime]
TICK = timedelta(microseconds=1)
# None: where the exposure day begins or ends.
PART_HOURS = {
    "morning": (None, 11),
    "midday": (11, 14),
    "afternoon": (14, 17),
    "evening": (17, 22),
    "night": (22, None),
}
COARSENESS = ["exact", "hour", "part_of_day", "day"]


class Reference:
    """One participant's nights and log; `rows()` gives what night_exposure should give."""

    def __init__(self, nights: list[Row], uses: list[Row], person: PersonSettings, settings: Exposure) -> None:
        self.nights = sorted(nights, key=lambda row: row["night_date"])
        self.uses, self.person, self.settings = uses, person, settings
        self.zone = ZoneInfo(person.zone_name)

    def local(self, at: datetime) -> datetime:
        return at.astimezone(self.zone).replace(tzinfo=None)

    def utc(self, local: datetime) -> datetime:
        return local.replace(tzinfo=self.zone).astimezone(UTC)

    def day_of(self, at: datetime) -> date:
        return (self.local(at) - timedelta(hours=self.settings.day_start_hour)).date()

    def use_day(self, use: Row) -> date:
        return self.day_of(use["taken_utc"]) if use["time_precision"] in ("exact", "hour") else use["local_date"]

    def span(self, use: Row) -> Span:
        """First and last instant at which the use may have been."""
        if use["time_precision"] == "exact":
            return use["taken_utc"], use["taken_utc"]
        if use["time_precision"] == "hour":
            clock = self.local(use["taken_utc"])
            begin = use["taken_utc"] - (clock - clock.replace(minute=0, second=0, microsecond=0))
            return begin, begin + timedelta(hours=1) - TICK
        low, high = self.settings.day_start_hour, self.settings.day_start_hour + 24
        if use["time_precision"] == "part_of_day":
            first, end = PART_HOURS[use["flags"].removeprefix("part:")]
            low, high = first or low, end or high
        midnight = datetime.combine(use["local_date"], time())
        return self.utc(midnight + timedelta(hours=low)), self.utc(midnight + timedelta(hours=high)) - TICK

    def days_between(self, low: datetime, high: datetime) -> Iterator[date]:
        """Exposure days touched by (low, high]."""
        day, last = self.day_of(low + TICK), self.day_of(high)
        while day <= last:
            yield day
            day += timedelta(days=1)

    def good(self, substance: str, day: date) -> bool:
        """The day is logged and not in conflict."""
        return self.status(substance, day) in ("logged", "none_reported")

    def status(self, substance: str, day: date) -> str:
        partial = [use for use in self.uses if use["no_use"] and "partial_no" in (use["flags"] or "")]
        there = [use for use in self.uses if self.use_day(use) == day and use not in partial]
        answers = {use["no_use"] for use in there if use["substance"] == substance}
        if len(answers) == 2:
            return "conflict"
        if answers:
            return "none_reported" if answers == {True} else "logged"
        return "none_reported" if there and self.settings.logged_by == "any" else "not_logged"

    def usual(self, index: int) -> datetime | None:
        hours = timedelta(hours=self.person.day_anchor_hour)
        clocks = []
        for row in self.nights[:index]:
            if row["onset_local"] is not None:
                begin = datetime.combine(row["night_date"], time()) + hours
                clocks.append((row["onset_local"] - begin) // TICK)
        if len(clocks) < self.settings.usual_nights:
            return None
        middle = int(Fraction(median([Fraction(clock) for clock in clocks[-self.settings.usual_nights :]])) // 1)
        begin = datetime.combine(self.nights[index]["night_date"], time()) + hours
        return self.utc(begin + middle * TICK)

    def keys(self) -> list[tuple[str, str]]:
        keys = []
        for substance in sorted({use["substance"] for use in self.uses}):
            units = {use["unit"] for use in self.uses if use["substance"] == substance and not use["no_use"]}
            keys += [(substance, unit) for unit in sorted(units - {None}) or ["use"]]
        return keys

    def rows(self) -> list[Row]:
        rows = []
        for index, night in enumerate(self.nights):
            for anchor in ("onset", "usual"):
                at = night["onset_utc"] if anchor == "onset" else self.usual(index)
                basis = {"onset": "measured", "usual": "median_14"}[anchor]
                head = {
                    "participant_id": night["participant_id"],
                    "night_date": night["night_date"],
                    "anchor": anchor,
                    "anchor_utc": at,
                    "anchor_basis": basis if at else None,
                }
                for substance, unit in self.keys():
                    row = {"substance": substance, "unit": unit} | self.answers(night, at, substance, unit)
                    rows.append(head | row)
        return rows

    def answers(self, night: Row, at: datetime | None, substance: str, unit: str) -> Row:
        mine = [
            use
            for use in self.uses
            if use["substance"] == substance and not use["no_use"] and use["unit"] in (unit, None)
        ]
        today = [use for use in mine if self.use_day(use) == night["night_date"]]
        status = self.status(substance, night["night_date"])
        day = self.total(today, unit) if status in ("logged", "none_reported") else (None, None, None)
        row: Row = {
            "log_status": status,
            "amount_day": day[1],
            "n_amount_unknown": None,
            "substance_class": "c_" + substance,
            "dosed_during_sleep": self.during_sleep(night, mine, substance),
        }
        windows: dict[str, tuple[Any, Any, Any]] = {}
        considered = list(today)
        for name, low in self.lows(night, at).items():
            windows[name] = (None, None, None)
            if at is not None and low is not None and low < at:
                windows[name] = self.window(mine, low, at, substance, unit)
            row["amount_" + name] = windows[name][1]
        row["dose_count_24h"], row["dose_count_6h"] = windows["24h"][0], windows["6h"][0]
        vague = any(use["time_precision"] in ("part_of_day", "day") for use in today)
        if at is not None:
            low = at - timedelta(hours=24)
            considered += [use for use in mine if self.touches(use, low, at)]
            vague = any(self.touches(use, low, at) and not self.within(use, low, at) for use in mine)
        row["n_amount_unknown"] = windows["24h"][2]
        if windows["24h"][0] is None and vague:
            row["n_amount_unknown"] = day[2]
        ranks = [COARSENESS.index(use["time_precision"]) for use in considered]
        row["time_precision"] = COARSENESS[max(ranks)] if ranks else None
        row["hours_since_last_dose"], row["last_dose_amount"] = self.last(mine, at, substance, unit)
        row["residual_load"] = self.load(mine, at, substance, unit)
        row["dose_band"] = self.band(status, day[1], substance, unit)
        return row

    def lows(self, night: Row, at: datetime | None) -> dict[str, datetime | None]:
        lows: dict[str, datetime | None] = {
            f"{hours}h": at - timedelta(hours=hours) if at else None for hours in (3, 6, 12, 24)
        }
        before = [row for row in self.nights if row["night_date"] == night["night_date"] - timedelta(days=1)]
        return lows | {"since_wake": before[0]["final_wake_utc"] if before else None}

    def touches(self, use: Row, low: datetime, high: datetime) -> bool:
        first, last = self.span(use)
        return last > low and first <= high

    def within(self, use: Row, low: datetime, high: datetime) -> bool:
        first, last = self.span(use)
        return first > low and last <= high

    def total(self, uses: list[Row], unit: str) -> tuple[int, float | None, int]:
        """Count, amount, number of unknown amounts."""
        amounts = [use["amount"] if use["unit"] == unit else None for use in uses]
        unknown = amounts.count(None)
        known = sum((Fraction(str(amount)) for amount in amounts if amount is not None), Fraction(0))
        return len(uses), None if unknown else float(known), unknown

    def window(self, mine: list[Row], low: datetime, high: datetime, substance: str, unit: str) -> tuple[Any, Any, Any]:
        if not all(self.good(substance, day) for day in self.days_between(low, high)):
            return None, None, None
        touching = [use for use in mine if self.touches(use, low, high)]
        if not all(self.within(use, low, high) for use in touching):
            return None, None, None
        return self.total(touching, unit)

    def last(self, mine: list[Row], at: datetime | None, substance: str, unit: str) -> tuple[Any, Any]:
        timed = [use for use in mine if use["time_precision"] in ("exact", "hour")]
        if at is None or not any(use["taken_utc"] <= at for use in timed):
            return None, None
        then = max(use["taken_utc"] for use in timed if use["taken_utc"] <= at)
        day, end = self.day_of(then), self.day_of(at)
        while day <= end:
            if not self.good(substance, day):
                return None, None
            day += timedelta(days=1)
        for use in mine:
            first, last = self.span(use)
            if use not in timed and last > then and first <= at:
                return None, None
            if first <= at < last:
                return None, None
        return (at - then) / timedelta(hours=1), self.total([u for u in timed if u["taken_utc"] == then], unit)[1]

    def load(self, mine: list[Row], at: datetime | None, substance: str, unit: str) -> float | None:
        half_life = self.settings.half_lives_h.get(substance)
        if half_life is None or at is None:
            return None
        low = at - timedelta(hours=5 * half_life)
        near = [use for use in mine if self.touches(use, low, at)]
        if not all(self.good(substance, day) for day in self.days_between(low, at)):
            return None
        if any(use["time_precision"] in ("part_of_day", "day") or self.span(use)[1] > at for use in near):
            return None
        if self.total(near, unit)[2]:
            return None
        total = 0.0
        for use in mine:
            timed = use["time_precision"] in ("exact", "hour") and use["taken_utc"] <= at
            if timed and use["amount"] is not None and use["unit"] == unit:
                total += use["amount"] * 0.5 ** ((at - use["taken_utc"]) / timedelta(hours=half_life))
        return total

    def during_sleep(self, night: Row, mine: list[Row], substance: str) -> bool | None:
        begin, end = night["onset_utc"], night["final_wake_utc"]
        if begin is None or end is None:
            return None
        inside = [use for use in mine if self.touches(use, begin, end - TICK)]
        for use in inside:
            timed = use["time_precision"] in ("exact", "hour") and self.within(use, begin, end - TICK)
            if timed and self.good(substance, self.use_day(use)):
                return True
        if inside or not all(self.good(substance, day) for day in self.days_between(begin, end - TICK)):
            return None
        return False

    def band(self, status: str, amount: float | None, substance: str, unit: str) -> str | None:
        if status == "none_reported":
            return "none"
        bands = self.settings.dose_bands.get(substance)
        if bands is None or bands.unit != unit or amount is None:
            return None
        edges = sorted({0.0, *bands.edges})
        low = max(edge for edge in edges if edge <= amount)
        high = [edge for edge in edges if edge > low]
        return f"[{low:g},{high[0]:g})" if high else f"[{low:g},inf)"
