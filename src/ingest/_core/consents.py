"""consents.csv: what a participant agreed to, scope by scope, and from when until when."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ingest._core.clock import day_number

CONSENT_COLUMNS = ("participant_ref", "scope")
CONSENT_OPTIONAL = ("from_on", "until_on")
SCOPES = ("sleep", "substance_use", "scales", "release")
NOTHING = "none"
"""Scope of a row that grants nothing: it stands for who agreed to no scope at all."""


@dataclass(frozen=True)
class Consent:
    """A scope granted from `from_on` to `until_on`, both days in it; open where one is None. `line`: where it was
    read.
    """

    scope: str
    from_on: date | None = None
    until_on: date | None = None
    line: int = field(default=0, compare=False, repr=False)

    def holds(self, scope: str, day: date) -> bool:
        """True if it grants the scope on this day."""
        return self.scope == scope and (self.from_on or day) <= day <= (self.until_on or day)

    def meets(self, other: Consent) -> bool:
        """True if both are about one scope and have a day in common."""
        first, second = sorted((self, other), key=lambda each: each.from_on or date.min)
        return self.scope == other.scope and (first.until_on or date.max) >= (second.from_on or date.min)


def with_consent(known: tuple[Consent, ...], row: Mapping[str, str | None], line: int) -> tuple[Consent, ...]:
    """`known` and the consent of a row of consents.csv, in order; raises ValueError saying what is wrong with it."""
    cell = {key: (value or "").strip() for key, value in row.items() if key}
    scope = cell["scope"]
    if scope not in (*SCOPES, NOTHING):
        close = difflib.get_close_matches(scope, (*SCOPES, NOTHING), n=1)
        meant = f", did you mean {close[0]}?" if close else ""
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, or {NOTHING}{meant}")
    new = Consent(scope, _day("from_on", cell.get("from_on", "")), _day("until_on", cell.get("until_on", "")), line)
    if new.from_on and new.until_on and new.until_on < new.from_on:
        raise ValueError("until_on lies before from_on; both are days on which the scope is granted")
    if scope == NOTHING and (new.from_on or new.until_on):
        raise ValueError(f"the scope {NOTHING} takes no dates; give the dates of the scopes that are granted instead")
    for other in known:
        if (other.scope == NOTHING) != (scope == NOTHING):
            raise ValueError(f"line {other.line} and this one contradict each other: {NOTHING} stands alone")
        if new.meets(other):
            raise ValueError(f"shares a day with line {other.line} of the same scope; put either line right")
    return tuple(sorted((*known, new), key=lambda each: (each.scope, each.from_on or date.min)))


def is_granted(consents: Iterable[Consent], withdrew_on: date | None, scope: str, day: date) -> bool:
    """True if the scope is granted on this day: always without rows in consents.csv, never from the withdrawal on."""
    mine = tuple(consents)
    granted = not mine or any(each.holds(scope, day) for each in mine)
    return granted and (withdrew_on is None or day < withdrew_on)


def granted_days(
    consents: Iterable[Consent], withdrew_on: date | None, scope: str, days: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The same for many days, given in days since 1970."""
    mine = tuple(consents)
    found = np.full(len(days), not mine)
    for each in mine:
        if each.scope == scope:
            begun = days >= day_number(each.from_on) if each.from_on else True
            found |= begun & (days <= day_number(each.until_on) if each.until_on else True)
    return found & (days < day_number(withdrew_on)) if withdrew_on else found


def _day(column: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ValueError(f"{column} must be a date like 2026-03-01") from error
