"""The simulated nights: how long, how much wake, and what the vendor makes of a change of the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np
from numpy.random import Generator

from ingest._core.clock import to_micros, zone
from ingest.demo import model
from ingest.demo.fitbit_takeout import Run, Score, SleepLog, vendor_minutes
from ingest.demo.hypnogram import EPOCH_S, classic_runs, staged_runs
from ingest.demo.model import Day, Life, NightTruth, Person


@dataclass(frozen=True)
class _Plan:
    """Epochs of one night: wake before onset, sleep, wake inside, wake at the end."""

    first: int
    asleep: int
    awake: int
    last: int


def add_night(rng: Generator, life: Life, day: Day, late: bool) -> datetime:
    """Add the night, its score and its day's nap to `life`; returns the wall clock of the awakening.

    Time in bed, bedtime and the wake before onset and at the end are drawn without regard to doses. The wake
    inside is a normal draw, plus LATE_WAKE_MIN if a dose was late, plus that of the withdrawal; sleep is what
    is left, so each extra minute awake is a minute less asleep.
    """
    person = life.person
    classic = bool(rng.random() < model.LONG_CLASSIC_SHARE) and not day.shift
    plan = _plan(rng, person, day, late, classic)
    scatter = round(2 * float(np.clip(rng.normal(0, 5), -12, 12)))
    begin = day.bedtime + timedelta(seconds=EPOCH_S * scatter)
    if classic:
        runs = classic_runs(rng, plan.asleep // 2, plan.awake // 2)
        kind, info = "classic", 1 if rng.random() < 0.7 else 3
    else:
        runs = staged_runs(rng, plan.asleep, plan.awake, plan.first, plan.last)
        kind, info = "stages", 0
    log = SleepLog(log_id(rng, person, day.k, 0), begin, recorded_runs(runs, day.shift), kind, info)
    nap, score = _nap(rng, person, day), _score(rng, log)
    recorded = day.k not in life.missing_nights
    if recorded:
        life.sleeps += [log, *nap]
        life.scores += score
    life.truth.append(_truth(life, day, plan, kind, late))
    return log.end


def _plan(rng: Generator, person: Person, day: Day, late: bool, classic: bool) -> _Plan:
    scatter = 2 * round(float(np.clip(rng.normal(0, 22), -60, 60)))
    in_bed = person.in_bed_epochs + scatter + int(rng.integers(0, 2))
    first, last = int(rng.integers(0, 24)), int(rng.integers(0, 12))
    base = max(10.0, person.wake_min + float(rng.normal(0, model.WAKE_SD_MIN)))
    awake = 2 * (withdrawal_wake(person, day.k) + (model.LATE_WAKE_MIN if late else 0)) + round(2 * base)
    asleep = in_bed - first - last - awake
    if classic:
        return _Plan(0, asleep // 2 * 2, awake // 2 * 2, 0)
    return _Plan(first, asleep, awake, last)


def _truth(life: Life, day: Day, plan: _Plan, kind: str, late: bool) -> NightTruth:
    return NightTruth(
        night_date=day.day,
        recorded=day.k not in life.missing_nights,
        kind=kind,
        clock="ordinary" if day.shift == 0 else "spring" if day.shift > 0 else "fall",
        late_dose=late,
        log_missing=day.k in life.missing_log_days,
        withdrawal_wake_min=withdrawal_wake(life.person, day.k),
        waso_min=plan.awake / 2,
        tst_min=plan.asleep / 2,
        time_in_bed_min=(plan.first + plan.asleep + plan.awake + plan.last) / 2,
    )


def withdrawal_wake(person: Person, k: int) -> int:
    """Extra wake in minutes on night k: rises for two weeks from the taper's start, then fades as long."""
    if person.taper_from is None or k < person.taper_from:
        return 0
    d = k - person.taper_from + 1
    if d <= model.WITHDRAWAL_RISE_DAYS:
        return round(model.WITHDRAWAL_PEAK_MIN * d / model.WITHDRAWAL_RISE_DAYS)
    faded = (d - model.WITHDRAWAL_RISE_DAYS) / model.WITHDRAWAL_FALL_DAYS
    return max(0, round(model.WITHDRAWAL_PEAK_MIN * (1 - faded)))


def clock_shift(zone_name: str, day: date) -> int:
    """Seconds by which the local clock moves in the night after `day`: 3600 in spring, else mostly 0."""
    known = zone(zone_name)
    noons = np.array([to_micros(datetime.combine(day + timedelta(days=i), time(12))) for i in (0, 1)])
    offsets = known.offset_at(known.to_utc(noons)[0])
    return int(offsets[1] - offsets[0]) // 1_000_000


def recorded_runs(runs: tuple[Run, ...], shift: int) -> tuple[Run, ...]:
    """The night as the vendor prints it when the clock moves by `shift` seconds.

    The vendor believes the wall clock: in spring an `unknown` stretch fills the hour that never was, after
    the true end; in autumn the log is an hour shorter than the night, and its last hour is in no segment.
    """
    if shift > 0:
        return (*runs, Run("unknown", shift))
    left = sum(run.seconds for run in runs) + shift
    kept = []
    for run in runs:
        seconds = min(run.seconds, left)
        if seconds > 0:
            kept.append(Run(run.level, seconds, run.short))
        left -= seconds
    return tuple(kept)


def _nap(rng: Generator, person: Person, day: Day) -> list[SleepLog]:
    if rng.random() >= person.nap_share:
        return []
    begin = datetime.combine(day.day, time(13, 30)) + timedelta(seconds=EPOCH_S * int(rng.integers(0, 40)))
    minutes = int(rng.integers(25, 80))
    restless = int(rng.integers(1, 2 + minutes // 12))
    runs = classic_runs(rng, minutes - restless, restless)
    return [SleepLog(log_id(rng, person, day.k, 1), begin, runs, "classic", 2, main=False)]


def log_id(rng: Generator, person: Person, k: int, nap: int) -> int:
    """Eleven digits that rise with time, though not always, as the vendor's do; no two are equal."""
    rough = 50_000_000_000 + person.index * 700_000_000 + k * 5_000_000 + int(rng.integers(0, 20_000_000))
    return rough // 10_000 * 10_000 + 2 * k + nap


def _score(rng: Generator, log: SleepLog) -> list[Score]:
    resting, restless = int(rng.integers(52, 68)), float(rng.uniform(0.04, 0.12))
    if rng.random() >= 0.95 or log.kind != "stages":
        return []
    minutes = vendor_minutes(log.runs)
    asleep = sum(minutes.values()) - minutes["wake"]
    overall = min(98, max(40, round(40 + asleep / 10 - minutes["wake"] / 8)))
    return [Score(log.log_id, log.end, overall, minutes["deep"], resting, restless)]
