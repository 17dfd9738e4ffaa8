"""What becomes of each row of a file, told once, however many mappings read it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.decode.log._reader import Reader
from ingest.decode.log._words import Bools
from ingest.decode.model import RecordKind, Refusal, Tally
from ingest.decode.sheets import Sheet


def count(tally: Tally, readers: Sequence[Reader], member: int | None, base: int) -> None:
    """Enter the rows of one table in the tally: each is read once, whoever reads it.

    It is kept if one of the readers took something from it, else set aside if one found a fault in it, else a
    duplicate, else ignored. A fault in a row that is kept, and each further one of a row that is set aside, costs a
    value; what several say alike of one column is told once. `base` rows precede in the export, `member` names the
    file. The rows that several readers keep are added to `tally.shared`, since harmonising may still refuse what one
    of them took.
    """
    top = 1 + max((int(reader.sheet.rows.max(initial=0)) for reader in readers), default=0)
    read, kept = np.zeros(top, dtype=np.bool_), np.zeros(top, dtype=np.int64)
    lost, repeated = np.zeros(top, dtype=np.bool_), np.zeros(top, dtype=np.bool_)
    passed: dict[str, Bools] = {}
    for reader in readers:
        findings, rows = reader.findings, reader.sheet.rows
        gone = findings.lost(reader.n)
        lost[rows[gone]] = True
        for reason, where in findings.passed.items():
            passed.setdefault(reason, np.zeros(top, dtype=np.bool_))[rows[where]] = True
            gone = gone | where
        if findings.repeated is not None:
            repeated[rows[findings.repeated]] = True
            gone = gone | findings.repeated
        read[rows] = True
        kept[rows[~gone]] += 1
    told = (kept > 0) | lost
    tally.read += int(read.sum()) + sum(len(reader.sheet.bad) for reader in readers)
    tally.duplicate += int((repeated & ~told).sum())
    told |= repeated
    for reason, where in passed.items():
        tally.ignored[reason] += int((where & ~told).sum())
        told |= where
    tally.ignored = +tally.ignored
    tally.shared.update((base + np.flatnonzero(kept > 1)).tolist())
    _tell(tally, readers, kept > 0, member, base)


def _tell(tally: Tally, readers: Sequence[Reader], kept: Bools, member: int | None, base: int) -> None:
    """A line for each fault, in the order of the rows."""
    told: set[int] = set()
    alike: set[tuple[int, str | None, str]] = set()
    for reader in readers:
        sheet, findings = reader.sheet, reader.findings
        lines: list[tuple[int, str, Refusal]] = []

        def add(kind: RecordKind, row: int, part: str | None, reason: str, detail: str, sheet: Sheet = sheet,
                lines: list[tuple[int, str, Refusal]] = lines) -> None:  # fmt: skip
            where = locator(sheet, row, part, member, base)
            lines.append((row, part or "", Refusal(kind, where, reason, detail, row=base + row)))

        for bad in sheet.bad:
            part = None if bad.column is None else f"column {bad.column}"
            add(findings.kind, bad.row, part, bad.reason, bad.detail)
        for fault in findings.records.values():
            row = int(sheet.rows[fault.position])
            if (row, fault.part, fault.reason) in alike:
                continue
            alike.add((row, fault.part, fault.reason))
            kind: RecordKind = "value" if kept[row] or row in told else findings.kind
            told.add(row)
            add(kind, row, fault.part, fault.reason, fault.detail)
        for fault in findings.values:
            add("value", int(sheet.rows[fault.position]), fault.part, fault.reason, fault.detail)
        for column in findings.columns:
            rows = [locator(sheet, int(sheet.rows[at]), None, None, base) for at in column.positions]
            where = ("" if member is None else f"file {member}, ") + f"column {column.place}"
            tally.refuse("member", where, column.reason, column.detail.format(*rows))
        tally.refusals.extend(refusal for _, _, refusal in sorted(lines, key=lambda line: line[:2]))


def locator(sheet: Sheet, row: int, part: str | None, member: int | None, base: int) -> str:
    """Where a fault is: the row, its line where that is not the next one, the column."""
    line = sheet.line_of(row)
    beside = [] if member is None else [f"file {member}"]
    if beside or line != row + 1:
        beside.append(f"line {line}")
    words = f"row {base + row}" + (f" ({', '.join(beside)})" if beside else "")
    return words if part is None else f"{words}, {' '.join(part.split())}"
