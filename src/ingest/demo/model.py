"""The numbers behind the simulated study, and what a simulated person consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from ingest.demo.fitbit_takeout import Score, SleepLog

LATE_WAKE_MIN = 24
LATE_FROM_MIN, LATE_TO_MIN = 30, 150
LATE_WINDOW_H = 3
EARLIEST_BEDTIME_MIN, LATEST_BEDTIME_MIN = 22 * 60 + 15, 24 * 60 + 20
WAKE_MIN = (30, 46)
WAKE_SD_MIN = 8
WITHDRAWAL_PEAK_MIN = 20
WITHDRAWAL_RISE_DAYS = WITHDRAWAL_FALL_DAYS = 14
TAPER_FROM_SHARE = 0.4
TAPER_STEPS = 5
TAPER_STEP_DAYS = 7
MISSING_NIGHTS = 0.08
MISSING_LOG_DAYS = 0.10
NO_USE_DAYS = 0.05
LONG_CLASSIC_SHARE = 0.025
ZONES = ("Europe/Oslo", "America/New_York", "Australia/Melbourne")


@dataclass(frozen=True)
class Person:
    """Traits that hold for the whole study. `taper_from` counts nights from the first; None: stable dose."""

    ref: str
    index: int
    zone: str
    bedtime_min: int
    in_bed_epochs: int
    wake_min: float
    late_share: float
    nap_share: float
    dose_g: float
    form: str
    taper_from: int | None
    alcohol: str
    caffeine: bool


@dataclass(frozen=True)
class Day:
    """One day and the night after it: number, last awakening, intended bedtime, shift of the clock.

    Clocks are local. `shift` is in seconds: 3600 where the night loses an hour of the clock in spring.
    """

    k: int
    day: date
    woke: datetime
    bedtime: datetime
    shift: int


@dataclass(frozen=True)
class Use:
    """One row of a log: a timed use, or a day without use (`taken` is a date then)."""

    taken: datetime | date
    substance: str
    amount: str = ""
    unit: str = ""
    product_form: str = ""
    reason: str = ""

    @property
    def no_use(self) -> bool:
        """True for a stated day without use."""
        return not isinstance(self.taken, datetime)


@dataclass(frozen=True)
class NightTruth:
    """What the simulation did in one night; minutes. `clock` is `ordinary`, `spring` or `fall`."""

    night_date: date
    recorded: bool
    kind: str
    clock: str
    late_dose: bool
    log_missing: bool
    withdrawal_wake_min: int
    waso_min: float
    tst_min: float
    time_in_bed_min: float


@dataclass
class Life:
    """A person's whole record: logs and scores of the device, rows that were logged, and the truth behind."""

    person: Person
    missing_nights: frozenset[int]
    missing_log_days: frozenset[int]
    sleeps: list[SleepLog] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    drank: list[tuple[date, str]] = field(default_factory=list)
    truth: list[NightTruth] = field(default_factory=list)
