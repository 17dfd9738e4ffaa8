"""What the marts know of a participant besides the rows of the lake."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ingest._core.consents import Consent
from ingest._core.phases import Phase


@dataclass(frozen=True)
class PersonSettings:
    """One participant's roster entry, as the marts use it.

    `zone_name` is the IANA zone of the participant's home; `time_basis` says how it is known (`roster` or
    `assumed`). `day_anchor_hour` is the local hour at which a night date begins (12: noon to noon). `free_days`
    are weekdays, 0 for Monday, on which the participant is free of work; empty where the roster does not say.
    `phases` are those of phases.csv, by start; empty where it has none.
    `consents` are the rows of consents.csv; without any, every scope is granted.
    """

    participant_id: str
    zone_name: str
    enrolled_on: date | None = None
    withdrew_on: date | None = None
    taper_start_on: date | None = None
    day_anchor_hour: int = 12
    time_basis: str = "roster"
    free_days: frozenset[int] = frozenset()
    phases: tuple[Phase, ...] = ()
    consents: tuple[Consent, ...] = ()
