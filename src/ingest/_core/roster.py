"""Who takes part: roster.csv, time_zones.csv, phases.csv and consents.csv."""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cache, partial
from pathlib import Path

from ingest._core.clock import zone_exists
from ingest._core.consents import CONSENT_COLUMNS, CONSENT_OPTIONAL, Consent, with_consent
from ingest._core.errors import WrongUse
from ingest._core.files import digest
from ingest._core.phases import PHASE_COLUMNS, PHASE_OPTIONAL, Phase, with_phase

REF = re.compile(r"[A-Za-z0-9_.-]{1,64}")
STUDY_LOGS = "_logs"
NOBODY = "_study"
ERASED = (
    "this participant was erased and is not taken in again; remove the row (whoever joins anew gets another "
    "participant_ref)"
)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TRAVEL = ("participant_ref", "from_local", "time_zone")
_REQUIRED = ("participant_ref",)
_OPTIONAL = (
    "time_zone",
    "enrolled_on",
    "withdrew_on",
    "arm",
    "taper_start_on",
    "day_anchor_hour",
    "free_days",
)


@dataclass(frozen=True)
class RosterEntry:
    """One participant of roster.csv; `time_zone` is None where the study's zone is assumed.

    `free_days` are weekdays, 0 for Monday; empty where the roster does not say. `travel` holds the periods of
    time_zones.csv in order: from this local time on (of the new zone) the participant was in that zone. `phases`
    holds those of phases.csv in order; they share no day. `consents` holds the rows of consents.csv; without any, every
    scope is granted.
    """

    participant_ref: str
    time_zone: str | None = None
    enrolled_on: date | None = None
    withdrew_on: date | None = None
    arm: str | None = None
    taper_start_on: date | None = None
    day_anchor_hour: int = 12
    free_days: tuple[int, ...] = ()
    travel: tuple[tuple[datetime, str], ...] = ()
    phases: tuple[Phase, ...] = ()
    consents: tuple[Consent, ...] = ()

    def hash_part(self) -> str:
        """Hash of all that the marts take from this entry."""
        return digest(
            repr(
                (
                    self.time_zone,
                    self.enrolled_on,
                    self.withdrew_on,
                    self.arm,
                    self.taper_start_on,
                    self.day_anchor_hour,
                    self.free_days,
                    self.travel,
                    self.phases,
                    self.consents,
                )
            )
        )


@dataclass(frozen=True)
class Roster:
    """The usable entries by ref, a line for each row that is not usable, and the refs of those rows.

    What such a participant handed in waits, and what stands of them stays, until the row is put right.
    """

    entries: dict[str, RosterEntry]
    problems: list[str] = field(default_factory=list)
    waiting: frozenset[str] = frozenset()


def load_roster(
    path: Path,
    zones_path: Path | None = None,
    phases_path: Path | None = None,
    consents_path: Path | None = None,
    erased: Callable[[str], bool] = lambda _ref: False,
) -> Roster:
    """roster.csv and, where they are there, time_zones.csv, phases.csv and consents.csv: entries that can be used, and
    a line with file and row number for each row that cannot; raises WrongUse where a file cannot be used at all.

    A participant with a bad row in any of them waits. A ref that was `erased` is not taken in again.
    """
    found = Roster({})
    waiting: set[str] = set()
    for number, row in _rows(path, _REQUIRED, _OPTIONAL):
        try:
            _take_in(found, _entry(row), erased)
        except ValueError as error:
            found.problems.append(f"{path.name} line {number}: {error}")
            waiting.add((row.get("participant_ref") or "").strip())
    for beside, required, optional, change in (
        (zones_path, _TRAVEL, (), _with_travel),
        (phases_path, PHASE_COLUMNS, PHASE_OPTIONAL, _with_phase),
        (consents_path, CONSENT_COLUMNS, CONSENT_OPTIONAL, _with_consent),
    ):
        if beside is None or not beside.exists():
            continue
        for number, row in _rows(beside, required, optional):
            ref = (row.get("participant_ref") or "").strip()
            try:
                _change(found, ref, partial(change, row=row, line=number), waiting)
            except ValueError as error:
                found.problems.append(f"{beside.name} line {number}: {ERASED if erased(ref) else error}")
                waiting.add(ref)
                found.entries.pop(ref, None)
    back = {ref for ref in waiting if erased(ref)}
    return Roster(found.entries, found.problems, frozenset(waiting - found.entries.keys() - back))


def consents_of(entries: Mapping[str, RosterEntry]) -> str:
    """A hash of these participants' consents and withdrawals; empty where all have granted everything."""
    said = {pid: (entry.withdrew_on, entry.consents) for pid, entry in entries.items()}
    narrowed = sorted((pid, of) for pid, of in said.items() if any(of))
    texts = [f"{pid} {withdrew_on} {[(c.scope, c.from_on, c.until_on) for c in consents]}"
             for pid, (withdrew_on, consents) in narrowed]  # fmt: skip
    return digest(*texts)[:32] if texts else ""


def _take_in(found: Roster, entry: RosterEntry, erased: Callable[[str], bool]) -> None:
    if erased(entry.participant_ref):
        raise ValueError(ERASED)
    if entry.participant_ref in found.entries:
        raise ValueError("participant_ref stands twice; keep one row per participant")
    found.entries[entry.participant_ref] = entry


def _change(found: Roster, ref: str, change: Callable[[RosterEntry], RosterEntry], waiting: Collection[str]) -> None:
    if ref in found.entries:
        found.entries[ref] = change(found.entries[ref])
    elif ref not in waiting:
        raise ValueError("participant_ref does not stand in roster.csv; add it there or remove this row")


def _rows(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> list[tuple[int, dict[str, str | None]]]:
    """Rows with their line numbers; raises WrongUse for a file that is missing or no such table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
            header = set(rows[0]) if rows else set()
    except FileNotFoundError as error:
        raise WrongUse(f"{path.name} is missing; it needs the columns participant_ref,time_zone,enrolled_on") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise WrongUse(f"{path.name}: expected a comma-separated table in UTF-8; save it as such") from error
    missing = [column for column in required if rows and column not in header]
    unknown = header - set(required) - set(optional)
    if missing or unknown:
        raise WrongUse(f"{path.name}: {_header_problem(missing, unknown, (*required, *optional))}")
    return list(enumerate(rows, start=2))


def _with_phase(entry: RosterEntry, row: dict[str, str | None], line: int) -> RosterEntry:
    return replace(entry, phases=with_phase(entry.phases, row, line))


def _with_consent(entry: RosterEntry, row: dict[str, str | None], line: int) -> RosterEntry:
    return replace(entry, consents=with_consent(entry.consents, row, line))


def _with_travel(entry: RosterEntry, row: dict[str, str | None], line: int) -> RosterEntry:
    zone_name = (row.get("time_zone") or "").strip()
    if not zone_exists(zone_name):
        raise ValueError(f"time_zone is no IANA zone like Europe/Oslo{_near_zone(zone_name)}")
    try:
        since = datetime.fromisoformat((row.get("from_local") or "").strip())
    except ValueError as error:
        raise ValueError("from_local must be a local time like 2026-03-01T18:30") from error
    if since.tzinfo is not None:
        raise ValueError("from_local must be a local time like 2026-03-01T18:30, without an offset")
    if any(since == other for other, _ in entry.travel):
        raise ValueError("from_local stands twice for this participant; keep one row")
    return replace(entry, travel=tuple(sorted((*entry.travel, (since, zone_name)))))


def _header_problem(missing: list[str], unknown: set[str], known: tuple[str, ...]) -> str:
    words = [f"column {column} is missing" for column in missing]
    for column in sorted(str(name) for name in unknown):
        close = difflib.get_close_matches(column, known, n=1)
        words.append("a column is not known here" + (f", did you mean {close[0]}?" if close else ""))
    return "; ".join(words) + f". Known: {', '.join(known)}"


def _entry(row: dict[str, str | None]) -> RosterEntry:
    cell = {key: (value or "").strip() for key, value in row.items() if key}
    if not REF.fullmatch(cell["participant_ref"]) or set(cell["participant_ref"]) <= {"."}:
        raise ValueError("participant_ref must be 1 to 64 of letters, digits, '_', '.', '-'")
    if cell["participant_ref"] in (STUDY_LOGS, NOBODY):
        raise ValueError(f"participant_ref {STUDY_LOGS} and {NOBODY} are taken; choose another")
    zone_name = cell.get("time_zone") or None
    if zone_name is not None and not zone_exists(zone_name):
        raise ValueError(
            f"time_zone is no IANA zone like Europe/Oslo{_near_zone(zone_name)}; "
            "this participant's files wait until it is put right"
        )
    hour = cell.get("day_anchor_hour") or "12"
    if not hour.isdecimal() or int(hour) > 23:
        raise ValueError("day_anchor_hour must be an hour from 0 to 23")
    return RosterEntry(
        cell["participant_ref"],
        zone_name,
        _day(cell, "enrolled_on"),
        _day(cell, "withdrew_on"),
        cell.get("arm") or None,
        _day(cell, "taper_start_on"),
        int(hour),
        _free_days(cell.get("free_days") or ""),
    )


def _free_days(text: str) -> tuple[int, ...]:
    """Weekdays, 0 for Monday, of a cell like `sat sun`."""
    words = re.split(r"[\s;/+]+", text.lower()) if text else []
    if any(word not in _WEEKDAYS for word in words):
        raise ValueError("free_days must be weekdays like `sat sun`, of mon, tue, wed, thu, fri, sat, sun")
    return tuple(sorted({_WEEKDAYS.index(word) for word in words}))


def _day(cell: dict[str, str], column: str) -> date | None:
    text = cell.get(column)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{column} must be a date like 2026-03-01") from error


def _near_zone(name: str) -> str:
    close = difflib.get_close_matches(name, _zone_names(), n=1, cutoff=0.7)
    return f", did you mean {close[0]}?" if close else ""


@cache
def _zone_names() -> tuple[str, ...]:
    from zoneinfo import available_timezones

    return tuple(sorted(available_timezones()))
