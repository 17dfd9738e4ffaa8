"""Which rows of a file a mapping reads: those of its instrument, whose form was filled in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.errors import Refused
from ingest._core.log_mapping import LogMapping
from ingest.decode.log._words import Bools, each
from ingest.decode.sheets import Sheet

OTHER_ROWS, NOT_FILLED_IN = "other_rows", "form_not_filled_in"


def shares(sheet: Sheet, mappings: Sequence[LogMapping]) -> tuple[list[Sheet], Counter[str]]:
    """The rows that each mapping reads, and how many none reads, by reason.

    Rows that are no rows of the table stand in the first share. Raises Refused where two mappings that take the same
    column want one row.
    """
    wanted = [_wanted(sheet, mapping) for mapping in mappings]
    for (one, mine), (other, others) in combinations(zip(mappings, wanted, strict=True), 2):
        both = mine & others
        if both.any() and takes(one) & takes(other):
            raise Refused("ambiguous_mapping", f"row {int(sheet.rows[np.argmax(both)])}: expected one description of "
                          f"a row, got {one.name} and {other.name}, which take the same column and whose `only` it "
                          "fits; let them differ in one column")  # fmt: skip
    found: list[Sheet] = []
    read, asked = np.zeros(len(sheet.rows), dtype=np.bool_), np.zeros(len(sheet.rows), dtype=np.bool_)
    for mapping, rows in zip(mappings, wanted, strict=True):
        filled = rows
        if mapping.filled_in is not None:
            filled = rows & _holds(sheet, mapping.filled_in.column, mapping.filled_in.values)
        asked, read = asked | rows, read | filled
        found.append(_with_rows(sheet, filled, first=not found))
    passed = Counter({OTHER_ROWS: int((~asked).sum()), NOT_FILLED_IN: int((asked & ~read).sum())})
    return found, +passed


def can_share(mappings: Sequence[LogMapping]) -> bool:
    """True if any two of the mappings read rows of their own (`only`), or take different columns of the same rows."""
    return all((one.only and other.only) or not takes(one) & takes(other) for one, other in combinations(mappings, 2))


def takes(mapping: LogMapping) -> set[str]:
    """The columns from which a mapping takes what its rows say, those aside that only tell whose and when."""
    about = {mapping.participant, mapping.record_id, *mapping.record_id_with, *mapping.only}
    about |= {when.column for when in (mapping.date, mapping.reported_at) if when is not None}
    if mapping.filled_in is not None:
        about.add(mapping.filled_in.column)
    return {column.strip() for column in mapping.columns()} - {(column or "").strip() for column in about}


def _wanted(sheet: Sheet, mapping: LogMapping) -> Bools:
    """The rows of the mapping's `only`."""
    wanted = np.ones(len(sheet.rows), dtype=np.bool_)
    for column, words in mapping.only.items():
        wanted &= _holds(sheet, column, words)
    return wanted


def with_whole_ids(sheet: Sheet, mapping: LogMapping) -> Sheet:
    """The sheet with ids that are unique in the file, made of all the columns that the mapping names for them."""
    if mapping.record_id is None or not mapping.record_id_with:
        return sheet
    place = sheet.header.index(mapping.record_id.strip())
    own = sheet.column(mapping.record_id)
    whole = pc.binary_join_element_wise(*(sheet.column(name) for name in mapping.record_id_with), own, "\x1f")
    stated = pc.greater(pc.binary_length(pc.utf8_trim_whitespace(own)), 0)
    cells = sheet.cells.set_column(place, str(place), pc.if_else(stated, whole, own))
    return Sheet(sheet.header, cells, sheet.rows, sheet.bad, sheet.text, sheet.delimiter, sheet.known_lines)


def _holds(sheet: Sheet, column: str, words: Sequence[str]) -> Bools:
    wanted = {word.strip().casefold() for word in words}
    held = each(sheet.column(column), lambda word: word.casefold() in wanted, pa.bool_())
    mask: Bools = held.to_numpy(zero_copy_only=False)
    return mask


def _with_rows(sheet: Sheet, wanted: Bools, first: bool) -> Sheet:
    """The sheet with some of its rows, which keep their numbers."""
    if wanted.all() and first:
        return sheet
    cells = sheet.cells.filter(pa.array(wanted)).combine_chunks()
    bad = sheet.bad if first else []
    return Sheet(sheet.header, cells, sheet.rows[wanted], bad, sheet.text, sheet.delimiter, sheet.known_lines)
