"""What is there on every date of a participant's time in the study, and why not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.clock import DAY, Zone, day_number, to_micros, zone
from ingest._core.consents import granted_days
from ingest._core.phases import Phase
from ingest._core.settings import Exposure
from ingest.mart._columns import Columns
from ingest.mart._log import Codes, LogTable, numbers
from ingest.mart.person import PersonSettings
from ingest.mart.phase import ByParticipant, phase_of

REASONS = (
    "withdrawn",
    "not_consented",
    "only_nap",
    "file_refused",
    "before_first_export",
    "after_last_export",
    "no_record",
)
_NO_DAYS: Codes = np.zeros(0, dtype=np.int64)
_LONG_AGO = np.iinfo(np.int64).min


@dataclass(frozen=True)
class _Found:
    """Days of one participant, in days since 1970, sorted, each once."""

    nights: Codes
    mains: Codes
    naps: Codes
    sessions: Codes
    slept: Codes
    logged: Codes
    diary: Codes
    refused_until: int
    arrived: int | None

    def every(self) -> Codes:
        return np.concatenate((self.sessions, self.logged, self.diary))


def coverage(
    nights: pa.Table,
    night_source: pa.Table,
    uses: pa.Table,
    source_files: pa.Table,
    people: Mapping[str, PersonSettings],
    settings: Exposure,
    last_seen: Mapping[str, date],
    log_sources: Collection[str] = (),
    diaries: pa.Table | None = None,
    phases: ByParticipant | None = None,
) -> pa.Table:
    """One row per participant of `people` and date (schema coverage), sorted by both.

    Dates run from enrolled_on (where the roster has none, from the first session or log day) to the local date on
    which the participant's last export was made (`arrived_at` of `source_files`), or to withdrew_on if that is
    earlier; never ending before `last_seen`, the last date the exports cover, or the last session or log day that
    lies before the withdrawal. No export at all: no rows, unless the roster has both dates. `uses` holds current
    rows; a date has a log when it is the exposure day of one of them. `diaries` holds current rows of sleep_diary; a
    date has a diary when it is the night date of one, and counts among the log days. `phases` are those of the table
    phase; NULL on dates that lie in none.

    Where there is no night the first of these that holds is the reason: `withdrawn` on withdrew_on; `not_consented`
    where the scope `sleep` is not granted; `only_nap`; `file_refused`; `before_first_export` and `after_last_export`,
    before the first and after the last night date of any session; `no_record`. `file_refused` stands on dates without
    any session, or with rejected ones only, up to the local date on which the participant's latest refused export
    arrived: what such
    a file holds is not known, except that it cannot hold a later night, so no such date may be called one
    without a record.
    Refused exports of `log_sources` hold no nights and are left out. A partial export was read; what it lost
    stands in `quarantine`.
    """
    log_table = LogTable(uses)
    roles = {role: _days_of(night_source.filter(pc.equal(night_source["role"], role))) for role in ("main", "nap")}
    sessions, with_night = _days_of(night_source), _days_of(nights)
    slept = _days_of(night_source.filter(pc.not_equal(night_source["role"], "rejected")))
    in_diary = _days_of(diaries) if diaries is not None else {}
    refused = _refused(source_files, log_sources)
    arrivals = _latest(source_files)
    columns = Columns("coverage")
    for participant_id in sorted(people):
        person = people[participant_id]
        home = zone(person.zone_name)
        log = log_table.of(participant_id, home, settings.day_start_hour)
        arrived = _local_day(home, refused.get(participant_id))
        own_nights = with_night.get(participant_id, _NO_DAYS)
        found = _Found(
            nights=own_nights,
            mains=roles["main"].get(participant_id, _NO_DAYS),
            naps=roles["nap"].get(participant_id, _NO_DAYS),
            sessions=np.union1d(own_nights, sessions.get(participant_id, _NO_DAYS)),
            slept=np.union1d(own_nights, slept.get(participant_id, _NO_DAYS)),
            logged=np.unique(log.day),
            diary=in_diary.get(participant_id, _NO_DAYS),
            refused_until=_LONG_AGO if arrived is None else arrived,
            arrived=_local_day(home, arrivals.get(participant_id)),
        )
        _add(columns, person, found, last_seen.get(participant_id), (phases or {}).get(participant_id, ()))
    return columns.table()


def _days_of(table: pa.Table) -> dict[str, Codes]:
    """Night dates by participant."""
    encoded = table["participant_id"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    days = numbers(table["night_date"])
    order = np.lexsort((days, codes))
    edges = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    return {
        name: np.unique(days[order[edges[i] : edges[i + 1]]]) for i, name in enumerate(encoded.dictionary.to_pylist())
    }


def _refused(source_files: pa.Table, log_sources: Collection[str]) -> dict[str, int]:
    """Arrival, in microseconds, of each participant's latest refused export that may hold sleep."""
    refused = pc.equal(source_files["status"], "refused")
    logs = pc.is_in(source_files["source"], value_set=pa.array(sorted(log_sources), pa.string()))
    return _latest(source_files.filter(pc.and_(refused, pc.invert(logs))))


def _latest(source_files: pa.Table) -> dict[str, int]:
    """Latest arrival, in microseconds, of each participant."""
    latest: dict[str, int] = {}
    for name, arrived in zip(*(source_files[of].to_pylist() for of in ("participant_id", "arrived_at")), strict=True):
        latest[name] = max(to_micros(arrived), latest.get(name, _LONG_AGO))
    return latest


def _local_day(home: Zone, instant: int | None) -> int | None:
    return None if instant is None else int(home.to_local(np.array([instant]))[0] // DAY)


def _span(person: PersonSettings, found: _Found, last_seen: date | None) -> Codes:
    """The participant's dates; none where the first or the last is not known."""
    every = found.every()
    begin = [day_number(person.enrolled_on)] if person.enrolled_on else every.tolist()
    ends = [*every.tolist(), *([day_number(last_seen)] if last_seen else [])]
    if found.arrived is not None:
        ends.append(found.arrived)
    if person.withdrew_on:
        withdrew = day_number(person.withdrew_on)
        ends = [min(max(ends, default=withdrew), withdrew)]
    if not begin or not ends:
        return _NO_DAYS
    return np.arange(min(begin), max(ends) + 1, dtype=np.int64)


def _add(
    columns: Columns, person: PersonSettings, found: _Found, last_seen: date | None, phases: tuple[Phase, ...]
) -> None:
    days = _span(person, found, last_seen)
    has_night = np.isin(days, found.nights)
    columns.add("participant_id", np.full(len(days), columns.code(person.participant_id)))
    columns.add("date", days)
    columns.add("phase", columns.codes(tuple(each.name for each in phases))[phase_of(days, phases)])
    columns.add("has_sleep", has_night)
    columns.add("has_log", np.isin(days, found.logged))
    columns.add("has_diary", np.isin(days, found.diary))
    columns.add("reason", columns.codes(REASONS)[_reason(days, person, found)], ~has_night)


def _reason(days: Codes, person: PersonSettings, found: _Found) -> Codes:
    """Index into REASONS for each date, as if it had no night."""
    withdrew = day_number(person.withdrew_on) if person.withdrew_on else _LONG_AGO
    first, last = (found.sessions[0], found.sessions[-1]) if len(found.sessions) else (_LONG_AGO, days.max(initial=0))
    holds = [
        days == withdrew,
        ~granted_days(person.consents, None, "sleep", days),
        np.isin(days, found.naps) & ~np.isin(days, found.mains),
        ~np.isin(days, found.slept) & (days <= found.refused_until),
        days < first,
        days > last,
    ]
    return np.select(holds, range(len(holds)), default=len(holds)).astype(np.int64)
