"""phases.csv: the phases of a participant as the study lays them down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

PHASE_COLUMNS = ("participant_ref", "phase", "start_on")
PHASE_OPTIONAL = ("end_on",)
_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class Phase:
    """A phase from `start_on` to `end_on`, both days in it; open where `end_on` is None. `line`: where it was read."""

    name: str
    start_on: date
    end_on: date | None
    line: int = field(default=0, compare=False, repr=False)

    def meets(self, other: Phase) -> bool:
        """True if the two have a day in common."""
        first, second = sorted((self, other), key=lambda each: each.start_on)
        return first.end_on is None or second.start_on <= first.end_on


def with_phase(known: tuple[Phase, ...], row: Mapping[str, str | None], line: int) -> tuple[Phase, ...]:
    """`known` and the phase of a row of phases.csv, by start; raises ValueError saying what is wrong with the row."""
    cell = {key: (value or "").strip() for key, value in row.items() if key}
    if not _NAME.fullmatch(cell["phase"]):
        raise ValueError("phase must be a name like `taper`: small letters, digits and `_`")
    start_on = _day("start_on", cell["start_on"])
    if start_on is None:
        raise ValueError("start_on is empty; write the first day of the phase, like 2026-03-01")
    new = Phase(cell["phase"], start_on, _day("end_on", cell.get("end_on", "")), line)
    if new.end_on is not None and new.end_on < start_on:
        raise ValueError("end_on lies before start_on; both are days of the phase")
    for other in known:
        if new.meets(other):
            raise ValueError(
                f"the phase shares a day with that of line {other.line}; an end_on is the last day of its phase, "
                "without one the phase never ends: put either line right"
            )
    return tuple(sorted((*known, new), key=lambda each: each.start_on))


def _day(column: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ValueError(f"{column} must be a date like 2026-03-01") from error
