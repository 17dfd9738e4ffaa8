"""Builds the two starts that faults are done to."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from faults.loops import PRESENT, Start, start_of
from faults.small import change, copied, ran, silent, small_study
from ingest import pipeline
from ingest._core.study import open_study
from ingest.report.verify import verify


@cache
def _warm(folder: Path, base: Path) -> None:
    """Do everything once in this process, so that the forked ones have all they import."""
    root = copied(base, folder)
    pipeline.run(open_study(root), silent)
    assert verify(open_study(root)) == []


def small_start(folder: Path) -> Start:
    """The small study before its first run."""
    root = small_study(folder / "study")
    _warm(folder / "warm", root)
    return start_of(root, folder)


def second_arrival(folder: Path, first: Start) -> Start:
    """The same after a run, when newer exports and another roster have come."""
    root = copied(first.root, folder / "study")
    ran(root, PRESENT)
    change(root)
    return start_of(root, folder)
