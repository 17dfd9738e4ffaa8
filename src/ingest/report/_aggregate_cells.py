"""What the cohort's nights, coverage and insomnia states come to by cell, and what each participant contributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ingest.publish.reading import Reader
from ingest.report._small_cells import Key
from ingest.report.safe_tables import grid

Contribution = tuple[int, float, float]
"""Of one participant to one cell: rows, their sum, their sum of squares."""
ALL = "all"
MEASURES = {"tst": "tst_min", "waso": "waso_min", "sol": "sol_min", "se": "se_tib_pct"}
_NIGHTS = """
SELECT n.participant_id, n.night_date, coalesce(c.phase, 'none') AS phase,
       coalesce(CAST(CAST(floor((n.night_date - p.enrolled_on) / 7.0) AS bigint) AS varchar), 'unknown') AS week,
       n.tst_min, n.waso_min, n.sol_min, n.se_tib_pct
FROM {table} n JOIN participant p ON p.participant_id = n.participant_id
LEFT JOIN coverage c ON c.participant_id = n.participant_id AND c.date = n.night_date
"""
_DOSES = "SELECT DISTINCT participant_id, night_date, substance, unit, dose_band FROM night_exposure"
_COVERAGE = """
SELECT c.participant_id, c.date, coalesce(c.phase, 'none') AS phase,
       coalesce(CAST(CAST(floor((c.date - p.enrolled_on) / 7.0) AS bigint) AS varchar), 'unknown') AS week,
       CASE WHEN c.has_sleep THEN 100.0 ELSE 0.0 END AS night,
       CASE WHEN c.has_diary THEN 100.0 ELSE 0.0 END AS diary,
       CASE WHEN c.has_log THEN 100.0 ELSE 0.0 END AS log
FROM coverage c JOIN participant p ON p.participant_id = c.participant_id
"""
_STATES = """
SELECT participant_id, block_start, CAST(block AS varchar) AS week, state FROM insomnia_week WHERE basis = '{basis}'
"""


@dataclass(frozen=True)
class Universe:
    """Cells that add up: those of one table and basis, of one measure, or (`all`) of the rows as such.

    What is hidden of `all` is hidden of the measures as well.
    """

    table: str
    basis: str
    measure: str
    cells: Mapping[Key, Mapping[str, Contribution]]

    @property
    def name(self) -> str:
        """Tells it apart from the others, also in another release."""
        return f"{self.table}/{self.basis}/{self.measure}"


def universes(reader: Reader, people: Sequence[str]) -> list[Universe]:
    """All cells of an aggregate release; only rows of `people` go into them."""
    found = []
    doses = _of(people, reader.table(_DOSES))
    for basis, table in (("wearable", "night"), ("diary", "night_diary")):
        rows = _sorted(_of(people, reader.table(_NIGHTS.format(table=table))), "night_date")
        rows, bands = _with_bands(rows, doses)
        sets = [(), ("phase",), ("week",), *((band,) for band in bands), *(("phase", band) for band in bands)]
        found += _each("cohort_nights", basis, rows, sets, MEASURES)
    rows = _sorted(_of(people, reader.table(_COVERAGE)), "date")
    found += _each("cohort_coverage", ALL, rows, [(), ("phase",), ("week",)],
                   {kind: kind for kind in ("night", "diary", "log")})  # fmt: skip
    for basis in ("wearable", "diary"):
        rows = _sorted(_of(people, reader.table(_STATES.format(basis=basis))), "block_start")
        found += _each("cohort_states", basis, rows, [("week",), ("week", "state")], {})
    return [each for each in found if any(each.cells.values())]


def _of(people: Sequence[str], rows: pa.Table) -> pa.Table:
    return rows.filter(pc.is_in(rows["participant_id"], value_set=pa.array(people, pa.string())))


def _sorted(rows: pa.Table, day: str) -> pa.Table:
    return rows.sort_by([("participant_id", "ascending"), (day, "ascending")])


def _with_bands(nights: pa.Table, doses: pa.Table) -> tuple[pa.Table, list[str]]:
    """The nights with a column for each substance and unit, named `dose_band/<substance>/<unit>`."""
    kinds = sorted({(row["substance"], row["unit"]) for row in doses.select(["substance", "unit"]).to_pylist()})
    order = zip(nights["participant_id"].to_pylist(), nights["night_date"].to_pylist(), strict=True)
    places = list(order)
    names = []
    for substance, unit in kinds:
        of = doses.filter(pc.and_(pc.equal(doses["substance"], substance), pc.equal(doses["unit"], unit)))
        bands = {(row["participant_id"], row["night_date"]): row["dose_band"] or "unknown" for row in of.to_pylist()}
        names.append(f"dose_band/{substance}/{unit}")
        nights = nights.append_column(names[-1], pa.array([bands.get(at, "unknown") for at in places], pa.string()))
    return nights, names


def _each(
    table: str, basis: str, rows: pa.Table, sets: Sequence[tuple[str, ...]], measures: Mapping[str, str]
) -> list[Universe]:
    ones = rows.append_column("one", pa.array([1.0] * rows.num_rows, pa.float64()))
    found = [Universe(table, basis, ALL, _cells(ones, sets, "one"))]
    every = found[0].cells
    for measure, column in measures.items():
        known = rows.filter(pc.is_valid(rows[column]))
        cells = _cells(known, sets, column)
        found.append(Universe(table, basis, measure, {key: cells.get(key, {}) for key in every}))
    return found


def _cells(rows: pa.Table, sets: Sequence[tuple[str, ...]], column: str) -> dict[Key, dict[str, Contribution]]:
    values = rows[column].cast(pa.float64())
    rows = rows.select(["participant_id", *{dim for dims in sets for dim in dims}])
    rows = rows.append_column("value", values).append_column("square", pc.multiply(values, values))
    found: dict[Key, dict[str, Contribution]] = {}
    for dims in sets:
        summed = rows.group_by(["participant_id", *dims], use_threads=False).aggregate(
            [("value", "count"), ("value", "sum"), ("square", "sum")]
        )
        for row in summed.to_pylist():
            key = frozenset((dim, row[dim]) for dim in dims)
            # Rounded, so that a sum taken in another order is the same contribution.
            found.setdefault(key, {})[row["participant_id"]] = (
                row["value_count"], round(row["value_sum"], 6), round(row["square_sum"], 6)
            )  # fmt: skip
    return {key: found.get(key, {}) for key in grid(found)}
