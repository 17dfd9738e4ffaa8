"""The simulated persons and their days, one after the other."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import numpy as np
from numpy.random import PCG64, Generator

from ingest.demo import model
from ingest.demo.doses import kratom, others
from ingest.demo.fitbit_takeout import Score
from ingest.demo.model import Day, Life, Person
from ingest.demo.nights import add_night, clock_shift, log_id


def generator(seed: int, index: int) -> Generator:
    """The random stream of one person, the same however many people there are."""
    return Generator(PCG64([seed, index]))


def make_person(rng: Generator, index: int, nights: int) -> Person:
    """Traits of the person with this index (from 0): every other one tapers, the zones take turns."""
    return Person(
        ref=f"K{index + 1:02d}",
        index=index,
        zone=model.ZONES[index % len(model.ZONES)],
        bedtime_min=int(rng.integers(model.EARLIEST_BEDTIME_MIN, model.LATEST_BEDTIME_MIN)),
        in_bed_epochs=2 * int(rng.integers(445, 495)),
        wake_min=float(rng.uniform(*model.WAKE_MIN)),
        late_share=float(rng.uniform(0.35, 0.6)),
        nap_share=float(rng.uniform(0.04, 0.18)),
        dose_g=float(rng.uniform(2.0, 4.5)),
        form=("powder", "capsule")[index // 2 % 2],
        taper_from=round(model.TAPER_FROM_SHARE * nights) if index % 2 == 0 else None,
        alcohol=("log", "form", "none")[index // 2 % 3],
        caffeine=index % 4 == 1,
    )


def live(rng: Generator, person: Person, start: date, nights: int) -> Life:
    """Simulate `nights` nights from the evening of `start`, and what is recorded of them.

    Which nights and which log days are missing is drawn first, without regard to anything else. Nights with
    a change of the clock and the last night of each block of thirty are never missing.
    """
    shifts = [clock_shift(person.zone, start + timedelta(days=k)) for k in range(nights)]
    kept = {k for k in range(nights) if shifts[k] or k % 30 == 29}
    life = Life(
        person,
        missing_nights=_gaps(rng, nights, model.MISSING_NIGHTS, kept),
        missing_log_days=_gaps(rng, nights, model.MISSING_LOG_DAYS, set()),
    )
    woke = datetime.combine(start, time(7, 30))
    for k in range(nights):
        today = start + timedelta(days=k)
        day = Day(k, today, woke, _bedtime(rng, person, today), shifts[k])
        uses, late = kratom(rng, person, day)
        uses += others(rng, life, day)
        if k not in life.missing_log_days:
            life.uses += uses
        woke = add_night(rng, life, day, late)
    life.scores.append(_orphan(rng, person, start, nights))
    return life


def _gaps(rng: Generator, nights: int, share: float, kept: set[int]) -> frozenset[int]:
    """Days without a record: a run of three to five where there is room, then single ones."""
    target = round(share * nights)
    free = [k for k in range(nights) if k not in kept]
    gaps: set[int] = set()
    if target > 5:
        begin = int(rng.integers(0, nights - 5))
        gaps |= set(range(begin, begin + int(rng.integers(3, 6)))) - kept
    while len(gaps) < target:
        gaps.add(free[int(rng.integers(0, len(free)))])
    return frozenset(gaps)


def _bedtime(rng: Generator, person: Person, day: date) -> datetime:
    """The intended bedtime: the usual one, later on Friday and Saturday, with some scatter."""
    weekend = 25 if day.weekday() in (4, 5) else 0
    scatter = float(np.clip(rng.normal(0, 18), -40, 40))
    return datetime.combine(day, time()) + timedelta(minutes=round(person.bedtime_min + weekend + scatter))


def _orphan(rng: Generator, person: Person, start: date, nights: int) -> Score:
    """A score whose log was deleted: it joins nothing."""
    end = datetime.combine(start + timedelta(days=nights // 2), time(6, 12))
    return Score(log_id(rng, person, nights, 0), end, 71, 55, 60, 0.08)
