"""Decoded diary nights into the lake's `sleep_diary`: owners, plausibility, ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core import clock
from ingest._core.clock import DAY, HOUR, MINUTE, Micros, to_micros
from ingest.decode.model import ExportFacts, Tally
from ingest.harmonise._codes import Codes
from ingest.harmonise._owners import owners, shares, strangers
from ingest.harmonise._use_losses import row_locator
from ingest.harmonise.person import Person

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
_SEPARATOR = "\x1f"
_DIGITS = 20
_CLOCKS = ("into_bed", "try_to_sleep", "final_wake", "out_of_bed", "intended_wake")
_NIGHT = _CLOCKS[:4]
_SAID = (
    "night_day",
    *(f"{name}_clock" for name in _CLOCKS),
    "sol_min",
    "awakenings",
    "waso_min",
    "quality",
)
_LONG_IN_BED_MIN = 16 * 60
_EARLIEST_US = to_micros(datetime(2000, 1, 1))  # noqa: DTZ001


@dataclass(frozen=True)
class DiaryFacts:
    """Columns a check may look at: the noon at which each night begins and the arrival, instants in µs; minutes from
    the first to the last known time of the night, from trying to sleep to the final awakening, and awake as
    reported (NaN where not known); clocks that stand twice and that never were.
    """

    begins: Micros
    arrived_us: int
    in_bed_min: Floats
    attempt_min: Floats
    awake_min: Floats
    twice: Bools
    never: Bools


@dataclass(frozen=True)
class DiaryCheck:
    """A rule with its bound: `refuse` quarantines the night, `flag` keeps and marks it."""

    name: str
    action: Literal["refuse", "flag"]
    wrong: Callable[[DiaryFacts], Bools]
    expected: str = ""


DIARY_CHECKS: tuple[DiaryCheck, ...] = (
    DiaryCheck(
        "in_the_future",
        "refuse",
        lambda facts: facts.begins > facts.arrived_us + DAY,
        "expected a night that began no later than a day after the diary arrived, got a later one; correct its date",
    ),
    DiaryCheck(
        "before_2000",
        "refuse",
        lambda facts: facts.begins < _EARLIEST_US,
        "expected a night after 1999, got an earlier one; correct its date",
    ),
    DiaryCheck("long_time_in_bed", "flag", lambda facts: facts.in_bed_min > _LONG_IN_BED_MIN),
    DiaryCheck(
        "awake_exceeds_night",
        "flag",
        lambda facts: facts.awake_min > np.fmin(facts.attempt_min, facts.in_bed_min),
    ),
    DiaryCheck("ambiguous_local_time", "flag", lambda facts: facts.twice),
    DiaryCheck("nonexistent_local_time", "flag", lambda facts: facts.never),
)


def harmonise_diaries(
    diaries: pa.Table,
    tally: Tally,
    facts: ExportFacts,
    participants: Mapping[str, Person],
    only: str | None,
) -> dict[str, pa.Table]:
    """`sleep_diary` as in the lake, by participant_id, ordered by night, then as in the file.

    `diaries` has decoded_diary_schema(); `participants` and `only` as in harmonise_uses. Nights that differ though
    they are of one participant and date, in one diary, are all kept and flagged `conflict`.
    """
    people, who = owners(diaries["participant_ref"], participants, only)
    lost: dict[int, tuple[str, str]] = {}
    for rows, reason, detail in strangers(diaries["participant_ref"], who, only):
        lost.update(dict.fromkeys(rows.tolist(), (reason, detail)))
    flags = _check(diaries, people, who, facts, lost)
    source_row, dated = diaries["source_row"].to_pylist(), diaries["date_column"].to_pylist()
    of_dates = {check.name for check in DIARY_CHECKS}
    for at, (reason, detail) in sorted(lost.items()):
        where = row_locator(source_row[at], dated[at] if reason in of_dates else None)
        tally.refuse("diary", where, reason, detail, row=source_row[at])
    kept = np.array([at for at in range(len(who)) if at not in lost], dtype=np.int64)
    if not len(kept):
        return {}
    nights = _days(diaries)
    kept = kept[np.lexsort((kept, nights[kept], who[kept]))]
    rows = _rows(diaries.take(pa.array(kept)), who[kept], people, facts, {w: mask[kept] for w, mask in flags.items()})
    return shares("sleep_diary", rows, who[kept], people, facts)


def _check(
    diaries: pa.Table, people: Sequence[Person], who: Codes, facts: ExportFacts, lost: dict[int, tuple[str, str]]
) -> dict[str, Bools]:
    """Apply DIARY_CHECKS to the rows of people that are known: adds what they refuse to `lost`, gives flags by word."""
    known = np.flatnonzero(who >= 0)
    flags = {check.name: np.zeros(len(who), dtype=np.bool_) for check in DIARY_CHECKS if check.action == "flag"}
    if not len(known):
        return flags
    seen = _facts(diaries.take(pa.array(known)), [people[i] for i in who[known].tolist()], facts)
    for check in DIARY_CHECKS:
        wrong = known[check.wrong(seen)]
        if check.action == "flag":
            flags[check.name][wrong] = True
        else:
            for at in wrong.tolist():
                lost.setdefault(at, (check.name, check.expected))
    return flags


def _facts(diaries: pa.Table, of: Sequence[Person], facts: ExportFacts) -> DiaryFacts:
    """What the checks look at; `of` is each night's participant. Lengths are those of the participant's zone."""
    nights = _days(diaries)
    local, known = {}, {}
    for name in _CLOCKS:
        column = diaries[f"{name}_clock"].combine_chunks()
        known[name] = column.is_valid().to_numpy(zero_copy_only=False)
        local[name] = pc.fill_null(column.view(pa.int64()), 0).to_numpy(zero_copy_only=False)
    utc = {name: np.zeros(len(nights), dtype=np.int64) for name in _CLOCKS}
    special = {name: np.zeros(len(nights), dtype=np.int64) for name in _CLOCKS}
    begins = np.zeros(len(nights), dtype=np.int64)
    names = np.array([person.zone_name for person in of])
    for name in np.unique(names).tolist():
        rows, home = np.flatnonzero(names == name), clock.zone(name)
        begins[rows] = home.to_utc(nights[rows] * DAY + 12 * HOUR)[0]
        for each in _CLOCKS:
            utc[each][rows], _, special[each][rows] = home.to_utc(local[each][rows])
    first = np.min([np.where(known[each], utc[each], np.iinfo(np.int64).max) for each in _NIGHT], axis=0)
    last = np.max([np.where(known[each], utc[each], np.iinfo(np.int64).min) for each in _NIGHT], axis=0)
    some = np.sum([known[each] for each in _NIGHT], axis=0) > 1
    attempt = known["try_to_sleep"] & known["final_wake"]
    sol, waso = (_numbers(diaries[name]) for name in ("sol_min", "waso_min"))
    return DiaryFacts(
        begins=begins,
        arrived_us=to_micros(facts.arrived_at),
        in_bed_min=np.where(some, np.where(some, last, 0) - np.where(some, first, 0), np.nan) / MINUTE,
        attempt_min=np.where(attempt, utc["final_wake"] - utc["try_to_sleep"], np.nan) / MINUTE,
        awake_min=np.where(np.isnan(sol) & np.isnan(waso), np.nan, np.nan_to_num(sol) + np.nan_to_num(waso)),
        twice=np.any([known[each] & (special[each] > 0) for each in _CLOCKS], axis=0),
        never=np.any([known[each] & (special[each] < 0) for each in _CLOCKS], axis=0),
    )


def _days(diaries: pa.Table) -> Codes:
    days: Codes = diaries["night_day"].combine_chunks().cast(pa.int32()).to_numpy().astype(np.int64)
    return days


def _numbers(column: pa.ChunkedArray) -> Floats:
    values: Floats = pc.fill_null(column.combine_chunks(), np.nan).to_numpy(zero_copy_only=False)
    return values


def _rows(
    diaries: pa.Table, who: Codes, people: Sequence[Person], facts: ExportFacts, flags: Mapping[str, Bools]
) -> pa.Table:
    """The columns of sleep_diary that are not the same in all rows of a participant."""
    owner, secrets = ([getattr(people[i], name) for i in who.tolist()] for name in ("participant_id", "secret"))
    nights = diaries["night_day"].cast(pa.string()).to_pylist()
    instruments = diaries["instrument"].to_pylist()
    said = pc.binary_join_element_wise(*(_as_text(diaries[name]) for name in _SAID), _SEPARATOR).to_pylist()
    flags = {**flags, "conflict": _conflicts(list(zip(owner, nights, instruments, strict=True)), said)}
    # A night that another row contradicts says less than the same night alone: they are different versions.
    contents = [f"{text}{_SEPARATOR}{here}" for text, here in zip(said, flags["conflict"].tolist(), strict=True)]
    return pa.table({
        "diary_id": _ids(secrets, facts.source, instruments, diaries["record_id"].to_pylist(), nights),
        "night_date": diaries["night_day"],
        **{f"{name}_local": diaries[f"{name}_clock"] for name in _CLOCKS},
        **{name: diaries[name] for name in ("sol_min", "awakenings", "waso_min", "quality", "instrument")},
        "content_hash": [_hash(text) for text in contents],
        "flags": _flag_words(diaries["flags"].to_pylist(), flags),
        "source_row": diaries["source_row"],
    })  # fmt: skip


def _conflicts(nights: Sequence[tuple[str, str, str]], said: Sequence[str]) -> Bools:
    """Which rows another row of the same night and diary contradicts."""
    answers = defaultdict(set)
    for night, text in zip(nights, said, strict=True):
        answers[night].add(text)
    return np.array([len(answers[night]) > 1 for night in nights], dtype=np.bool_)


def _ids(
    owner: Sequence[str], source: str, instruments: Sequence[str], own: Sequence[str | None], nights: Sequence[str]
) -> list[str]:
    """Hash of the participant's secret, source, instrument and the row's own id, or the night; rows that agree in all
    of it are told apart by their order in the file.
    """
    count: dict[str, int] = defaultdict(int)
    ids = []
    for person, instrument, record_id, night in zip(owner, instruments, own, nights, strict=True):
        kind, record = ("night", night) if record_id is None else ("id", record_id)
        key = _SEPARATOR.join((person, source, instrument, kind, record))
        ids.append(_hash(f"{key}{_SEPARATOR}{count[key]}" if count[key] else key))
        count[key] += 1
    return ids


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_DIGITS]


def _flag_words(stated: Sequence[str | None], flags: Mapping[str, Bools]) -> pa.Array:
    """The decoder's flags and the words whose mask is set: sorted, joined by commas; NULL where there is none."""
    found = [{*(words or "").split(",")} - {""} for words in stated]
    for word, mask in flags.items():
        for at in np.flatnonzero(mask).tolist():
            found[at].add(word)
    return pa.array([",".join(sorted(words)) or None for words in found], pa.string())


def _as_text(column: pa.ChunkedArray) -> pa.Array:
    return pc.fill_null(column.combine_chunks().cast(pa.string()), "")
