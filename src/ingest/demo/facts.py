"""What a written demo study holds, for those who check what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ingest.demo.model import NightTruth

CANARY = "Zebrowski"


@dataclass(frozen=True)
class PersonFacts:
    """One participant: what lies in landing, and what the readable part of it holds.

    `sleep_records` counts the logs in all readable files of all exports, `repeats` how many of them have a
    `logId` that was there already; `sessions` = `sleep_records` - `repeats`, of them `mains`. `log_rows`
    counts the data rows of the kratom log, of them `bad_log_rows` that no reader can take as they stand.
    Paths are relative to the study. `zone` is the true one, `roster_zone` what the roster says.
    """

    ref: str
    zone: str
    roster_zone: str | None
    enrolled_on: date
    taper_start_on: date | None
    layout: str
    exports: tuple[str, ...]
    damaged: tuple[str, ...]
    sleep_records: int
    sessions: int
    mains: int
    scores: int
    scores_without_log: int
    log_rows: int
    bad_log_rows: int
    no_use_rows: int
    form_rows: int
    missing_log_days: int
    diary_rows: int
    rating_rows: int
    insomnia_rows: int
    every_instrument: bool
    own_phases: bool
    truth: tuple[NightTruth, ...]

    @property
    def repeats(self) -> int:
        """Copies of a log beyond its first."""
        return self.sleep_records - self.sessions


@dataclass(frozen=True)
class DemoFacts:
    """The whole study. `unknown_folder` is a landing folder whose name is not in the roster."""

    root: Path
    start: date
    nights: int
    seed: int
    late_wake_min: int
    late_window_h: int
    withdrawal_peak_min: int
    unknown_folder: str
    canary: str
    people: tuple[PersonFacts, ...]

    def person(self, ref: str) -> PersonFacts:
        """The participant with this ref; KeyError if there is none."""
        for each in self.people:
            if each.ref == ref:
                return each
        raise KeyError(ref)
