"""Releases of aggregates: tables of the cohort in which no cell is about few people, nor the difference to an earlier
release.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest._core.errors import WrongUse
from ingest._core.files import building, locked
from ingest._core.study import Study
from ingest.harmonise.identity import read_links
from ingest.publish.audit import audited
from ingest.publish.reading import opened
from ingest.report._aggregate_between import visible
from ingest.report._aggregate_cells import ALL, Contribution, Universe, universes
from ingest.report._aggregate_files import TABLES, row_of, write_aggregates
from ingest.report._aggregate_record import Record, Tokens, Told, before, keep, next_number
from ingest.report._release_choice import check_name, chosen_people, refuse_behind
from ingest.report._release_places import folder_for
from ingest.report._release_placing import STOOD, WAITS, built_in, placed, refuse_where_other
from ingest.report._small_cells import Key
from ingest.report.release import stands
from ingest.report.safe_tables import HELD, SHOWN, SUPPRESSED, Limits, limits_of, rounded


@dataclass(frozen=True)
class Aggregated:
    """Where the release stands, its cells by status, whether it stood there already or waits for an approval."""

    folder: Path
    cells: Mapping[str, int]
    stood: bool
    waits: bool = False


def release_aggregates(study: Study, name: str, to: Path | None = None) -> Aggregated:
    """Write the aggregates `name` into `to` (`releases/` of the study), whole or not at all.

    What it shows is written down in identity/aggregates/ first. Raises WrongUse where study.yaml says no
    `small_cells.min_participants`, for a name that cannot be or has shown other values, and while the warehouse is
    behind the lake; Terminal where the record of an earlier release cannot be read; Transient where the storage
    refuses.
    """
    check_name(name)
    limits = limits_of(study.settings)
    if limits is None:
        raise WrongUse("study.yaml, small_cells.min_participants: say from how many participants on a cell may be "
                       "shown; without it no aggregates are released")  # fmt: skip
    folder = folder_for(study, to)
    lock, built = study.identity / ".aggregates.lock", built_in(study, folder)
    with (
        audited(study, "release", tables=[f"aggregate {each}" for each in sorted(TABLES)]) as entry,
        locked(built / ".lock", "the folder of releases"), locked(lock, "another release of aggregates"),
        opened(study) as reader, building(built) as tmp,
    ):  # fmt: skip
        refuse_behind(study, reader, [])
        people = chosen_people(study, reader).ids
        earlier, own = before(study, name)
        made = _Made(study, universes(reader, people), people, earlier, limits)
        _refuse_people(made.rows, {*people, *read_links(study).values()})
        write_aggregates(tmp, study.settings, name, made.rows, limits)
        refuse_where_other(study, tmp, folder, name)
        keep(study, Record(name, own.number if own else next_number(earlier), made.told), own)
        where, state = placed(study, tmp, folder, name, entry, people)
        entry.counts = {**made.cells, "participants": len(people), STOOD: int(state == STOOD),
                        WAITS: int(state == WAITS)}  # fmt: skip
        return Aggregated(where, made.cells, state == STOOD, state == WAITS)


def _refuse_people(rows: Mapping[str, Sequence[Mapping[str, Any]]], names: set[str]) -> None:
    """Raises WrongUse where a cell is called like a participant: it would be a row about one."""
    called = {name.casefold() for name in names}
    for table, each in rows.items():
        for column in {key for row in each for key in row}:
            if any(isinstance(row.get(column), str) and row[column].casefold() in called for row in each):
                raise WrongUse(f"{table}: a value of {column} is a participant's ref or id; call it something else, "
                               "aggregates have no rows of people")  # fmt: skip


def said(done: Aggregated) -> list[str]:
    """What the command says of it, line by line."""
    counts = ", ".join(f"{count} {status}" for status, count in done.cells.items())
    how = stands(done.stood, done.waits)
    return [f"aggregates    {counts} cells", f"{done.folder} {how}; README.txt says what is in it"]


class _Made:
    """Rows by table, cells by status, and what is to be written down, universe by universe."""

    def __init__(
        self, study: Study, found: Sequence[Universe], people: Sequence[str], earlier: Sequence[Record], limits: Limits
    ) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.told: dict[str, Told] = {}
        self.cells = dict.fromkeys((SHOWN, HELD, SUPPRESSED), 0)
        self._limits = limits
        tokens = Tokens(study)
        self._released = tokens.among(people)
        usable: Collection[Key] = ()
        for universe in found:
            before = [record.told[universe.name] for record in earlier if universe.name in record.told]
            now = tokens.people(universe)
            start = usable if universe.measure != ALL else universe.cells
            shown = visible(now, [told.earlier for told in before], limits.min_participants, start)
            if universe.measure == ALL:
                usable = shown
            values = {key: _values(universe, universe.cells[key], limits) for key in shown}
            self.told[universe.name] = Told(now, values)
            self._add(universe, values, before)

    def _add(self, universe: Universe, values: Mapping[Key, Mapping[str, Any]], before: Sequence[Told]) -> None:
        rows = self.rows.setdefault(universe.table, [])
        for key in sorted(universe.cells, key=_order):
            row, status = values.get(key), SHOWN
            if row is None:
                row = self._held(key, before)
                status = SUPPRESSED if row is None else HELD
            self.cells[status] += 1
            rows.append(row_of(universe.basis, universe.measure, key, row, status))

    def _held(self, key: Key, before: Sequence[Told]) -> Mapping[str, Any] | None:
        """The value last shown, unless somebody behind it is released no more."""
        last = next((told for told in reversed(before) if key in told.values), None)
        return last.values[key] if last is not None and {*last.people[key]} <= self._released else None


def _values(universe: Universe, people: Mapping[str, Contribution], limits: Limits) -> dict[str, Any]:
    rows, total, squares = (sum(each) for each in zip(*(people[pid] for pid in sorted(people)), strict=True))
    columns = {name for name, _, _ in TABLES[universe.table][1]}
    found: dict[str, pa.Array]
    if universe.measure == ALL:
        found = {"participants": pa.array([len(people)], pa.int64()), "rows": pa.array([rows], pa.int64())}
    else:
        mean = total / rows
        variance = max(squares - rows * mean**2, 0.0) / (rows - 1)
        found = {"mean": pa.array([mean], pa.float64()), "sd": pa.array([sqrt(variance)], pa.float64())}
    return {name: rounded(value, limits)[0].as_py() for name, value in found.items() if name in columns}


def _order(key: Key) -> tuple[Any, ...]:
    return (sorted(name for name, _ in key), [(len(value), value) for _, value in sorted(key)])
