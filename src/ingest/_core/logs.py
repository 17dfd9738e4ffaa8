"""Log lines: one per file, structured, without personal content; ids stand for people and files."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger("ingest")


def to_stderr(verbose: bool = False) -> None:
    """Send this package's log lines to stderr; warnings only unless `verbose`."""
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO if verbose else logging.WARNING)
