"""Spark: a row for each batch or group of participants, a task for each row, `mapInArrow` and `applyInArrow`.

What travels are tokens, ids and counts; exports and rows are read and written by the workers themselves, where
study.yaml says landing and lake stand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa

from ingest._core.errors import Terminal, Transient
from ingest._core.logs import log
from ingest._core.study import Study
from ingest.arrive.arrivals import Arrival
from ingest.engine.answers import outcome
from ingest.engine.engine import Progress
from ingest.engine.session import attempts, first_line, started
from ingest.engine.shares import batches, groups
from ingest.lake.load import LoadResult
from ingest.lake.store import manifests
from ingest.mart.rebuild import GROUP_SIZE, RebuildResult

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from ingest.engine.tasks import Job

_ROWS = pa.schema([("task", pa.int64()), ("items", pa.list_(pa.string()))])
_ENDED = ("exited unexpectedly", "ExecutorLostFailure", "cancelled", "shut down", "stopped", "Connection reset",
          "Answer from Java side is empty", "Error while receiving")  # fmt: skip


class OnSpark:
    """An engine that starts a session when there is something to do, and stops it at the end if it started it."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        self._session: SparkSession | None = None
        self._own = False

    def __enter__(self) -> OnSpark:
        return self

    def __exit__(self, *_: object) -> None:
        if self._session is not None and self._own:
            self._session.stop()
        self._session = None

    def load(self, study: Study, wanted: Sequence[Arrival], progress: Progress) -> LoadResult:
        """A task for each batch of exports; what one of them cannot do keeps none of the others from theirs."""
        result = LoadResult()
        if not wanted:
            return result
        tasks = batches(wanted, study.settings.batch_bytes, self._cores())
        from ingest.engine.tasks import ANSWER_DDL, decode_batches

        for counts in self._done(
            study, tasks, lambda job, rows: rows.mapInArrow(partial(decode_batches, job), ANSWER_DDL), progress
        ):
            result.add_counts(counts)
        return result

    def rebuild(self, study: Study, ids: Sequence[str], progress: Progress) -> RebuildResult:
        """A task for each group of participants; whoever has much is alone in one."""
        if not ids:
            return RebuildResult([])
        cores = self._cores()
        from ingest.engine.tasks import ANSWER_DDL, build_group

        rows = {pid: sum(file.rows for of in manifests(study.lake, pid) for file in of.files.values()) for pid in ids}
        tasks = groups(rows, cores, GROUP_SIZE)
        parts = [RebuildResult(**done) for done in self._done(
            study, tasks,
            lambda job, rows: rows.groupBy("task").applyInArrow(partial(build_group, job), ANSWER_DDL), progress,
        )]  # fmt: skip
        why = {pid: lines for part in parts for pid, lines in part.reasons.items()}
        built = {pid for part in parts for pid in part.participants}
        order = [pid for pid in ids if pid in built]
        return RebuildResult(order, sum(part.nights for part in parts), {pid: why[pid] for pid in order})

    def _cores(self) -> int:
        return int(self._running().sparkContext.defaultParallelism)

    def _running(self) -> SparkSession:
        if self._session is None:
            self._session, self._own = started(self._said)
        return self._session

    def _done(
        self,
        study: Study,
        tasks: list[list[str]],
        apply: Callable[[Job, DataFrame], DataFrame],
        progress: Progress,
    ) -> list[dict[str, Any]]:
        """What each task did, in their order; raises what the first that failed raised, once all have ended."""
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        from ingest.engine.tasks import Job, software

        session = self._running()
        job = Job(uuid4().hex, str(study.root.resolve()), software(), attempts(session), log.getEffectiveLevel())
        table = pa.Table.from_pylist([{"task": at, "items": of} for at, of in enumerate(tasks)], schema=_ROWS)
        try:
            # One row, one partition: Spark begins them in their order, and none waits behind another.
            rows = session.createDataFrame(table).repartitionByRange(len(tasks), "task")
            answers: dict[int, str] = {row["task"]: row["answer"] for row in apply(job, rows).collect()}
        except (Py4JError, PySparkException, OSError) as error:
            logging.getLogger("ingest.engine").debug("Spark said: %s", error)
            raise _given_up(error) from None
        done, failed = [], []
        for at in sorted(answers):
            try:
                done.append(outcome(answers[at]))
            except Exception as error:  # noqa: BLE001 - raised below
                failed.append(error)
            for _ in tasks[at]:
                progress()
        if failed:
            raise failed[0]
        return done


def _given_up(error: Exception) -> Terminal | Transient:
    told = first_line(error)
    if "No module named" in str(error):
        return Terminal("Spark's workers do not have this package; give them this environment (docs/scale.md)")
    if any(words in str(error) for words in _ENDED):
        return Transient(
            f"Spark lost what worked for it and gave up ({told}); what was done stands, run again. Where that does not "
            "help, its workers need more memory (docs/scale.md)"
        )
    return Terminal(f"Spark gave up ({told}); `spark.log.level: ERROR` shows more (docs/scale.md)")
