"""What becomes of the rows of one sheet: used, repeated, without an answer, or set aside with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest.decode.log._words import Bools, shape_of
from ingest.decode.model import RecordKind
from ingest.decode.sheets import Sheet

SEPARATOR = "\0"
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Fault:
    """A cell or row that could not be used: where (position in the sheet, column as the mapping calls it), and why."""

    position: int
    part: str | None
    reason: str
    detail: str


@dataclass(frozen=True)
class ColumnFault:
    """What is wrong with a column as a whole: its place in the header, from 1, and why. In `detail` the places `{0}`,
    `{1}`, ... stand for the rows at these positions of the sheet.
    """

    place: int
    reason: str
    detail: str
    positions: tuple[int, ...]


@dataclass
class Findings:
    """Faults of a sheet's rows. A row among `records` is lost whole; `values` are lost from rows in use. `repeated` are
    rows that another one stands for, `passed` by reason those that say nothing.

    `kind` is what a row is: a use, a diary night, a set of answers.
    """

    kind: RecordKind = "substance_use"
    records: dict[int, Fault] = field(default_factory=dict)
    values: list[Fault] = field(default_factory=list)
    columns: list[ColumnFault] = field(default_factory=list)
    repeated: Bools | None = None
    passed: dict[str, Bools] = field(default_factory=dict)

    def lose(self, where: Bools, reason: str, detail: Callable[[int], str] | str, part: str | None = None) -> None:
        """Set the rows aside, for their `part` if one is named; the first fault of a row is the one that is told."""
        for position in np.flatnonzero(where).tolist():
            text = detail if isinstance(detail, str) else detail(position)
            self.records.setdefault(position, Fault(position, part, reason, text))

    def lose_values(self, where: Bools, part: str, reason: str, detail: Callable[[int], str] | str) -> None:
        """Set one value of each row aside."""
        for position in np.flatnonzero(where).tolist():
            text = detail if isinstance(detail, str) else detail(position)
            self.values.append(Fault(position, part, reason, text))

    def pass_over(self, reason: str, where: Bools) -> None:
        """Leave rows out that say nothing; they are no fault."""
        if where.any():
            self.passed[reason] = where

    def lost(self, n: int) -> Bools:
        """Which of the sheet's `n` rows are set aside."""
        mask = np.zeros(n, dtype=np.bool_)
        mask[list(self.records)] = True
        return mask


def told(column: pa.Array, expected: str, action: str) -> Callable[[int], str]:
    """The detail of a bad cell: what was expected, the kind of thing that came, what to do."""

    def detail(position: int) -> str:
        return f"expected {expected}, got {shape_of(column[position].as_py() or '')}; {action}"

    return detail


def blank_rows(sheet: Sheet, candidates: Bools) -> Bools:
    """Which of the candidate rows have nothing but blanks in every cell."""
    blank = candidates.copy()
    for column in sheet.cells.columns:
        where = np.flatnonzero(blank)
        if not len(where):
            break
        cells = pc.utf8_trim_whitespace(column.take(pa.array(where)))
        blank[where] = pc.equal(pc.binary_length(cells), 0).to_numpy()
    return blank


def repeated_rows(sheet: Sheet, among: Positions) -> Positions:
    """Those of the rows all of whose cells equal those of an earlier one."""
    if not len(among):
        return among
    whole = len(among) == len(sheet.rows)
    columns = [column if whole else column.take(pa.array(among)) for column in sheet.cells.columns]
    codes = pc.binary_join_element_wise(*columns, SEPARATOR).combine_chunks().dictionary_encode().indices
    return among[~_is_first(codes.to_numpy())]


def superseded_rows(keys: pa.Array, among: Positions) -> tuple[Positions, Positions]:
    """Those of the rows whose key (one per entry of `among`) comes again later, and the last row of each."""
    encoded = keys.dictionary_encode()
    if len(encoded.dictionary) == len(among):
        return among[:0], among[:0]
    codes = encoded.indices.to_numpy()
    last = np.zeros(len(encoded.dictionary), dtype=np.int64)
    last[codes] = np.arange(len(codes))
    old = np.flatnonzero(last[codes] != np.arange(len(codes)))
    return among[old], among[last[codes[old]]]


def _is_first(codes: NDArray[np.int32]) -> Bools:
    """True where a code of a dictionary in order of appearance stands for the first time."""
    before = np.concatenate([[-1], np.maximum.accumulate(codes)[:-1]])
    first: Bools = codes > before
    return first
