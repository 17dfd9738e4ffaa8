"""What an operator watches: what came in lately, what waits, who is silent, what is not as it should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from ingest._core import clock
from ingest._core.errors import IngestError
from ingest._core.roster import NOBODY
from ingest._core.study import Study
from ingest.lake.store import manifests, participants
from ingest.mart.rebuild import mart_states
from ingest.publish.backlog import Silent, Unpublished, coverage_of, silent
from ingest.publish.ops import OpsRun, runs
from ingest.report.expectations import Broken, expectations, waiting_to_be_published

DAYS = 14


@dataclass(frozen=True)
class Watch:
    """At `at`: exports by date of arrival (UTC) and nights by night date of the last `DAYS` days, each date there.

    `unpublished` is None where the warehouse cannot be read.
    """

    at: datetime
    arrivals: dict[date, int] = field(default_factory=dict)
    nights: dict[date, int] = field(default_factory=dict)
    unpublished: Unpublished | None = None
    silent: list[Silent] = field(default_factory=list)
    last_run: OpsRun | None = None
    broken: list[Broken] = field(default_factory=list)


def watch(study: Study) -> Watch:
    """The present; changes nothing."""
    now = clock.now()
    if not (study.identity / "key").exists():
        return Watch(now)
    days = [now.date() - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    arrived = Counter(
        datetime.fromisoformat(each.arrived_at).date()
        for participant_id in participants(study.lake)
        for each in manifests(study.lake, participant_id)
        if each.rows_hash is None
    )
    nights: Counter[date] = Counter()
    for participant_id in mart_states(study.lake).keys() - {NOBODY}:
        rows = coverage_of(study, participant_id)
        nights.update(rows["date"].filter(rows["has_sleep"]).to_pylist())
    try:
        waits: Unpublished | None = waiting_to_be_published(study)
    except IngestError:
        waits = None  # `Status.warehouse` says why.
    return Watch(now, {day: arrived[day] for day in days}, {day: nights[day] for day in days}, waits,
                 silent(study, now.date()), next(reversed(runs(study)), None), expectations(study, now))  # fmt: skip


def watch_lines(of: Watch) -> Iterator[str]:
    """Text for a terminal."""
    for title, counts in (("exports that arrived", of.arrivals), ("nights", of.nights)):
        found = ", ".join(f"{day:%m-%d}: {count}" for day, count in counts.items() if count)
        yield f"{title}, last {DAYS} days: {found or 'none'}"
    if of.unpublished is not None and of.unpublished.oldest_at is not None:
        age = (of.at - of.unpublished.oldest_at) / timedelta(hours=1)
        yield f"{of.unpublished.count} files or exports not published yet, the oldest for {age:.1f} h"
    for each in of.silent:
        last = f"last on {each.last_on}" if each.last_on else "nothing ever came"
        yield f"silent: {each.participant_id}, {last}" + (f", {each.days} days ago" if each.last_on else "")
    if of.last_run is not None:
        yield f"last run: {of.last_run.kind} at {of.last_run.started_at:%Y-%m-%d %H:%M} UTC, {of.last_run.outcome}"
    for broken in of.broken:
        yield f"expected otherwise: {broken.expectation}: {broken.text}"
