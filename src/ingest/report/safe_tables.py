"""Tables of aggregates that can be shown: small cells hidden, and with them whatever would give them away.

    limits = limits_of(study.settings)            # None where study.yaml sets none: show no table then
    shown, = safe_tables([Cells(rows, ("phase", "dose_band"))], limits)

`rows` has a column of text for each dimension, NULL where the cell is over all of its values (a margin, the total);
`people`, a list of the participant_ids that contribute; and any statistics of the cell (nights, mean_tst_min, ...).
What comes back has the dimensions, `participants` (rounded), `status` (`shown` or `suppressed`) and the statistics
(rounded); participants and statistics of a suppressed cell are NULL, never 0.

Tables that are shown together are given together: a cell of one dimension set is the same cell in all of them. A
statistic that is known of fewer people than the cell has goes into a call of its own, with its own people. Every row
of the data belongs to some value of each dimension: give `unknown` a name, else a margin holds more than its parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.settings import Settings
from ingest.report._small_cells import Key, net_of, protect

SHOWN, SUPPRESSED = "shown", "suppressed"
HELD = "held"
"""Status, in releases, of a cell that has the value of an earlier one."""
PEOPLE, PARTICIPANTS, STATUS = "people", "participants", "status"


@dataclass(frozen=True)
class Limits:
    """How small a cell may be, and how what is shown is rounded."""

    min_participants: int
    round_to: int = 1
    digits: int | None = None


@dataclass(frozen=True)
class Cells:
    """Cells of one table. `impossible` are those that cannot be by their definition, and that everybody knows of;
    any other combination of values that has no row is taken for one of nobody, and hidden.
    """

    rows: pa.Table
    dims: tuple[str, ...]
    impossible: Collection[Key] = ()


def limits_of(settings: Settings) -> Limits | None:
    """Those of section `small_cells`; None without `min_participants`: no aggregates may be shown then."""
    said = settings.small_cells
    return None if said.min_participants is None else Limits(said.min_participants, said.round_to, said.digits)


def safe_tables(tables: Sequence[Cells], limits: Limits) -> list[pa.Table]:
    """The tables as they can be shown, rows in the order of the dimensions, a margin before its parts.

    Raises ValueError where a cell has two rows or a margin is not made up of its parts.
    """
    people = people_of(tables)
    net = net_of(people)
    shown = protect(net, np.ones(len(net.keys), dtype=bool), limits.min_participants)
    visible = {key for key, place in net.place.items() if shown[place]}
    return [render(table, people, visible, limits) for table in tables]


def people_of(tables: Sequence[Cells]) -> dict[Key, frozenset[str]]:
    """Contributors by cell, of all combinations of values, also of those without a row."""
    people: dict[Key, frozenset[str]] = {}
    for table in tables:
        given = dict(zip(_keys(table), table.rows[PEOPLE].to_pylist(), strict=True))
        if len(given) < table.rows.num_rows:
            raise ValueError("a cell has two rows")
        for key in grid(given, table.impossible):
            found = frozenset(given.get(key) or ())
            if people.setdefault(key, found) != found:
                raise ValueError("a cell has other people in another table")
    _check_margins(people)
    return people


def render(table: Cells, people: Mapping[Key, Collection[str]], visible: Collection[Key], limits: Limits) -> pa.Table:
    """One table with the cells of `visible` shown, rounded, and all others suppressed."""
    given = {key: row for row, key in enumerate(_keys(table))}
    keys = sorted(grid(given, table.impossible), key=lambda key: [dict(key).get(dim, "") for dim in table.dims])
    is_shown = pa.array([key in visible for key in keys], pa.bool_())
    rows = pa.array([given.get(key) for key in keys], pa.int64())
    counts = pa.array([len(people[key]) for key in keys], pa.int64())
    columns = {dim: pa.array([dict(key).get(dim) for key in keys], pa.string()) for dim in table.dims}
    columns[PARTICIPANTS] = _only(is_shown, rounded(counts, limits))
    columns[STATUS] = pc.if_else(is_shown, SHOWN, SUPPRESSED)
    for name in table.rows.column_names:
        if name not in (*table.dims, PEOPLE):
            column = table.rows[name].combine_chunks()
            columns[name] = _only(is_shown, rounded(pc.take(column, rows), limits))
    return pa.table(columns)


def rounded(column: pa.Array, limits: Limits) -> pa.Array:
    """Whole numbers to a multiple of `round_to`, halves up; others to `digits` significant digits."""
    if pa.types.is_integer(column.type):
        half = limits.round_to // 2
        return pc.multiply(pc.divide(pc.add(column.cast(pa.int64()), half), limits.round_to), limits.round_to)
    if not pa.types.is_floating(column.type) or limits.digits is None:
        return column
    return pa.array([None if value is None else float(f"{value:.{limits.digits}g}") for value in column.to_pylist()],
                    pa.float64())  # fmt: skip


def _only(shown: pa.Array, column: pa.Array) -> pa.Array:
    return pc.if_else(shown, column, pa.scalar(None, column.type))


def _keys(table: Cells) -> list[Key]:
    columns = [table.rows[dim].to_pylist() for dim in table.dims]
    return [
        frozenset((dim, value) for dim, value in zip(table.dims, values, strict=True) if value is not None)
        for values in (zip(*columns, strict=True) if columns else [()] * table.rows.num_rows)
    ]


def grid(given: Iterable[Key], impossible: Collection[Key] = ()) -> list[Key]:
    """All combinations of the values seen, of each set of dimensions that has a cell."""
    values: dict[str, set[str]] = {}
    sets: set[frozenset[str]] = set()
    for key in given:
        sets.add(frozenset(name for name, _ in key))
        for name, value in key:
            values.setdefault(name, set()).add(value)
    found = []
    for names in sets:
        every = ([(name, value) for value in sorted(values[name])] for name in sorted(names))
        found += [key for key in map(frozenset, product(*every)) if key not in impossible]
    return found


def _check_margins(people: Mapping[Key, frozenset[str]]) -> None:
    net = net_of(people)
    for whole, parts in net.relations:
        if (net.inside[parts].any(axis=0) != net.inside[whole]).any():
            raise ValueError("a margin has people who are in none of its parts, or the other way round")
