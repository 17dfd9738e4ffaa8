"""The whole way: landing to lake, lake to marts, marts to the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest._core.roster import NOBODY
from ingest._core.study import Study
from ingest.engine.engine import Engine, engine_of
from ingest.lake.load import LoadResult
from ingest.lake.plan import plan
from ingest.mart.rebuild import RebuildResult, stale
from ingest.publish.ops import OpsRun, recorded
from ingest.publish.warehouse import Published, publish_study

if TYPE_CHECKING:
    from ingest.mart.cohort import Associated

Step = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""A progress bar: given a title and a total, a context that yields a function to call after each piece."""


@contextmanager
def silent(_title: str, _total: int) -> Iterator[Callable[[], None]]:
    """No progress bar."""
    yield lambda: None


@dataclass(frozen=True)
class Run:
    """What a run did at each stage."""

    present: int
    unsettled: int
    waiting: int
    not_files: int
    erased: int
    loaded: LoadResult
    rebuilt: RebuildResult
    published: Published


def run(study: Study, step: Step) -> Run:
    """Take up all that is settled and new, rebuild whoever is stale, publish whoever changed."""
    with recorded(study, "run") as record, engine_of(study) as engine:
        with step("looking at landing", 0) as looked:
            found = plan(study, lambda _: looked())
        with step("decoding exports", len(found.wanted)) as done:
            loaded = engine.load(study, found.wanted, done)
        record.add_load(loaded.counts())
        after = refresh(study, step, record=record, engine=engine)
    return Run(found.present, found.unsettled, found.waiting, found.not_files, found.erased, loaded, *after)


def associate(study: Study, step: Step) -> tuple[Associated, Published]:
    """Compute what needs all participants at once from the nights as they stand, then publish."""
    from ingest.mart.cohort import associate as compute  # seconds of imports that a run does without

    with recorded(study, "associate") as record:
        with step("associating", len(study.roster.entries)) as done:
            associated = compute(study, done)
        with step("publishing", 0) as done:
            published = publish_study(study, lambda _done, _total: done(), run=record)
    return associated, published


def refresh(
    study: Study,
    step: Step,
    also: Iterable[str] = (),
    *,
    record: OpsRun | None = None,
    scrub: bool = False,
    engine: Engine | None = None,
) -> tuple[RebuildResult, Published]:
    """Rebuild the stale participants and those of `also`, then publish (`scrub`: as `publish` explains); a run of its
    own unless part of `record`, by the study's engine unless by `engine`.
    """
    if engine is None:
        with engine_of(study) as own_engine:
            return refresh(study, step, also, record=record, scrub=scrub, engine=own_engine)
    if record is None:
        with recorded(study, "publish") as own:
            return refresh(study, step, also, record=own, scrub=scrub, engine=engine)
    ids = sorted({*stale(study), *also})
    with step("building nights", len(ids)) as done:
        rebuilt = engine.rebuild(study, ids, done)
    record.participants_rebuilt = len(set(rebuilt.participants) - {NOBODY})
    record.nights_rebuilt = rebuilt.nights
    with step("publishing", 0) as done:
        published = publish_study(study, lambda _done, _total: done(), run=record, scrub=scrub)
    return rebuilt, published


def explained(rebuilt: RebuildResult, published: Published) -> list[str]:
    """A line for each participant whose marts were built, or whose rows in the warehouse changed: who and why."""
    lines = [f"rebuilt    {pid}: {'; '.join(why) or 'asked for'}" for pid, why in rebuilt.reasons.items()]
    if published.rebuilt:
        lines.append(f"published  everybody: the warehouse was made anew, {published.rebuilt}")
    for pid in sorted(set(published.published) - rebuilt.reasons.keys()):
        lines.append(f"published  {pid}: not yet in the warehouse as lake and roster have it")
    lines += [f"removed    {pid}: left the roster" for pid in published.removed]
    lines += [f"waiting    {pid}: its marts are behind the lake; its former rows stand" for pid in published.waiting]
    return lines
