"""The warehouse for one answer: opened, read and closed, by one reader at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from threading import Lock
from typing import TypeVar

import duckdb

from ingest._core.errors import IngestError, Terminal, Transient, WrongUse
from ingest._core.study import Study, open_study
from ingest.publish.postgres import ERRORS
from ingest.publish.reading import NO_WAREHOUSE, Reader, opened

T = TypeVar("T")
CHANGED = "the warehouse was replaced while this page was read; load it again"
NOT_READ = "the study or its warehouse cannot be read now; `ingest status`, where this server runs, says why"
log = logging.getLogger("ingest.serve")


class NotReadable(Transient):
    """The warehouse cannot be read as things stand; the text says no more than may be shown."""


class Source:
    """A study's warehouse. Each reading sees it as it stands then, whoever published meanwhile."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # A process has one instance of a DuckDB file: were readings to overlap, none would ever see a newer file.
        # It also bounds the memory: one page is built at a time.
        self._lock = Lock()

    def read(self, work: Callable[[Study, Reader], T]) -> T:
        """What `work` makes of study and warehouse.

        Raises NotReadable where there is none or it cannot be read, and what `work` raises. What the engine says may
        quote addresses and settings: it goes to the log of this server only.
        """
        with self._lock:
            try:
                with ExitStack() as stack:
                    study, reader = self._open(stack)
                    return work(study, reader)
            except (duckdb.Error, ERRORS) as error:
                log.warning("the warehouse could not be read: %s", type(error).__name__)
                raise NotReadable(CHANGED) from None
            except (Transient, Terminal) as error:
                if not isinstance(error, NotReadable):
                    log.warning("%s", error)
                    raise NotReadable(CHANGED) from None
                raise

    def _open(self, stack: ExitStack) -> tuple[Study, Reader]:
        try:
            study = open_study(self._root)
            return study, stack.enter_context(opened(study))
        except IngestError as error:
            said = str(error)
            log.warning("%s", said)
            raise NotReadable(NO_WAREHOUSE if said == NO_WAREHOUSE else NOT_READ) from None


def span_of(first: str, last: str) -> tuple[date | None, date | None]:
    """Two dates of a form, empty for none; raises WrongUse."""
    found = [None if not text else _date(text) for text in (first, last)]
    if found[0] and found[1] and found[0] > found[1]:
        raise WrongUse("from: expected a date that is not after the other")
    return found[0], found[1]


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongUse("from, to: expected a date like 2026-03-01") from None
