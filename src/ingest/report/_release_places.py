"""Where releases stand; those outside the study are written down in identity/releases.csv, for an erasure to find."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ingest._core.errors import Terminal, WrongUse
from ingest._core.files import locked, write_bytes
from ingest._core.study import Study

_COLUMNS = ["release", "folder"]


def folder_for(study: Study, to: Path | None) -> Path:
    """The folder that a release goes into, made if need be; raises WrongUse where it cannot be."""
    folder = study.root / "releases" if to is None else to
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongUse(f"{folder} is no folder and none can be made there: {error.strerror}; choose another") from None
    return folder


def note_place(study: Study, name: str, folder: Path) -> None:
    """Write down that the release stands in `folder`, before it does; nothing to write where that is the study's."""
    if folder.resolve() == (study.root / "releases").resolve():
        return
    with locked(study.identity / ".releases.lock", "identity/releases.csv", wait=True):
        known = places(study)
        place = (name, str(folder.resolve()))
        if place in known:
            return
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *known, place])
        write_bytes(_path(study), text.getvalue().encode("utf-8", "surrogateescape"), 0o600)


def places(study: Study) -> list[tuple[str, str]]:
    """Name and folder of each release outside the study; raises Terminal where the table is damaged."""
    if not _path(study).exists():
        return []
    try:
        text = _path(study).read_bytes().decode("utf-8", "surrogateescape")
        header, *rows = csv.reader(io.StringIO(text))
        found = [(name, folder) for name, folder in rows]
    except ValueError as error:
        raise Terminal("identity/releases.csv is damaged; restore it from your backup") from error
    if header != _COLUMNS:
        raise Terminal("identity/releases.csv is damaged; restore it from your backup")
    return found


def _path(study: Study) -> Path:
    return study.identity / "releases.csv"
