"""Several processes of this machine, each with batches and groups of its own, the biggest first."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest._core.errors import Transient
from ingest._core.logs import log
from ingest._core.study import Study, open_study
from ingest.arrive.arrivals import Arrival
from ingest.engine.answers import Done, events, outcome, told
from ingest.engine.engine import Progress
from ingest.engine.shares import batches, groups
from ingest.lake.load import LoadResult, load_batch
from ingest.lake.store import manifests
from ingest.mart.rebuild import RebuildResult, rebuild

GROUP_SIZE = 50
_FEW = 2
"""With fewer pieces of work than this the start of a process costs more than it saves."""


class Processes:
    """An engine of so many processes, started with the first thing there is to share out."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def load(self, study: Study, wanted: Sequence[Arrival], progress: Progress) -> LoadResult:
        """A task for each batch of exports."""
        if len(wanted) < _FEW:
            return load_batch(study, [arrival.token for arrival in wanted], progress)
        result = LoadResult()
        tasks = batches(wanted, study.settings.batch_bytes, self._workers)
        for counts in self._done(study, _load, tasks, progress):
            result.add_counts(counts)
        return result

    def rebuild(self, study: Study, ids: Sequence[str], progress: Progress) -> RebuildResult:
        """A task for each group of participants."""
        if len(ids) < _FEW:
            return rebuild(study, ids, progress)
        rows = {pid: sum(file.rows for of in manifests(study.lake, pid) for file in of.files.values()) for pid in ids}
        parts = [RebuildResult(**done) for done in
                 self._done(study, _rebuild, groups(rows, self._workers, GROUP_SIZE), progress)]  # fmt: skip
        why = {pid: lines for part in parts for pid, lines in part.reasons.items()}
        order = [pid for pid in ids if pid in why]
        return RebuildResult(order, sum(part.nights for part in parts), {pid: why[pid] for pid in order})

    def _done(
        self,
        study: Study,
        do: Callable[[Study, list[str]], Done],
        tasks: list[list[str]],
        progress: Progress,
    ) -> list[Done]:
        """What each task did; raises what the first that failed raised, once all have ended."""
        if self._pool is None:
            # Fresh ones: a fork of a process with threads (Arrow's, DuckDB's) may hang.
            self._pool = ProcessPoolExecutor(self._workers, multiprocessing.get_context("spawn"), _alone)
        work = partial(_answered, do, str(study.root.resolve()), log.getEffectiveLevel())
        done: list[Done] = []
        failed: list[Exception] = []
        try:
            for task, answer in zip(tasks, self._pool.map(work, tasks), strict=True):
                try:
                    done.append(outcome(answer))
                except Exception as error:  # noqa: BLE001 - raised below
                    failed.append(error)
                for _ in task:
                    progress()
        except BrokenProcessPool:
            raise Transient(
                "a process that worked for this run was killed; what was done stands, run again. Where that does not "
                "help, it needs more memory: fewer `workers` in study.yaml"
            ) from None
        if failed:
            raise failed[0]
        return done


def _alone() -> None:
    """A worker uses one core, leaves Ctrl-C to who started it, and ends with it, also where that one is killed."""
    pa.set_cpu_count(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answered(do: Callable[[Study, list[str]], Done], root: str, level: int, items: list[str]) -> str:
    with events(level) as said:
        try:
            answer: Done = {"done": do(_study(root), items)}
        except Exception as error:  # noqa: BLE001 - told where the run was started
            answer = {"error": told(error)}
    return json.dumps({**answer, "events": said})


@lru_cache(maxsize=1)
def _study(root: str) -> Study:
    return open_study(Path(root))


def _load(study: Study, tokens: list[str]) -> dict[str, Any]:
    return load_batch(study, tokens).counts()


def _rebuild(study: Study, ids: list[str]) -> dict[str, Any]:
    return asdict(rebuild(study, ids))
