"""From current sessions to nights: source, merging, night date, main sleep, naps (decided rules 1 to 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest._core.clock import DAY, HOUR, MINUTE, night_day, zone
from ingest._core.settings import Nights
from ingest.mart.person import PersonSettings
from ingest.mart.session_versions import micros

Ints = NDArray[np.int64]
NOON = 12


@dataclass
class Record:
    """One or more sessions of one source, merged where the gap between them is short.

    `rows` are positions in the table of current sessions. Instants in µs; `onset` and `final_wake` are those
    of the first and last sleep stretch, else the record's own ends. `tst` is -1 where it is not known.
    """

    rows: list[int]
    start: int
    end: int
    onset: int
    final_wake: int
    tst: int
    source: str
    staged: bool
    main_reported: bool
    nap_reported: bool
    not_main_reported: bool
    night: int = 0
    role: str = ""
    reason: str = ""
    flags: set[str] = field(default_factory=set)

    @property
    def length(self) -> int:
        """Elapsed µs."""
        return self.end - self.start


@dataclass
class Sessions:
    """Current sessions of one participant as plain columns, ordered by start."""

    ids: list[str]
    source: list[str]
    start: Ints
    end: Ints
    onset: Ints
    final_wake: Ints
    measured: NDArray[np.bool_]
    staged: NDArray[np.bool_]
    detail: list[str]
    tst: Ints
    main: list[bool | None]
    nap: list[bool | None]
    offset: Ints
    by_zone: NDArray[np.bool_]


def sessions_of(table: pa.Table, onset: Ints, final_wake: Ints, tst: Ints, measured: NDArray[np.bool_]) -> Sessions:
    """Columns of a participant's current sessions; the arrays hold what was measured of each."""
    start, end = micros(table["start_utc"]), micros(table["end_utc"])
    detail = table["detail"].to_pylist()
    vendor = np.array([-1 if v is None else round(v * MINUTE) for v in table["vendor_tst_min"].to_pylist()])
    has_stages = np.array([word in ("stages", "asleep_awake") for word in detail], dtype=bool)
    return Sessions(
        table["session_id"].to_pylist(),
        table["source"].to_pylist(),
        start,
        end,
        np.where(measured, onset, start),
        np.where(measured, final_wake, end),
        measured,
        np.array([word == "stages" for word in detail], dtype=bool),
        detail,
        np.where(has_stages, tst, vendor).astype(np.int64),
        table["is_main_reported"].to_pylist(),
        table["is_nap_reported"].to_pylist(),
        np.array([value or 0 for value in table["utc_offset_min"].to_pylist()], dtype=np.int64) * MINUTE,
        np.array([word in ("roster", "assumed") for word in table["time_basis"].to_pylist()], dtype=bool),
    )


def local_of(sessions: Sessions, row: int, instant: int, person: PersonSettings) -> int:
    """Local clock of an instant of a session: by the participant's zone, or by the offset its export states."""
    if sessions.by_zone[row]:
        return int(zone(person.zone_name).to_local(np.array([instant]))[0])
    return instant + int(sessions.offset[row])


def locals_of(sessions: Sessions, rows: list[int], instants: Ints, person: PersonSettings) -> Ints:
    """`local_of` for many sessions at once."""
    by_zone = zone(person.zone_name).to_local(instants)
    return np.where(sessions.by_zone[rows], by_zone, instants + sessions.offset[rows])


def choose(sessions: Sessions, person: PersonSettings, settings: Nights, priority: list[str]) -> list[Record]:
    """Every session in exactly one record, each with its night date (days since 1970), role and reason.

    At most one record of a night date has the role `main`. Sessions that a measured record shows to hold no
    sleep at all are `rejected`. Sources never add up: the primary source's records come first, another source
    only fills a night date that the primary lacks, flagged `source_switch`.
    """
    primary = _primary(sessions, priority)
    records = _records(sessions, settings)
    onset = np.array([record.onset for record in records], dtype=np.int64)
    local = locals_of(sessions, [record.rows[0] for record in records], onset, person)
    for record, night in zip(records, night_day(local, person.day_anchor_hour).tolist(), strict=True):
        record.night = night
    asleep = []
    for record in records:
        if record.tst == 0:
            record.role, record.reason = "rejected", "no_sleep_in_record"
        else:
            asleep.append(record)
    chosen = [r for r in asleep if r.source == primary]
    for record in asleep:
        if record.source != primary:
            _admit(record, chosen)
    by_night: dict[int, list[Record]] = {}
    for record in asleep:
        if not record.role:
            by_night.setdefault(record.night, []).append(record)
    for group in by_night.values():
        _roles(group, sessions, person, settings)
    return records


def _primary(sessions: Sessions, priority: list[str]) -> str | None:
    """The study's first source that is there, else the one with most staged sessions, then by name."""
    present = sorted(set(sessions.source))
    listed = [source for source in priority if source in present]
    if listed:
        return listed[0]
    staged = dict.fromkeys(present, 0)
    for source, is_staged in zip(sessions.source, sessions.staged, strict=True):
        staged[source] += bool(is_staged)
    return min(present, key=lambda source: (-staged[source], source), default=None)


def _records(sessions: Sessions, settings: Nights) -> list[Record]:
    gap = settings.merge_gap_min * MINUTE
    last: dict[str, Record] = {}
    records = []
    for i, source in enumerate(sessions.source):
        before = last.get(source)
        # A session without any sleep is no part of a split sleep.
        if before is not None and sessions.start[i] - before.end <= gap and before.tst and sessions.tst[i]:
            _extend(before, sessions, i)
        else:
            last[source] = _record(sessions, i)
            records.append(last[source])
    return records


def _record(sessions: Sessions, i: int) -> Record:
    return Record(
        [i], int(sessions.start[i]), int(sessions.end[i]), int(sessions.onset[i]), int(sessions.final_wake[i]),
        int(sessions.tst[i]), sessions.source[i], bool(sessions.staged[i]), sessions.main[i] is True,
        sessions.nap[i] is True, sessions.main[i] is False,
    )  # fmt: skip


def _extend(record: Record, sessions: Sessions, i: int) -> None:
    record.rows.append(i)
    record.end = int(sessions.end[i])
    record.final_wake = int(sessions.final_wake[i])
    tst = int(sessions.tst[i])
    record.tst = record.tst + tst if record.tst >= 0 and tst >= 0 else -1
    record.staged &= bool(sessions.staged[i])
    record.main_reported |= sessions.main[i] is True
    record.nap_reported &= sessions.nap[i] is True
    record.not_main_reported &= sessions.main[i] is False
    record.flags.add("merged")


def _admit(record: Record, chosen: list[Record]) -> None:
    """Let a record of a secondary source stand only where no chosen record overlaps it or holds its night."""
    rival = [r for r in chosen if r.night == record.night or (r.start < record.end and record.start < r.end)]
    if rival:
        record.role, record.reason = "other_device", "the primary source has this night"
    else:
        record.flags.add("source_switch")
        chosen.append(record)


def _roles(group: list[Record], sessions: Sessions, person: PersonSettings, settings: Nights) -> None:
    nights = []
    for record in group:
        if record.nap_reported:
            record.role, record.reason = "nap", "the vendor says so"
        elif _like_a_nap(record, sessions, person, settings):
            record.role, record.reason = "nap", "short and by day"
        else:
            nights.append(record)
    nights.sort(key=lambda r: (not r.main_reported, not r.staged, -r.length, r.onset))
    for place, record in enumerate(nights):
        if place == 0:
            record.role = "main"
            record.reason = "the vendor's main sleep" if record.main_reported else "longest of the night date"
            if record.not_main_reported:
                record.flags.add("vendor_not_main")
        elif record.not_main_reported:
            record.role, record.reason = "nap", "the vendor's main sleep is another one"
        else:
            record.role, record.reason = "extra_main", "a longer main sleep has this night date"
            nights[0].flags.add("extra_main")


def _like_a_nap(record: Record, sessions: Sessions, person: PersonSettings, settings: Nights) -> bool:
    if record.length >= settings.nap_max_h * HOUR:
        return False
    shift = (person.day_anchor_hour - NOON) * HOUR
    begin = local_of(sessions, record.rows[0], record.start, person) - shift
    finish = begin + record.length
    day = begin - begin % DAY
    low, high = (day + (at.hour * 60 + at.minute) * MINUTE for at in (settings.nap_from, settings.nap_to))
    return low <= begin and finish <= high
