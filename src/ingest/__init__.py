"""Sleep exports and substance-use logs in, one row per participant-night out; `open_study` reads what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from ingest.report.tables import StudyTables

__all__ = ["open_study"]


def open_study(path: str | PathLike[str]) -> StudyTables:
    """The study in the folder `path`, for reading its warehouse on either engine.

    The result has a method for each table and view, `study.night()`, and `study.query(sql)`; both give pandas, or
    Arrow with `as_arrow=True`. Raises WrongUse where the folder is no study.
    """
    from pathlib import Path

    from ingest.report.tables import study_tables  # `import ingest` stays cheap

    return study_tables(Path(path))
