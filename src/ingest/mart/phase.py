"""The table `phase`: in which part of the study a participant was, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import reduce

import numpy as np
import pyarrow as pa

from ingest._core.clock import day_number, zone
from ingest._core.contract import arrow_schema
from ingest._core.phases import Phase
from ingest._core.settings import Settings
from ingest.mart._log import Codes, Log, LogTable, Mask
from ingest.mart._windows import Days
from ingest.mart.person import PersonSettings

BASELINE, TAPER, ABSTINENCE = "baseline", "taper", "abstinence"
ByParticipant = Mapping[str, tuple[Phase, ...]]
_EPOCH = date(1970, 1, 1)
_OPEN = day_number(date.max)
Registry = Mapping[str, tuple[str, str]]
_Span = tuple[int, int]


def phases(
    uses: pa.Table,
    people: Mapping[str, PersonSettings],
    settings: Settings,
    registry: Registry | None = None,
) -> dict[str, tuple[Phase, ...]]:
    """The phases of each participant of `people`, by start; no day is in two of them, some may be in none.

    Who has rows in phases.csv has those and no others. For everybody else: `baseline` from enrolled_on to the day
    before taper_start_on, `taper` from there on, and `abstinence` in their place from the day after the first
    `dose_free_days` reported dose-free days in a row to the day before the next use. Without taper_start_on there is
    neither baseline nor taper, without enrolled_on no baseline; nothing derived begins before enrolled_on or ends
    after withdrew_on. A day is dose-free when each substance that is tapered has the log_status `none_reported` for
    it; one without such a report breaks the row of days but not an abstinence that has begun.

    `uses` holds the current rows of substance_use; `registry` gives the class of substances (decided rule 6 says
    which exposure day a use belongs to).
    """
    table = LogTable(uses)
    found = {}
    for participant_id in sorted(people):
        person = people[participant_id]
        if person.phases:
            found[participant_id] = person.phases
            continue
        log = table.of(participant_id, zone(person.zone_name), settings.exposure.day_start_hour)
        free, used = _reported(table, log, settings, registry or {})
        abstinent = _abstinences(free, used, settings.phases.dose_free_days)
        found[participant_id] = _derived(person, abstinent)
    return found


def phase_rows(found: ByParticipant, people: Mapping[str, PersonSettings]) -> pa.Table:
    """Rows of schema phase, sorted by its key."""
    rows = [
        {
            "participant_id": participant_id,
            "phase": each.name,
            "start_on": each.start_on,
            "end_on": each.end_on,
            "source": "roster" if people[participant_id].phases else "derived",
        }
        for participant_id in sorted(found)
        for each in found[participant_id]
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema("phase"))


def phase_of(days: Codes, phases_of_one: tuple[Phase, ...]) -> Codes:
    """For each of `days`, in days since 1970, the index of the phase it is in; -1 where it is in none."""
    index = np.full(len(days), -1, dtype=np.int64)
    for i, each in enumerate(phases_of_one):
        first, last = _span(each.start_on, each.end_on)
        index[(first <= days) & (days <= last)] = i
    return index


def _reported(table: LogTable, log: Log, settings: Settings, registry: Registry) -> tuple[Codes, Codes]:
    """Days that are dose-free by report, and days with a use of what is tapered; sorted days since 1970."""
    rows = {table.substances.names[code]: log.substance == code for code in np.unique(log.substance)}
    own = {name: registry[name][0] if name in registry else _class_of(table, log, here) for name, here in rows.items()}
    asked, ending = _tapered(own, settings, registry)
    nowhere: Mask = np.zeros(len(log.day), dtype=bool)
    days = [Days.of(log, rows.get(name, nowhere), settings.exposure.logged_by == "any") for name in asked]
    used = [np.zeros(0, dtype=np.int64), *(log.day[rows[name] & ~log.no_use] for name in ending)]
    every_use = np.unique(np.concatenate(used))
    free = [np.setdiff1d(each.good, each.used) for each in days]
    return np.setdiff1d(reduce(np.intersect1d, free), every_use) if free else every_use[:0], every_use


def _tapered(own: Mapping[str, str], settings: Settings, registry: Registry) -> tuple[list[str], list[str]]:
    """Which substances must all be reported free, and the uses of which end an abstinence.

    `own` has the class of each substance the participant logged. What a study lists in `exposure.substances` is
    asked of everybody, so it must be answered; without such a list it is what the participant logs.
    """
    rule = settings.phases
    if rule.substances:
        return rule.substances, [name for name in own if name in rule.substances]
    ending = [name for name, its_class in own.items() if its_class in rule.classes]
    known = {**own, **{code: its_class for code, (its_class, _) in registry.items()}}
    listed = [name for name in settings.exposure.substances if known.get(name) in rule.classes]
    return listed or ending, ending


def _class_of(table: LogTable, log: Log, here: Mask) -> str:
    its_class: str = table.classes.names[log.substance_class[here].max()]
    return its_class


def _abstinences(free: Codes, used: Codes, dose_free_days: int) -> list[_Span]:
    """First and last days of abstinence, in order, the last day _OPEN where no use followed."""
    found: list[_Span] = []
    for row in np.split(free, np.flatnonzero(np.diff(free) > 1) + 1):
        if len(row) < dose_free_days:
            continue
        first = int(row[0]) + dose_free_days
        later = used[np.searchsorted(used, first) :]
        last = int(later[0]) - 1 if len(later) else _OPEN
        if first <= last and (not found or found[-1][1] < first):
            found.append((first, last))
    return found


def _derived(person: PersonSettings, abstinent: Iterable[_Span]) -> tuple[Phase, ...]:
    planned: list[tuple[str, _Span]] = []
    if person.taper_start_on:
        taper = day_number(person.taper_start_on)
        if person.enrolled_on:
            planned.append((BASELINE, (day_number(person.enrolled_on), taper - 1)))
        planned.append((TAPER, (taper, _OPEN)))
    begin = day_number(person.enrolled_on or date.min)
    end = day_number(person.withdrew_on) if person.withdrew_on else _OPEN
    for first, last in abstinent:
        planned = [(name, piece) for name, span in planned for piece in _without(span, (first, last))]
        planned.append((ABSTINENCE, (first, last)))
    cut = [(name, max(first, begin), min(last, end)) for name, (first, last) in planned]
    return tuple(Phase(name, _date(first), None if last == _OPEN else _date(last))
                 for name, first, last in sorted(cut, key=lambda each: each[1]) if first <= last)  # fmt: skip


def _without(span: _Span, hole: _Span) -> list[_Span]:
    """What is left of `span` once the days of `hole` are taken out, in one or two pieces."""
    if hole[1] < span[0] or span[1] < hole[0]:
        return [span]
    return [piece for piece in ((span[0], hole[0] - 1), (hole[1] + 1, span[1])) if piece[0] <= piece[1]]


def _span(start_on: date, end_on: date | None) -> _Span:
    return day_number(start_on), _OPEN if end_on is None else day_number(end_on)


def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)
