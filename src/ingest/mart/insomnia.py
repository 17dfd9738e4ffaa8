"""Insomnia symptoms over time (decided rules 9 to 11): nights by a preset, blocks of seven nights, their states.

A monitoring aid, not a diagnosis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from ingest._core.contract import arrow_schema
from ingest._core.settings_insomnia import Insomnia
from ingest.mart.person import PersonSettings
from ingest.mart.sql import run_sql

BLOCK_NIGHTS = 7
POSITIVE, NEGATIVE, INSUFFICIENT = "positive", "negative", "insufficient"
NONE, PENDING, EPISODE, PERSISTENT, REMITTED, UNKNOWN = (
    "none", "pending", "episode", "persistent", "remitted", "unknown"
)  # fmt: skip
_KEY = ["participant_id", "night_date"]
_OF_DEVICE = [*_KEY, "sol_min", "waso_min", "waso_long_min", "se_tib_pct"]
_OF_DIARY = [*_KEY, "sol_min", "waso_min", "early_wake_min", "se_tib_pct"]
_BLOCK = timedelta(days=BLOCK_NIGHTS)
_NIGHT = timedelta(days=1)


@dataclass(frozen=True)
class State:
    """Where a participant stands after a block.

    `run_bad` counts the positive blocks since the state left `none` or `remitted`, `episode_no` the episodes so far;
    `good` the negative blocks since the last positive one, `silent` the insufficient blocks in a row.
    """

    name: str = NONE
    run_bad: int = 0
    episode_no: int = 0
    good: int = 0
    silent: int = 0


def insomnia_night(night: pa.Table, night_diary: pa.Table, settings: Insomnia) -> pa.Table:
    """Rows of schema insomnia_night, sorted by its key; what a row is stands in insomnia_night.sql."""
    chosen = {"diary": settings.diary, "wearable": settings.wearable, **settings.criteria()}
    tables = {"night": night.select(_OF_DEVICE), "night_diary": night_diary.select(_OF_DIARY)}
    return run_sql("insomnia_night", tables, chosen)


def insomnia_week(
    nights: pa.Table, people: Mapping[str, PersonSettings], settings: Insomnia, last_seen: Mapping[str, date]
) -> pa.Table:
    """Rows of schema insomnia_week, sorted by its key.

    `nights` are rows of insomnia_night, `last_seen` the last date that the exports of each participant cover. Blocks
    are seven night dates each from enrolled_on on; there is a row for each that has ended: a night of its last date
    or of a later one is there, or an export covers a later date. None goes beyond withdrew_on. No rows for who has no
    enrolled_on, nor on a basis on which there is no night at all.
    """
    rows: list[dict[str, Any]] = []
    judged = _by_participant(nights)
    for participant_id in sorted(judged.keys() & people.keys()):
        person = people[participant_id]
        if person.enrolled_on is None:
            continue
        of_one = judged[participant_id]
        ends = [max(found) for found in of_one.values()]
        if participant_id in last_seen:
            ends.append(last_seen[participant_id] - _NIGHT)
        end = min(max(ends), person.withdrew_on or date.max)
        for basis in sorted(of_one):
            blocks = list(_blocks(of_one[basis], person.enrolled_on, end))
            rows += _rows(person, basis, blocks, settings)
    return pa.Table.from_pylist(rows, schema=arrow_schema("insomnia_week"))


def week_class(block: Sequence[bool | None], bad_nights: int) -> str:
    """Class of the nights of a block (decided rule 10); a night of None, or one that is not there, is not known."""
    bad = sum(night is True for night in block)
    missing = BLOCK_NIGHTS - sum(night is not None for night in block)
    if len(block) == BLOCK_NIGHTS and bad >= bad_nights:
        return POSITIVE
    return NEGATIVE if bad + missing < bad_nights else INSUFFICIENT


def states(classes: Iterable[str], settings: Insomnia) -> Iterator[State]:
    """The state after each block (decided rule 11)."""
    state = State()
    for each in classes:
        state = {POSITIVE: _positive, NEGATIVE: _negative, INSUFFICIENT: _insufficient}[each](state, settings)
        yield state


def _positive(state: State, settings: Insomnia) -> State:
    run = state.run_bad + 1 if state.name in (PENDING, EPISODE, PERSISTENT) else 1
    new = replace(state, run_bad=run, good=0, silent=0)
    if state.name in (EPISODE, PERSISTENT):
        return replace(new, name=PERSISTENT if run >= settings.persistent_blocks else state.name)
    if run < settings.onset_blocks:
        return replace(new, name=PENDING)
    name = PERSISTENT if run >= settings.persistent_blocks else EPISODE
    return replace(new, name=name, episode_no=state.episode_no + 1)


def _negative(state: State, settings: Insomnia) -> State:
    new = replace(state, good=state.good + 1, silent=0)
    if state.name in (EPISODE, PERSISTENT):
        over = new.good >= settings.remission_blocks
        return replace(new, name=REMITTED, run_bad=0) if over else new
    return replace(new, name=NONE if state.name in (PENDING, UNKNOWN) else state.name, run_bad=0)


def _insufficient(state: State, settings: Insomnia) -> State:
    silent = state.silent + 1
    if silent > settings.max_insufficient_run:
        return State(UNKNOWN, episode_no=state.episode_no, silent=silent)
    return replace(state, silent=silent)


def _by_participant(nights: pa.Table) -> dict[str, dict[str, dict[date, bool | None]]]:
    """is_bad by participant, basis and night date."""
    found: dict[str, dict[str, dict[date, bool | None]]] = {}
    columns = (nights[name].to_pylist() for name in ("participant_id", "basis", "night_date", "is_bad"))
    for participant_id, basis, night_date, is_bad in zip(*columns, strict=True):
        found.setdefault(participant_id, {}).setdefault(basis, {})[night_date] = is_bad
    return found


def _blocks(
    judged: Mapping[date, bool | None], enrolled_on: date, end: date
) -> Iterator[tuple[date, list[bool | None]]]:
    """First date and nights of each block that has ended by `end`, the last night date that can be known."""
    start = enrolled_on
    while start + _BLOCK - _NIGHT <= end:
        yield start, [judged.get(start + i * _NIGHT) for i in range(BLOCK_NIGHTS)]
        start += _BLOCK


def _rows(
    person: PersonSettings, basis: str, blocks: Sequence[tuple[date, Sequence[bool | None]]], settings: Insomnia
) -> Iterator[dict[str, Any]]:
    classes = [week_class(nights, settings.bad_nights) for _, nights in blocks]
    before, detected_on = State(), None
    for number, ((start, nights), state) in enumerate(zip(blocks, states(classes, settings), strict=True)):
        if (state.name, state.episode_no) != (before.name, before.episode_no):
            detected_on = start + _BLOCK - _NIGHT
        before = state
        taper = person.taper_start_on
        yield {
            "participant_id": person.participant_id,
            "basis": basis,
            "block_start": start,
            "block": number,
            "valid_nights": sum(night is not None for night in nights),
            "bad_nights": sum(night is True for night in nights),
            "week_class": classes[number],
            "state": state.name,
            "run_bad": state.run_bad,
            "episode_no": state.episode_no,
            "detected_on": detected_on,
            "taper_week": None if taper is None else (start - taper).days // BLOCK_NIGHTS,
        }
