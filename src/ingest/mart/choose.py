"""From current sessions to nights: source, merging, night date, main sleep, naps (decided rules 1 to 4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np

from ingest._core.clock import DAY, HOUR, MINUTE, day_number, night_day
from ingest._core.settings import Nights, Settings
from ingest.mart.hubs import hub_copies
from ingest.mart.person import PersonSettings
from ingest.mart.records import MEASURED, REJECTED, Record, Sessions, locals_of
from ingest.mart.streams import Holds, Stream, ranked

NOON = 12


def choose(sessions: Sessions, person: PersonSettings, settings: Settings) -> list[Record]:
    """Every session in exactly one record, each with its night date (days since 1970), role and reason.

    At most one record of a night date has the role `main`. Sessions that are no sleep are `rejected`, records
    that came from another stream through a health hub are `hub_copy`. Streams never add up: the primary one's
    records come first, another stream only fills a night date that those before it lack, flagged
    `source_switch`. Time in bed without any sleep measured gives way to all that is more.
    """
    records = _records(sessions, settings.nights)
    _date(records, sessions, person, settings)
    open_ = [record for record in records if not record.role]
    order = ranked(_holds(open_), settings.source_priority)
    for record in _admitted(open_, order, settings.nights):
        if record.stream != order[0]:
            record.flags.add("source_switch")
    by_night: dict[int, list[Record]] = {}
    for record in open_:
        if not record.role:
            by_night.setdefault(record.night, []).append(record)
    for group in by_night.values():
        _roles(group, order[0], settings.nights)
    return records


def _records(sessions: Sessions, settings: Nights) -> list[Record]:
    """Sessions that cannot be part of a night each in a record with its role; the others merged by stream."""
    gap = settings.merge_gap_min * MINUTE
    copies = hub_copies(sessions.stream, sessions.start, sessions.end, sessions.staged, sessions.in_bed_only)
    last: dict[Stream, Record] = {}
    records = []
    columns = zip(sessions.stream, sessions.start.tolist(), sessions.end.tolist(), sessions.in_bed_only.tolist(),
                  sessions.nap, sessions.no_sleep, strict=True)  # fmt: skip
    for i, (stream, start, end, in_bed_only, nap, no_sleep) in enumerate(columns):
        before = None if no_sleep or i in copies else last.get(stream)
        # What the vendor calls a nap, and time in bed without sleep, is no part of a split sleep.
        alike = before is not None and (before.in_bed_only, before.nap_reported) == (in_bed_only, nap is True)
        if before is not None and alike and 0 <= start - before.end <= gap:
            _extend(before, sessions, i)
            continue
        record = _record(sessions, i, start, end)
        records.append(record)
        if i in copies:
            record.role, record.reason = "hub_copy", f"the same bedtime as that of {sessions.stream[copies[i]]}"
        if no_sleep and (i not in copies or no_sleep in REJECTED.values()):
            record.role, record.reason = "rejected", no_sleep
        if not record.role:
            last[stream] = record
    return records


def _record(sessions: Sessions, i: int, start: int, end: int) -> Record:
    return Record(
        [i], start, end, int(sessions.onset[i]), int(sessions.final_wake[i]), int(sessions.tst[i]),
        sessions.stream[i], bool(sessions.staged[i]), sessions.detail[i] in MEASURED,
        bool(sessions.in_bed_only[i]), sessions.main[i] is True, sessions.nap[i] is True, sessions.main[i] is False,
    )  # fmt: skip


def _extend(record: Record, sessions: Sessions, i: int) -> None:
    record.rows.append(i)
    record.end = int(sessions.end[i])
    record.final_wake = int(sessions.final_wake[i])
    tst = int(sessions.tst[i])
    record.tst = record.tst + tst if record.tst >= 0 and tst >= 0 else -1
    record.staged &= bool(sessions.staged[i])
    record.measured &= sessions.detail[i] in MEASURED
    record.main_reported |= sessions.main[i] is True
    record.not_main_reported &= sessions.main[i] is False
    record.flags.add("merged")


def _date(records: list[Record], sessions: Sessions, person: PersonSettings, settings: Settings) -> None:
    """Night dates; what lies outside the study is rejected; what is short and by day is like a nap."""
    onset, start = (np.array([getattr(r, name) for r in records], dtype=np.int64) for name in ("onset", "start"))
    first = [record.rows[0] for record in records]
    night = night_day(locals_of(sessions, first, onset, person), person.day_anchor_hour).tolist()
    begin = (locals_of(sessions, first, start, person) - (person.day_anchor_hour - NOON) * HOUR) % DAY
    low, high = ((at.hour * 60 + at.minute) * MINUTE for at in (settings.nights.nap_from, settings.nights.nap_to))
    since = day_number(person.enrolled_on) if settings.history == "drop" and person.enrolled_on else None
    for record, day, clock in zip(records, night, begin.tolist(), strict=True):
        record.night = day
        if since is not None and day < since:
            record.role, record.reason = "rejected", "before enrolment"
        by_day = record.length < settings.nights.nap_max_h * HOUR and low <= clock and clock + record.length <= high
        if record.nap_reported:
            record.like_a_nap = (
                "the vendor says so" if by_day else "the vendor says so; by its hours it could be a night"
            )
        elif by_day:
            record.like_a_nap = "short and by day"


def _holds(records: Iterable[Record]) -> dict[Stream, Holds]:
    """Night dates of each stream on which it has something that can be a night."""
    days: dict[Stream, tuple[set[int], set[int], set[int]]] = {}
    for record in records:
        staged, measured, known = days.setdefault(record.stream, (set(), set(), set()))
        if not record.like_a_nap:
            known.add(record.night)
            if record.measured:
                measured.add(record.night)
            if record.staged:
                staged.add(record.night)
    return {stream: Holds(*map(len, sets)) for stream, sets in days.items()}


class _Taken:
    """Records that stand, which never overlap, and the stream each night date's night or naps come from."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.nights: dict[int, Stream] = {}
        self.naps: dict[int, Stream] = {}
        self._starts: list[int] = []

    def add(self, record: Record) -> None:
        place = bisect_left(self._starts, record.start)
        self._starts.insert(place, record.start)
        self.records.insert(place, record)
        (self.naps if record.like_a_nap else self.nights).setdefault(record.night, record.stream)

    def overlapping(self, record: Record) -> Record | None:
        place = bisect_left(self._starts, record.end)
        before = self.records[place - 1] if place else None
        return before if before is not None and before.end > record.start else None


def _admitted(records: Sequence[Record], order: Sequence[Stream], settings: Nights) -> list[Record]:
    """The records that stand, stream by stream; all others get their role and reason."""
    of: dict[tuple[Stream, bool], list[Record]] = {}
    for record in records:
        of.setdefault((record.stream, record.in_bed_only), []).append(record)
    taken = _Taken()
    for stream in order:
        own = of.get((stream, False), [])
        # A nap must not keep the stream's own night out.
        for record in sorted(own, key=lambda r: bool(r.like_a_nap)):
            _admit(record, taken)
    for stream in order:
        for record in sorted(of.get((stream, True), []), key=lambda r: -r.length):
            _admit_in_bed(record, taken, settings)
    return taken.records


def _admit(record: Record, taken: _Taken) -> None:
    """Let a record stand unless it overlaps one that stands, or another stream has its night date.

    Another stream's naps keep naps out, but no night.
    """
    rival = taken.nights.get(record.night)
    if record.like_a_nap and rival is None:
        rival = taken.naps.get(record.night)
    overlapping = taken.overlapping(record)
    if overlapping is not None:
        record.role, record.reason = "other_device", f"{overlapping.stream} has this sleep"
    elif rival is not None and rival != record.stream:
        record.role, record.reason = "other_device", f"{rival} has this night date"
    else:
        taken.add(record)


def _admit_in_bed(record: Record, taken: _Taken, settings: Nights) -> None:
    """Let time in bed stand where it is long enough for a night and nothing else is known of that night."""
    overlapping = taken.overlapping(record)
    rival = taken.nights.get(record.night)
    if overlapping is not None and not overlapping.in_bed_only and record.stream.is_hub:
        record.role, record.reason = "hub_copy", f"only time in bed around the sleep of {overlapping.stream}"
    elif overlapping is not None:
        record.role, record.reason = "other_device", f"{overlapping.stream} has this night"
    elif record.length < settings.nap_max_h * HOUR:
        record.role, record.reason = "rejected", "a short time in bed, and no sleep measured"
    elif rival is None:
        taken.add(record)
    elif rival == record.stream:
        record.role, record.reason = "rejected", "only time in bed, and another record has this night date"
    else:
        record.role, record.reason = "other_device", f"{rival} has this night date"


def _roles(group: list[Record], primary: Stream, settings: Nights) -> None:
    """Roles of one night date's records, which do not overlap.

    The main sleep is the longest the vendor calls so. Without the vendor's word it is the longest staged one; a
    staged one so short that it could be a nap has no advantage over others.
    """
    least = settings.nap_max_h * HOUR
    nights = []
    for record in group:
        if record.like_a_nap:
            record.role, record.reason = "nap", record.like_a_nap
        else:
            nights.append(record)
    if not nights:
        return
    nights.sort(key=lambda r: (not r.main_reported, not (r.main_reported or (r.staged and r.length >= least)),
                               -r.length, r.onset))  # fmt: skip
    main, *others = nights
    main.role = "main"
    main.reason = "the only one of the night date" if not others else "longest of the night date"
    if main.main_reported:
        main.reason = "the vendor's main sleep"
    if main.stream != primary:
        main.reason += f"; {primary} has none"
    if main.not_main_reported:
        main.flags.add("vendor_not_main")
    for record in others:
        if record.not_main_reported:
            record.role, record.reason = "nap", "the vendor's main sleep is another one"
        else:
            record.role, record.reason = "extra_main", "a longer main sleep has this night date"
            main.flags.add("extra_main")
