"""What the simulated persons take, and when. Decided before the night and without looking at it."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from numpy.random import Generator

from ingest.demo import model
from ingest.demo.model import Day, Life, Person, Use

_REASONS = ("energy", "mood", "pain", "avoid_withdrawal")
_DRINK_G = 14


def dose_scale(person: Person, k: int) -> float:
    """Share of the usual dose on day k: 1 before the taper, then stepwise down to 0."""
    if person.taper_from is None or k < person.taper_from:
        return 1.0
    steps = (k - person.taper_from) // model.TAPER_STEP_DAYS + 1
    return max(0, model.TAPER_STEPS - steps) / model.TAPER_STEPS


def kratom(rng: Generator, person: Person, day: Day) -> tuple[list[Use], bool]:
    """The day's kratom rows (or the row that states none), and whether one dose is late.

    Doses that are not late end at 17:00, four hours before the earliest bedtime.
    """
    scale = dose_scale(person, day.k)
    free_day = rng.random() < model.NO_USE_DAYS
    late = bool(rng.random() < person.late_share)
    if scale == 0 or free_day:
        return [Use(day.day, "kratom")], False
    times = [
        day.woke + timedelta(minutes=float(rng.uniform(15, 90))),
        _between(rng, day, 11.25, 13.25),
        _between(rng, day, 15.25, 17),
    ][: int(rng.integers(1, 4))]
    if late:
        before = float(rng.uniform(model.LATE_FROM_MIN, model.LATE_TO_MIN))
        times.append(day.bedtime - timedelta(minutes=before))
    return [_dose(rng, person, _round_5(moment), scale) for moment in times], late


def others(rng: Generator, life: Life, day: Day) -> list[Use]:
    """Alcohol and caffeine rows of the log. Answers to the daily alcohol form go to `life.drank`."""
    person = life.person
    drank = bool(rng.random() < 0.25)
    uses = []
    if person.alcohol == "log":
        at, amount = _round_5(_between(rng, day, 18, 20.5)), str(_DRINK_G * int(rng.integers(1, 4)))
        uses.append(Use(at, "alcohol", amount, "g", "drink") if drank else Use(day.day, "alcohol"))
    elif person.alcohol == "form" and day.k not in life.missing_log_days:
        silent = rng.random() < 0.04
        life.drank.append((day.day, "Prefer not to say" if silent else "Yes" if drank else "No"))
    if person.caffeine:
        amount = str(10 * int(rng.integers(6, 25)))
        uses.append(Use(_round_5(_between(rng, day, 8, 14)), "caffeine", amount, "mg", "coffee"))
    return uses


def _between(rng: Generator, day: Day, from_h: float, to_h: float) -> datetime:
    return datetime.combine(day.day, time()) + timedelta(hours=float(rng.uniform(from_h, to_h)))


def _dose(rng: Generator, person: Person, taken: datetime, scale: float) -> Use:
    grams = person.dose_g * float(rng.lognormal(0, 0.3)) * scale
    reason = _REASONS[int(rng.integers(0, len(_REASONS)))]
    if person.form == "capsule":
        return Use(taken, "kratom", str(max(1, round(2 * grams))), "capsule_500mg", "capsule", reason)
    return Use(taken, "kratom", f"{max(0.5, round(2 * grams) / 2):.1f}", "g", "powder", reason)


def _round_5(moment: datetime) -> datetime:
    minutes = 5 * round((moment.hour * 60 + moment.minute + moment.second / 60) / 5)
    return datetime.combine(moment.date(), time()) + timedelta(minutes=minutes)
