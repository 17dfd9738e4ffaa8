"""What runs in Spark's Python workers: a batch decoded, a group of participants built, and what is told of it.

Each task gives an answer of answers.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext

from ingest._core.clock import tzdata_version
from ingest._core.errors import Terminal, WrongUse
from ingest._core.study import Study, open_study
from ingest.engine.answers import Done, events, told
from ingest.lake.load import load_batch
from ingest.mart.participant import DEFINITIONS_VERSION
from ingest.mart.rebuild import rebuild

ANSWER = pa.schema([("task", pa.int64()), ("answer", pa.string())])
ANSWER_DDL = "task long, answer string"


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
    with events(job.level) as said:
        try:
            answer: Done = {"done": do(_study(job))}
        except Exception as error:  # noqa: BLE001 - Spark would show its text, and its trace of Java besides
            kind, text = told(error)
            lasting = isinstance(error, Terminal | WrongUse)
            if not lasting and context is not None and context.attemptNumber() + 1 < job.attempts:
                raise _TriedAgain(kind) from None
            answer = {"error": [kind, text]}
    return json.dumps({**answer, "events": said})


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
