"""What a task that runs elsewhere tells of itself: one text of JSON, `done` or `error`, and `events`, its log lines.

What this package raises is such an answer, too, so that it is raised again where the run was started, as what it was.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingest._core import errors
from ingest._core.errors import IngestError, Terminal
from ingest._core.files import storage_error
from ingest._core.logs import log

Done = dict[str, Any]


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


def told(error: Exception) -> tuple[str, str]:
    """Class and text of what is raised for it where the run was started; quotes nothing of a file."""
    known = storage_error(error) if isinstance(error, OSError) else error
    if isinstance(known, IngestError):
        return type(known).__name__, str(known)
    if isinstance(error, MemoryError):
        return Terminal.__name__, "a task ran out of memory; give its worker more (docs/scale.md)"
    # The message may quote a file; the type and the place do not.
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return Terminal.__name__, f"a task met {type(error).__name__} at {where}; please report it"


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[Done] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.events.append({"created": record.created, "levelno": record.levelno, "levelname": record.levelname,
                            "msg": record.getMessage(), "facts": getattr(record, "facts", None)})  # fmt: skip


@contextmanager
def events(level: int) -> Iterator[list[Done]]:
    """The log lines of the context from this level on, as they come."""
    kept, before = _Kept(), log.level
    log.addHandler(kept)
    log.setLevel(level)
    try:
        yield kept.events
    finally:
        log.removeHandler(kept)
        log.setLevel(before)
