"""Who has gone silent, and what lies in landing or lake that the warehouse does not show yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.consents import is_granted
from ingest._core.study import Study
from ingest.arrive.arrivals import open_arrivals
from ingest.arrive.landing import NotAFile, units
from ingest.harmonise.identity import entries_by_id, people
from ingest.lake.plan import owner_of
from ingest.lake.store import read_part
from ingest.mart.rebuild import MartState

_HANDED_IN = ("sleep", "substance_use", "scales")


@dataclass(frozen=True)
class Silent:
    """A participant of whom nothing new is known: the last date with a night, log or diary, and days since then.

    Without any such date the days count from enrolled_on; both are None where the roster has none.
    """

    participant_id: str
    last_on: date | None
    days: int | None


@dataclass(frozen=True)
class Unpublished:
    """Files and exports that the warehouse does not show: how many, and since when the oldest lies there."""

    count: int = 0
    oldest_at: datetime | None = None


def coverage_of(study: Study, participant_id: str) -> pa.Table:
    """The participant's rows of coverage as the marts hold them; none without marts."""
    return read_part(study.lake, "coverage", participant_id)


def silent(study: Study, today: date) -> list[Silent]:
    """Who is silent after `monitor.silent_after_days`, by participant_id.

    Nobody who has withdrawn, grants no scope of data, or is enrolled only later. One whose row has no enrolled_on, and
    of whom nothing ever came, is silent from the start.
    """
    after = study.settings.monitor.silent_after_days
    found = []
    for participant_id, entry in sorted(entries_by_id(study).items()) if after is not None else ():
        gives = any(is_granted(entry.consents, entry.withdrew_on, scope, today) for scope in _HANDED_IN)
        if not gives or (entry.enrolled_on is not None and entry.enrolled_on > today):
            continue
        rows = coverage_of(study, participant_id)
        known = pc.or_(pc.or_(rows["has_sleep"], rows["has_log"]), pc.fill_null(rows["has_diary"], False))
        last = pc.max(rows["date"].filter(known)).as_py()
        since = last or entry.enrolled_on
        days = (today - since).days if since else None
        if days is None or days > (after or 0):
            found.append(Silent(participant_id, last, days))
    return found


def unpublished(study: Study, shown: Mapping[str, Collection[str]]) -> Unpublished:
    """What stands in landing and is not among the source_file_ids `shown` in the warehouse, by participant_id.

    A file not taken up yet counts from when it was last changed or put there, an export from its arrival.
    """
    since: list[datetime] = []
    known = people(study)
    with open_arrivals(study) as store:
        for unit in units(study, store):
            if not isinstance(unit, NotAFile) and not store.taken_up(unit):
                at = min(file.landed_ns for file in unit.files) // 1000
                since.append(datetime.fromtimestamp(at / 1_000_000, UTC))
        for arrival in store.present():
            if arrival.source_file_id not in shown.get(owner_of(arrival, known), ()):
                since.append(arrival.arrived_at)
    return Unpublished(len(since), min(since, default=None))


def shown_by(states: Iterable[MartState]) -> dict[str, set[str]]:
    """source_file_ids that published marts were built from, by participant_id."""
    return {each.participant_id: {name.partition(".")[0] for name in each.manifests} for each in states}
