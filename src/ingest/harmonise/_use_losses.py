"""Which uses of a log could not be kept, told record by record."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.decode.model import RecordKind, Tally

Codes = NDArray[np.int64]


class Losses:
    """Uses refused while harmonising, and values set aside; `enter` writes them to the tally, by record.

    A record of the log may have given several uses. It is quarantined, once, when all of them are refused.
    """

    def __init__(self, source_row: Codes, tally: Tally) -> None:
        self._row, self._tally = source_row, tally
        self._lost: dict[int, tuple[str, str, str | None]] = {}
        self._values: dict[int, tuple[str, str, str | None]] = {}

    @property
    def left(self) -> NDArray[np.bool_]:
        """The uses that are not refused."""
        mask = np.ones(len(self._row), dtype=np.bool_)
        mask[list(self._lost)] = False
        return mask

    def lose(self, uses: Codes, reason: str, detail: str, columns: Sequence[str | None] | None = None) -> None:
        """Refuse the uses at these places, for what stands in their `columns`; the first reason is the one told."""
        for i, at in enumerate(uses.tolist()):
            self._lost.setdefault(at, (reason, detail, columns[i] if columns else None))

    def lose_values(
        self, uses: Codes, reason: str, detail: Callable[[int], str], columns: Sequence[str | None]
    ) -> None:
        """Set a value of each of these uses aside; `detail` is asked for the how-manieth of them."""
        for i, at in enumerate(uses.tolist()):
            self._values[at] = (reason, detail(i), columns[i])

    def enter(self) -> None:
        """Write everything to the tally, ordered by record."""
        if not self._lost and not self._values:
            return
        first = np.searchsorted(self._row, self._row)
        count = np.searchsorted(self._row, self._row, side="right") - first
        lost_of = np.bincount(first[list(self._lost)], minlength=len(self._row)) if self._lost else count * 0
        told: set[int] = set()
        for at, (reason, detail, column) in sorted({**self._values, **self._lost}.items()):
            record = int(first[at])
            whole = bool(lost_of[record] == count[record])
            if whole and record in told:
                continue
            told.add(record)
            where = row_locator(int(self._row[at]), column, None if whole or count[at] == 1 else at - record + 1)
            kind: RecordKind = "substance_use" if whole else "value"
            self._tally.refuse(kind, where, reason, detail, row=int(self._row[at]))


def row_locator(row: int, column: str | None, use: int | None = None) -> str:
    """Where a fault is: the row, the how-manieth use of it, the column as the mapping calls it."""
    words = f"row {row}" + ("" if use is None else f", use {use}")
    return words if column is None else f"{words}, {' '.join(column.split())}"
