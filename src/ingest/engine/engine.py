"""The engine that study.yaml names. Each calls the same two functions, `load_batch` and `rebuild`, on the same lake."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from ingest._core.study import Study
from ingest.arrive.arrivals import Arrival
from ingest.lake.load import LoadResult, load_batch
from ingest.mart.rebuild import RebuildResult, rebuild

Progress = Callable[[], None]


class Engine(Protocol):
    """What runs the two functions; the bytes they leave are the same whichever it is."""

    def load(self, study: Study, wanted: Sequence[Arrival], progress: Progress) -> LoadResult:
        """Decode the exports into the lake, as `lake.load.load_batch`."""

    def rebuild(self, study: Study, ids: Sequence[str], progress: Progress) -> RebuildResult:
        """Build the participants' marts, as `mart.rebuild.rebuild`."""


class InProcess:
    """One after the other, in this process."""

    def load(self, study: Study, wanted: Sequence[Arrival], progress: Progress) -> LoadResult:
        """As the protocol says."""
        return load_batch(study, [arrival.token for arrival in wanted], progress)

    def rebuild(self, study: Study, ids: Sequence[str], progress: Progress) -> RebuildResult:
        """As the protocol says."""
        return rebuild(study, ids, progress)


def engine_of(study: Study) -> AbstractContextManager[Engine]:
    """The study's engine, for as long as the context lasts; Spark starts with the first thing there is to do."""
    if study.settings.engine == "spark":
        from ingest.engine.spark import OnSpark

        return OnSpark(study.settings.spark)
    if study.settings.engine == "processes":
        from ingest.engine.processes import Processes

        return Processes(study.settings.workers or os.cpu_count() or 1)
    return nullcontext(InProcess())
