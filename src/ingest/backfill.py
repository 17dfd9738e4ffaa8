"""Doing again: exports that arrived in an interval, or the nights of whoever has some in one."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow.compute as pc

from ingest._core.errors import WrongUse
from ingest._core.interval import Arrived, arrived_interval, nights_interval
from ingest._core.roster import NOBODY, STUDY_LOGS
from ingest._core.study import Study
from ingest.arrive.arrivals import Arrival, Arrivals, open_arrivals
from ingest.decode.claim import UNKNOWN
from ingest.decode.registry import decoder, decoders
from ingest.engine.engine import Engine, engine_of
from ingest.harmonise.identity import people
from ingest.lake.plan import in_batches, inputs_hash, is_current, owner_of, plan, with_later_logs
from ingest.lake.store import Manifest, manifest, manifests, read_part
from ingest.mart.rebuild import mart_states, why_stale
from ingest.pipeline import Step, refresh
from ingest.publish.ops import OpsRun, recorded

_EXAMPLES = 5
Interval = tuple[str, str]


@dataclass(frozen=True)
class Only:
    """What a backfill is narrowed to: participant_ids and sources; empty stands for all."""

    participants: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()


def backfill(
    study: Study,
    arrived: Interval | None,
    nights: Interval | None,
    participants: Sequence[str],
    sources: Sequence[str],
    dry_run: bool,
    step: Step,
) -> Iterator[str]:
    """Lines that say what was done (with `dry_run`: would be done, and nothing is changed).

    `arrived`: the exports that arrived in it are decoded again. `nights`: participants with a night in it (of one of
    `sources`) are rebuilt, stale or not. `participants` are refs or ids. Twice the same backfill, in any order and
    beside others, ends in the same bytes. Raises WrongUse where an interval, a participant or a source is none.
    """
    if (arrived is None) == (nights is None):
        raise WrongUse("say either --arrived FROM TO or --nights FROM TO, as dates like 2026-03-01")
    only = Only(frozenset(ids_of(study, participants)), frozenset(_known_sources(sources)))
    if arrived is not None:
        between = arrived_interval(*arrived)
        yield from _would_decode(study, between, only) if dry_run else _decode_again(study, between, only, step)
    elif nights is not None:
        span = nights_interval(*nights)
        yield from _would_rebuild(study, span, only) if dry_run else _rebuild(study, span, only, step)


def arrived_batches(study: Study, start: datetime, end: datetime) -> list[list[str]]:
    """Tokens of the exports that arrived at or after `start` and before `end`, in batches for `load_batch`.

    Looks at landing first, as every run does. Later study-wide logs of the same source come with one that is decoded
    again.
    """
    plan(study)
    with open_arrivals(study) as store:
        found = _chosen(study, store, start, end, Only())
    return in_batches(found, study.settings.batch_bytes)


def _chosen(study: Study, store: Arrivals, start: datetime, end: datetime, only: Only) -> list[Arrival]:
    """Those in landing at the last look. A participant's are those of their folder and the study-wide logs that hold
    something of theirs.
    """
    known = people(study)

    def whose(arrival: Arrival) -> bool:
        if not only.participants or owner_of(arrival, known) in only.participants:
            return True
        return arrival.folder == STUDY_LOGS and any(
            manifest(study.lake, pid, arrival.source_file_id) is not None for pid in only.participants
        )

    present = store.present()
    of_sources = (each for each in present if not only.sources or each.source in only.sources)
    return with_later_logs((each for each in of_sources if start <= each.arrived_at < end and whose(each)), present)


def _decode_again(study: Study, between: Arrived, only: Only, step: Step) -> Iterator[str]:
    with recorded(study, "backfill_arrived") as record, engine_of(study) as engine:
        with step("looking at landing", 0) as looked:
            plan(study, lambda _: looked())
        with open_arrivals(study) as store:
            found = _chosen(study, store, between.start, between.end, only)
        yield f"{len(found)} exports arrived {between.words} and are in landing{_some(_short(found))}"
        with step("decoding exports", len(found)) as done:
            counts = engine.load(study, found, done).counts()
        record.add_load(counts)
        fates = ", ".join(f"{counts[name]} {name}" for name in ("loaded", "partial", "ignored", "refused"))
        yield f"decoded again: {fates}"
        yield from _refreshed(study, step, record, [], engine)


def _rebuild(study: Study, span: tuple[date, date], only: Only, step: Step) -> Iterator[str]:
    with recorded(study, "backfill_nights") as record:
        ids = _with_nights(study, span, only)
        yield _have_nights(ids, span, only)
        yield from _refreshed(study, step, record, ids)


def _refreshed(study: Study, step: Step, record: OpsRun, ids: list[str], engine: Engine | None = None) -> Iterator[str]:
    rebuilt, published = refresh(study, step, ids, record=record, engine=engine)
    yield f"rebuilt {len(set(rebuilt.participants) - {NOBODY})} participants, {rebuilt.nights} nights"
    yield f"published {len(set(published.published) - {NOBODY})} participants, {published.unchanged} unchanged"


def _would_decode(study: Study, between: Arrived, only: Only) -> Iterator[str]:
    known = people(study)
    with open_arrivals(study) as store:
        found = _chosen(study, store, between.start, between.end, only)
        held = {a.token: manifest(study.lake, owner_of(a, known), a.source_file_id) for a in found}
        changed = {a.token for a in found
                   if not is_current(study, _inputs(held[a.token]), inputs_hash(study, a, known, store))}  # fmt: skip
    yield f"{len(found)} exports arrived {between.words} and were in landing at the last look"
    by_version: dict[tuple[str, str], list[Arrival]] = {}
    for each in found:
        by_version.setdefault((each.source, _versions(each, held[each.token])), []).append(each)
    for (source, versions), group in sorted(by_version.items()):
        new = [each for each in group if each.token in changed]
        same = len(group) - len(new)
        yield f"  {source} {versions}: {len(new)} exports would change, {same} come out the same{_some(_short(group))}"
    touched = {owner_of(each, known) for each in found if each.token in changed} - {NOBODY}
    # A study-wide log touches whoever has rows in it.
    logs = {each.source_file_id for each in found if each.token in changed and each.folder == STUDY_LOGS}
    touched |= {pid for pid in mart_states(study.lake)
                if logs and logs & {each.source_file_id for each in manifests(study.lake, pid)}} - {NOBODY}  # fmt: skip
    stale = {pid for pid, why in why_stale(study, mart_states(study.lake)).items() if why}
    yield (f"{len(touched | stale)} participants would be rebuilt, {len(stale - touched)} of them for other reasons"
           f"{_some(sorted(touched | stale))}")  # fmt: skip
    yield "dry run: nothing was changed"


def _would_rebuild(study: Study, span: tuple[date, date], only: Only) -> Iterator[str]:
    ids = _with_nights(study, span, only)
    yield _have_nights(ids, span, only)
    reasons = why_stale(study, ids)
    yield f"  {sum(not reasons.get(pid) for pid in ids)} are up to date and would come out the same"
    counts = Counter(reason for pid in ids for reason in reasons.get(pid, ()))
    for reason, count in sorted(counts.items()):
        yield f"  {count}: {reason}{_some([pid for pid in ids if reason in reasons.get(pid, ())])}"
    others = [pid for pid, why in why_stale(study, sorted(mart_states(study.lake))).items() if why and pid not in ids]
    yield f"{len(others)} participants without such a night are stale and would be rebuilt, too{_some(others)}"
    yield "dry run: nothing was changed"


def _inputs(held: Manifest | None) -> str | None:
    return None if held is None else held.inputs_hash


def _versions(arrival: Arrival, held: Manifest | None) -> str:
    """The decoder's version that the lake's rows are from, and the present one where it is another."""
    now = decoder(arrival.source).version if arrival.source != UNKNOWN else "none"
    before = (held.decoder_version or "none") if held is not None else "not in the lake"
    return f"version {now}" if before == now else f"version {before} -> {now}"


def _have_nights(ids: Sequence[str], span: tuple[date, date], only: Only) -> str:
    of = f" of {', '.join(sorted(only.sources))}" if only.sources else ""
    return f"{len(ids)} participants have nights{of} from {span[0]} to {span[1]}{_some(ids)}"


def _with_nights(study: Study, span: tuple[date, date], only: Only) -> list[str]:
    found = []
    for participant_id in sorted(only.participants or mart_states(study.lake)):
        rows = read_part(study.lake, "night", participant_id, ["night_date", "source"])
        days = rows["night_date"]
        within = pc.and_(pc.greater_equal(days, span[0]), pc.less_equal(days, span[1]))
        sources = rows["source"].filter(within).unique().to_pylist()
        if only.sources & set(sources) if only.sources else sources:
            found.append(participant_id)
    return found


def ids_of(study: Study, words: Iterable[str]) -> Iterator[str]:
    known = people(study)
    ids = {person.participant_id for person in known.values()}
    for word in words:
        if word not in known and word not in ids:
            raise WrongUse(f"--participant: nobody of roster.csv is {word}{_nearest(word, [*known, *sorted(ids)])}")
        yield known[word].participant_id if word in known else word


def _known_sources(words: Iterable[str]) -> Iterator[str]:
    known = [*(each.source for each in decoders()), UNKNOWN]
    for word in words:
        if word not in known:
            raise WrongUse(f"--source: there is no source {word}{_nearest(word, known)}; `ingest formats` lists them")
        yield word


def _nearest(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _short(found: Iterable[Arrival]) -> list[str]:
    return [each.source_file_id[:12] for each in found]


def _some(ids: Sequence[str]) -> str:
    shown = " ".join(ids[:_EXAMPLES])
    return f": {shown}{' ...' if len(ids) > _EXAMPLES else ''}" if ids else ""
