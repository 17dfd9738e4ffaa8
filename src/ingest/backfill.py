"""Doing again: exports that arrived in an interval, or nights that lie in one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest._core.errors import WrongUse
from ingest._core.files import inside
from ingest._core.roster import NOBODY, STUDY_LOGS
from ingest._core.study import Study
from ingest.arrive.arrivals import Arrival, open_arrivals
from ingest.harmonise.identity import people
from ingest.lake.load import load_batch
from ingest.lake.plan import in_batches, owner_of
from ingest.mart.rebuild import mart_states
from ingest.pipeline import Step, refresh

_EXAMPLES = 5


def backfill(
    study: Study,
    what: str,
    span: tuple[date, date],
    participant_id: str | None,
    source: str | None,
    dry_run: bool,
    step: Step,
) -> Iterator[str]:
    """Lines that say what was done (with `dry_run`: would be done). Both dates belong to the interval.

    `arrived`: the exports that arrived in it are decoded again. `nights`: participants with a night in it are
    rebuilt, stale or not. Twice the same backfill, in any order, ends in the same bytes.
    """
    if span[1] < span[0]:
        raise WrongUse("the interval ends before it begins")
    if participant_id is not None and participant_id not in mart_states(study.lake):
        raise WrongUse("no such participant_id; `ingest status` lists them")
    if what == "arrived":
        yield from _again(study, span, participant_id, source, dry_run, step)
    else:
        ids = [pid for pid in _with_nights(study, span) if participant_id in (None, pid)]
        yield f"{len(ids)} participants have nights from {span[0]} to {span[1]}{_some(ids)}"
        if not dry_run:
            yield from _refreshed(study, step, ids)


def arrived_batches(study: Study, start: datetime, end: datetime) -> list[list[str]]:
    """Tokens of the exports that arrived at or after `start` and before `end`, in batches for `load_batch`.

    Only such as stood in landing at the last look. Later study-wide logs of the same source come with one that is
    decoded again, since theirs are compared with it.
    """
    with open_arrivals(study) as store:
        present = store.present()
    chosen = [each for each in present if start <= each.arrived_at < end]
    return in_batches(with_later_logs(chosen, present), study.settings.batch_bytes)


def with_later_logs(chosen: Iterable[Arrival], present: Iterable[Arrival]) -> list[Arrival]:
    """`chosen` with the study-wide logs of the same sources that stand after one of them, oldest export first."""
    tokens = {each.token for each in chosen}
    begun: set[str] = set()
    found = []
    for each in present:
        if each.token in tokens or (each.folder == STUDY_LOGS and each.source in begun):
            found.append(each)
            if each.folder == STUDY_LOGS:
                begun.add(each.source)
    return found


def _again(study: Study, span: tuple[date, date], participant_id: str | None, source: str | None, dry_run: bool,
           step: Step) -> Iterator[str]:  # fmt: skip
    known = people(study)

    def wanted(arrival: Arrival) -> bool:
        return (span[0] <= arrival.arrived_at.date() <= span[1] and source in (None, arrival.source)
                and participant_id in (None, owner_of(arrival, known)))  # fmt: skip

    with open_arrivals(study) as store:
        present = {folder: store.present_ids(folder) for folder in {a.folder for a in store.all()}}
        found = [a for a in store.all() if wanted(a) and a.source_file_id in present[a.folder]]
    yield (f"{len(found)} exports arrived from {span[0]} to {span[1]} and are still in landing"
           f"{_some([a.source_file_id[:12] for a in found])}")  # fmt: skip
    if dry_run:
        return
    with step("decoding exports", len(found)) as done:
        counts = load_batch(study, [arrival.token for arrival in found], done).counts()
    yield "decoded again: " + ", ".join(
        f"{counts[name]} {name}" for name in ("loaded", "partial", "ignored", "refused")
    )
    yield from _refreshed(study, step, [])


def _refreshed(study: Study, step: Step, ids: list[str]) -> Iterator[str]:
    rebuilt, published = refresh(study, step, ids)
    yield f"rebuilt {len(set(rebuilt.participants) - {NOBODY})} participants, {rebuilt.nights} nights"
    yield f"published {len(set(published.published) - {NOBODY})} participants, {published.unchanged} unchanged"


def _with_nights(study: Study, span: tuple[date, date]) -> list[str]:
    found = []
    for participant_id in sorted(mart_states(study.lake)):
        path: Path = inside(study.lake, "night", f"participant_id={participant_id}", "part.parquet")
        days = pq.ParquetFile(path).read(["night_date"])["night_date"]
        if pc.any(pc.and_(pc.greater_equal(days, span[0]), pc.less_equal(days, span[1]))).as_py():
            found.append(participant_id)
    return found


def _some(ids: list[str]) -> str:
    shown = " ".join(ids[:_EXAMPLES])
    return f": {shown}{' ...' if len(ids) > _EXAMPLES else ''}" if ids else ""
