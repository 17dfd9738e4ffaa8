"""From enrolled to analysed in a table that may be shown: how many people every step has, and every exclusion takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.publish.reading import Reader
from ingest.report._small_cells import Key, Net, net_of, protect, worked_out
from ingest.report.safe_tables import PARTICIPANTS, PEOPLE, STATUS, Cells, Limits, people_of, render

_FLOW = "SELECT position, step, reason, n_participants FROM flow ORDER BY position"
_SCHEMA = pa.schema(
    [("position", pa.int64()), ("step", pa.string()), ("reason", pa.string()), (PARTICIPANTS, pa.int64()),
     (STATUS, pa.string())]
)  # fmt: skip
_NOWHERE = "-"
Row = Mapping[str, Any]


def safe_flow(reader: Reader, limits: Limits) -> pa.Table:
    """`position`, `step`, `reason`, `participants`, `status` of each row of table flow, without its nights, which are
    not of the people it counts. No row before `ingest associate`.

    Each step is what the one before has, less the exclusions between them: what is hidden follows from none of that.
    """
    rows = reader.table(_FLOW).to_pylist()
    if not rows:
        return _SCHEMA.empty_table()
    keys, leaves = _places(rows)
    dims = tuple(sorted({name for key in leaves for name, _ in key}))
    cells: dict[Key, list[str]] = {}
    for key, count in leaves.items():
        # Everybody ends in one place, so that any names will do.
        names = [f"{sorted(key)}{number}" for number in range(count)]
        for depth in range(len(dims) + 1):
            cells.setdefault(_first(key, dims[:depth]), []).extend(names)
    columns = {dim: pa.array([dict(key).get(dim) for key in cells], pa.string()) for dim in dims}
    table = pa.table({**columns, PEOPLE: pa.array(list(cells.values()), pa.list_(pa.string()))})
    held = Cells(table, dims, _impossible(cells, dims))
    people = people_of([held])
    visible = _visible(net_of(people), [keys[row["position"]] for row in rows], limits.min_participants)
    found = {_key(row, dims): row for row in render(held, people, visible, limits).to_pylist()}
    shown = [{**row, **{name: found[keys[row["position"]]][name] for name in (PARTICIPANTS, STATUS)}} for row in rows]
    return pa.Table.from_pylist([{name: row[name] for name in _SCHEMA.names} for row in shown], schema=_SCHEMA)


def _visible(net: Net, keys: Sequence[Key], at_least: int) -> set[Key]:
    """The cells that are shown: of those that were hidden beside small ones, each is again that gives nothing away."""
    shown = protect(net, np.ones(len(net.keys), dtype=bool), at_least)
    for key in keys:
        # The same people stand in the cells below where no step lies between.
        same = [net.place[each] for each in net.keys if key <= each and all(way == _NOWHERE for _, way in each - key)]
        tried = shown.copy()
        tried[same] = net.counts[same] >= at_least
        tried = worked_out(net, tried)
        if (protect(net, tried, at_least) == tried).all():
            shown = tried
    return {key for key, place in net.place.items() if shown[place]}


def _places(rows: Sequence[Row]) -> tuple[dict[int, Key], dict[Key, int]]:
    """By position, the cell of a row; and those cells in which people end, with their number.

    Dimension `at0` tells exclusions before the first step from who came to it, `at1` those before the second.
    """
    steps = [row["step"] for row in rows if row["step"] != "excluded"][1:]
    dims = [f"at{number}" for number in range(len(steps))]
    keys, leaves, stage = {}, {}, 0
    for row in rows:
        came = list(zip(dims, steps, strict=True))[: stage if row["step"] == "excluded" else None]
        if row["step"] == "excluded":
            keys[row["position"]] = frozenset([*came, (dims[stage], row["reason"])])
            rest = [(dim, _NOWHERE) for dim in dims[stage + 1 :]]
            leaves[frozenset([*came, (dims[stage], row["reason"]), *rest])] = row["n_participants"]
        else:
            reached = 0 if row is rows[0] else stage + 1
            keys[row["position"]] = frozenset(came[:reached])
            stage = reached
    leaves[frozenset(zip(dims, steps, strict=True))] = rows[-1]["n_participants"]
    return keys, leaves


def _first(key: Key, dims: Sequence[str]) -> Key:
    return frozenset(pair for pair in key if pair[0] in dims)


def _impossible(cells: Mapping[Key, Sequence[str]], dims: Sequence[str]) -> set[Key]:
    """Combinations of values that no way leads to."""
    values = {dim: sorted({value for key in cells for name, value in key if name == dim}) for dim in dims}
    every: list[Key] = [frozenset()]
    found: set[Key] = set()
    for dim in dims:
        every = [key | {(dim, value)} for key in every for value in values[dim]]
        found |= {key for key in every if key not in cells}
    return found


def _key(row: Row, dims: Sequence[str]) -> Key:
    return frozenset((dim, row[dim]) for dim in dims if row[dim] is not None)
