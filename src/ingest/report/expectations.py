"""What a study expects of itself (`monitor` in study.yaml) and does not find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow.compute as pc

from ingest._core import clock
from ingest._core.errors import IngestError
from ingest._core.study import Study
from ingest.harmonise.identity import entries_by_id
from ingest.lake.store import Manifest, manifests, participants
from ingest.mart.rebuild import mart_states
from ingest.publish.backlog import Unpublished, coverage_of, shown_by, silent, unpublished
from ingest.publish.reading import exists, opened

RECONCILED = ("kept", "duplicate", "ignored", "quarantined")


@dataclass(frozen=True)
class Broken:
    """An expectation that is not met: its name in docs/glossary.md, what was found in words without personal
    content, how many it concerns, and whom (participant_ids) where it is about people.
    """

    expectation: str
    text: str
    count: int
    participant_ids: tuple[str, ...] = ()


def expectations(study: Study, now: datetime | None = None) -> list[Broken]:
    """The expectations that are not met at `now` (the present, if not given), in the order of their names.

    Reads landing's listing, lake, marts and the warehouse; changes nothing.
    """
    at = now or clock.now()
    exports = [each for pid in participants(study.lake) for each in manifests(study.lake, pid)]
    found = [*_of_people(study, at.date()), *_of_exports(study, exports, at), *_of_publication(study, at)]
    return sorted(found, key=lambda each: each.expectation)


def waiting_to_be_published(study: Study) -> Unpublished:
    """What the warehouse does not show yet; raises Transient where it does not answer."""
    hashes: dict[str, str] = {}
    if exists(study):
        with opened(study) as reader:
            hashes = dict(reader.rows("SELECT participant_id, mart_hash FROM publication"))
    states = mart_states(study.lake).values()
    return unpublished(study, shown_by(each for each in states if hashes.get(each.participant_id) == each.mart_hash))


def _of_people(study: Study, today: date) -> Iterator[Broken]:
    rules = study.settings.monitor
    quiet = silent(study, today)
    if quiet:
        text = f"{len(quiet)} participants without night, log or diary for more than {rules.silent_after_days} days"
        yield Broken("silent_participants", text, len(quiet), tuple(each.participant_id for each in quiet))
    least = rules.nights_min_pct
    nights, dates = _recent_nights(study, today) if least is not None else (0, 0)
    if least is not None and dates and 100 * nights < least * dates:
        text = f"{nights} of the last {rules.recent_days} days' {dates} dates have a night, expected {least:g} %"
        yield Broken("few_nights", text, dates - nights)


def _recent_nights(study: Study, today: date) -> tuple[int, int]:
    """Nights, and dates on which there might be one: those before today of everybody in the study then."""
    first = today - timedelta(days=study.settings.monitor.recent_days)
    nights = dates = 0
    for participant_id, entry in entries_by_id(study).items():
        rows = coverage_of(study, participant_id)
        begun = entry.enrolled_on or pc.min(rows["date"]).as_py()
        start = max(first, begun) if begun else today
        end = min(today, entry.withdrew_on) if entry.withdrew_on else today
        dates += max(0, (end - start).days)
        within = pc.and_(pc.greater_equal(rows["date"], start), pc.less(rows["date"], end))
        nights += pc.sum(rows["has_sleep"].filter(within)).as_py() or 0
    return nights, dates


def _of_exports(study: Study, exports: list[Manifest], now: datetime) -> Iterator[Broken]:
    rules = study.settings.monitor
    # A participant's share of a study-wide log is no export of its own.
    arrived = [(datetime.fromisoformat(each.arrived_at), each) for each in exports if each.rows_hash is None]
    last = max((at for at, _ in arrived), default=None)
    if last is not None and rules.no_arrivals_days is not None and (now - last).days >= rules.no_arrivals_days:
        yield Broken("no_arrivals", f"no new export since {last.astimezone(UTC):%Y-%m-%d}", (now - last).days)
    lately = [each for at, each in arrived if at > now - timedelta(days=rules.recent_days)]
    bad = [each for each in lately if each.status in ("refused", "partial")]
    most = rules.refused_max_pct
    if most is not None and 100 * len(bad) > most * len(lately):
        text = f"{len(bad)} of the {len(lately)} exports of the last {rules.recent_days} days refused or partial"
        yield Broken("many_refused", f"{text}, expected at most {most:g} %", len(bad))
    odd = [each for each in exports if each.counts and each.counts["read"] != sum(each.counts[n] for n in RECONCILED)]
    if odd:
        yield Broken("not_reconciled", f"records of {len(odd)} exports do not add up; run `ingest verify`", len(odd))


def _of_publication(study: Study, now: datetime) -> Iterator[Broken]:
    try:
        waits = waiting_to_be_published(study)
    except IngestError:
        # The message may quote the database's address; `ingest status` shows it to the person at the terminal.
        yield Broken("warehouse_unreachable", "the warehouse cannot be read; `ingest status` says why", 1)
        return
    most = study.settings.monitor.unpublished_after_hours
    if most is not None and waits.oldest_at is not None and now - waits.oldest_at > timedelta(hours=most):
        hours = (now - waits.oldest_at) / timedelta(hours=1)
        text = f"{waits.count} files or exports are not published, the oldest for {hours:.0f} h (expected {most:g} h)"
        yield Broken("unpublished", text, waits.count)
