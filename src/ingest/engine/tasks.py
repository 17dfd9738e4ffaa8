"""What runs in Spark's Python workers: a batch decoded, a group of participants built, and what is told of it.

A task answers with one text of JSON: `done` or `error`, and `events`, the log lines it made. What this package raises
is such an answer, too, so that it is raised again where the run was started, as what it was.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark import TaskContext

from ingest._core import errors
from ingest._core.clock import tzdata_version
from ingest._core.errors import IngestError, Terminal, WrongUse
from ingest._core.files import storage_error
from ingest._core.logs import log
from ingest._core.study import Study, open_study
from ingest.lake.load import load_batch
from ingest.mart.participant import DEFINITIONS_VERSION
from ingest.mart.rebuild import rebuild

ANSWER = pa.schema([("task", pa.int64()), ("answer", pa.string())])
ANSWER_DDL = "task long, answer string"
Done = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What every task of a job is told. `attempts` is how often Spark tries a task, `level` that of the log."""

    id: str
    root: str
    software: tuple[str, ...]
    attempts: int
    level: int


class _TriedAgain(Exception):
    """Ends an attempt, so that Spark makes another; says no more than Spark's own logs may hold."""


def software() -> tuple[str, ...]:
    """What must be the same wherever a study's bytes are made."""
    return (f"sleep-ingest {version('sleep-ingest')}", f"definitions {DEFINITIONS_VERSION}",
            f"tzdata {tzdata_version()}", f"pyarrow {pa.__version__}")  # fmt: skip


def decode_batches(job: Job, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: of each row (task, items) the exports with these tokens, decoded; yields rows of ANSWER."""
    for batch in rows:
        for row in batch.to_pylist():
            said = answered(job, partial(_decoded, row["items"]))
            yield pa.RecordBatch.from_pylist([{"task": row["task"], "answer": said}], schema=ANSWER)


def build_group(job: Job, rows: pa.Table) -> pa.Table:
    """For applyInArrow: the marts of a group's participants, built; gives a row of ANSWER."""
    (row,) = rows.to_pylist()
    said = answered(job, partial(_built, row["items"]))
    return pa.Table.from_pylist([{"task": row["task"], "answer": said}], schema=ANSWER)


def answered(job: Job, do: Callable[[Study], Done]) -> str:
    """What `do` gives for the study, as an answer; what may go well when tried again is left to Spark at first."""
    context = TaskContext.get()
    if context is not None:
        pa.set_cpu_count(max(1, context.cpus()))
    with _events(job.level) as events:
        try:
            answer: Done = {"done": do(_study(job))}
        except Exception as error:  # noqa: BLE001 - Spark would show its text, and its trace of Java besides
            kind, text = _told(error)
            lasting = isinstance(error, Terminal | WrongUse)
            if not lasting and context is not None and context.attemptNumber() + 1 < job.attempts:
                raise _TriedAgain(kind) from None
            answer = {"error": [kind, text]}
    return json.dumps({**answer, "events": events})


def outcome(answer: str) -> Done:
    """What a task's answer says was done; its log lines are logged here. Raises what the task raised."""
    said = json.loads(answer)
    for fields in said["events"]:
        record = logging.makeLogRecord({"name": log.name, **fields})
        if log.isEnabledFor(record.levelno):
            log.handle(record)
    if "error" in said:
        kind, text = said["error"]
        raise getattr(errors, kind)(text)
    done: Done = said["done"]
    return done


def _decoded(tokens: list[str], study: Study) -> Done:
    return {**load_batch(study, tokens).counts()}


def _built(ids: list[str], study: Study) -> Done:
    return asdict(rebuild(study, ids))


@lru_cache(maxsize=1)
def _study(job: Job) -> Study:
    """The study as it stands when the first task of a job comes to this worker."""
    here = software()
    if here != job.software:
        others = [f"{mine} (not {theirs})" for mine, theirs in zip(here, job.software, strict=True) if mine != theirs]
        raise WrongUse(
            f"Spark's workers have {', '.join(others)}; give them the same environment as this one (docs/scale.md)"
        )
    return open_study(Path(job.root))


def _told(error: Exception) -> tuple[str, str]:
    known = storage_error(error) if isinstance(error, OSError) else error
    if isinstance(known, IngestError):
        return type(known).__name__, str(known)
    if isinstance(error, MemoryError):
        return Terminal.__name__, "a task of Spark ran out of memory; give its workers more (docs/scale.md)"
    # The message may quote a file; the type and the place do not.
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return Terminal.__name__, f"a task of Spark met {type(error).__name__} at {where}; please report it"


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[Done] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.events.append({"created": record.created, "levelno": record.levelno, "levelname": record.levelname,
                            "msg": record.getMessage(), "facts": getattr(record, "facts", None)})  # fmt: skip


@contextmanager
def _events(level: int) -> Iterator[Iterable[Done]]:
    kept, before = _Kept(), log.level
    log.addHandler(kept)
    log.setLevel(level)
    try:
        yield kept.events
    finally:
        log.removeHandler(kept)
        log.setLevel(before)
