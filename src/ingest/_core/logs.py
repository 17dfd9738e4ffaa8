"""Log lines: one per export and per participant built, as key=value or JSON, without personal content.

Ids stand for people and files; no line holds a path, a ref, or anything that stood in a file.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from ingest._core.errors import WrongUse

FORMATS = ("text", "json")
log = logging.getLogger("ingest")
_PLAIN = re.compile(r"[^\s\"'=\\]+")


def event(name: str, **fields: Any) -> None:
    """Log that something happened: a word for what, and its facts. What is None is left out."""
    known = {key: value for key, value in {"event": name, **fields}.items() if value is not None}
    # The text is in the message, too, for handlers that are not ours (Airflow's task logs).
    log.info("%s", _words(known), extra={"facts": known})


def to_stderr(verbose: bool = False, format: str | None = None) -> None:
    """Send this package's log lines to stderr, `text` or `json`; warnings only unless `verbose` or a format is asked.

    Raises WrongUse for a format that is none.
    """
    if format is not None and format not in FORMATS:
        raise WrongUse(f"--log-format (INGEST_LOG): expected {' or '.join(FORMATS)}")
    if not log.handlers:
        log.addHandler(logging.StreamHandler(sys.stderr))
    for handler in log.handlers:
        handler.setFormatter(JsonLines() if format == "json" else TextLines())
    log.setLevel(logging.INFO if verbose or format is not None else logging.WARNING)


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """A record as time (UTC), level and facts; one that is no event has its message as `text`."""
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = getattr(record, "facts", None) or {"event": "message", "text": record.getMessage()}
    return {"time": at, "level": record.levelname.lower(), **said}


class TextLines(logging.Formatter):
    """`time=... level=info event=export ...`; values that are no plain word as JSON strings."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return _words(facts_of(record))


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return json.dumps(facts_of(record), ensure_ascii=False)


def _words(facts: dict[str, Any]) -> str:
    return " ".join(f"{key}={_word(value)}" for key, value in facts.items())


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
