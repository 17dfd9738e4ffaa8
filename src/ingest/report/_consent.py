"""What `ingest verify` asks about consent: rows outside it, and traces of who was erased."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingest._core.consents import is_granted
from ingest._core.roster import RosterEntry
from ingest._core.study import Study
from ingest._core.tombstones import tombstones
from ingest.harmonise.identity import entries_by_id
from ingest.mart.rebuild import mart_states, roster_part
from ingest.publish.reading import Reader, exists, opened

DATED = {
    "night": ("sleep", "night_date"),
    "night_source": ("sleep", "night_date"),
    "trend": ("sleep", "night_date"),
    "insomnia_night": ("sleep", "night_date"),
    "night_diary": ("sleep", "night_date"),
    "sleep_diary": ("sleep", "night_date"),
    "night_exposure": ("substance_use", "night_date"),
    "substance_use": ("substance_use", "local_date"),
    "scale_response": ("scales", "answered_on"),
}
"""Scope of the warehouse's tables that hold something of a day, and the column that says which."""


@dataclass(frozen=True)
class Broken:
    """An invariant that does not hold: its number, and where."""

    invariant: str
    where: str


def outside_consent(study: Study, reader: Reader) -> Iterator[Broken]:
    """Rows of the warehouse that lie outside their participant's consent; who is to be rebuilt first is left out."""
    entries = _as_published(study, reader)
    if not entries:
        return
    people = ", ".join(f"'{pid}'" for pid in sorted(entries))
    for table, (scope, day) in DATED.items():
        sql = f"select participant_id, {day}, count(*) from {table} where participant_id in ({people}) group by 1, 2"  # noqa: S608 - hashes
        late = sum(
            count for pid, on, count in reader.rows(sql)
            if not is_granted(entries[pid].consents, entries[pid].withdrew_on, scope, on)
        )  # fmt: skip
        if late:
            yield Broken("I4", f"{table}: {late} rows outside the scope {scope} of their participants")
    sql = (f"select count(*) from sleep_session s where s.participant_id in ({people}) and not exists (select 1 from "  # noqa: S608 - hashes
           "night_source n where n.participant_id = s.participant_id and n.session_id = s.session_id)")  # fmt: skip
    for (loose,) in reader.rows(sql):
        if loose:
            yield Broken("I4", f"sleep_session: {loose} rows that belong to no night date, so to no consent")


def _as_published(study: Study, reader: Reader) -> dict[str, RosterEntry]:
    """Entries with a withdrawal or consents of their own, of people whose rows were built from them."""
    states = mart_states(study.lake)
    hashes = dict(reader.rows("select participant_id, mart_hash from publication"))
    return {
        pid: entry
        for pid, entry in entries_by_id(study).items()
        if (entry.consents or entry.withdrew_on) and pid in states and hashes.get(pid) == states[pid].mart_hash
        and states[pid].parts.get("roster") == roster_part(entry)
    }  # fmt: skip


def erased_traces(study: Study, held: Iterable[str]) -> Iterator[Broken]:
    """Where lake or warehouse hold who was erased; `held` are the participants of the lake."""
    stones = tombstones(study.identity)
    in_lake = len(stones.among({*held, *mart_states(study.lake)}))
    if in_lake:
        yield Broken("I4", f"the lake holds {in_lake} participants who were erased; `ingest run` takes them out")
    if stones.days and exists(study):
        with opened(study) as reader:
            ids = {pid for table in ("participant", "publication", "source_file")
                   for (pid,) in reader.rows(f"select distinct participant_id from {table}")}  # fmt: skip  # noqa: S608 - three names
        if gone := len(stones.among(ids)):
            yield Broken("I4", f"the warehouse holds {gone} participants who were erased; erase them again")
