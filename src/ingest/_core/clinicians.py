"""clinicians.csv: which participants a clinician, by their login at the database server, may see."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ingest._core.errors import WrongUse

CLINICIANS = "clinicians.csv"
COLUMNS = ("clinician", "participant_ref")
_LOGIN = re.compile(r"[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,62}")


@dataclass(frozen=True)
class Assignments:
    """Pairs of login and participant_ref, and a line for each row that cannot be used."""

    pairs: frozenset[tuple[str, str]]
    problems: tuple[str, ...] = ()


def read_clinicians(root: Path, refs: Collection[str]) -> Assignments:
    """The assignments of the study in `root`; nobody is assigned where there is no such file.

    A row whose participant is not of `refs`, those of roster.csv, assigns nobody. Raises WrongUse where the file is no
    such table.
    """
    path = root / CLINICIANS
    if not path.exists():
        return Assignments(frozenset())
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header, *rows = list(csv.reader(stream)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise WrongUse(f"{CLINICIANS}: expected a comma-separated table in UTF-8; save it as such") from error
    if tuple(name.strip() for name in header) != COLUMNS:
        raise WrongUse(f"{CLINICIANS}: expected the header {','.join(COLUMNS)}")
    pairs, problems = set(), []
    for line, cells in enumerate(rows, start=2):
        row = [cell.strip() for cell in cells]
        if not any(row):
            continue
        if len(row) != len(COLUMNS) or not _LOGIN.fullmatch(row[0]):
            problems.append(f"{CLINICIANS} line {line}: expected a login of the database server and a participant_ref")
        elif row[1] not in refs:
            problems.append(f"{CLINICIANS} line {line}: participant_ref has no usable row in roster.csv; nobody is "
                            "assigned by this row")  # fmt: skip
        else:
            pairs.add((row[0], row[1]))
    return Assignments(frozenset(pairs), tuple(problems))
