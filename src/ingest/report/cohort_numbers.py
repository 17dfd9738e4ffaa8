"""The cohort in tables that may be shown: rows from the warehouse, on either engine, put together and made safe here.

Every table goes through `safe_tables`: a cell of too few people has the status `suppressed` and no numbers, and so have
others from which it would follow; counts and statistics are rounded. No table has totals, but whoever reads it is taken
to know them, for they stand elsewhere: in releases of aggregates, or among those who were enrolled. Quantiles
are computed from the same rows whatever the engine, so they are the same to the last bit. `first` and `last` are night
dates, both counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.publish.reading import Reader
from ingest.report._cohort_flow import safe_flow
from ingest.report.safe_tables import PARTICIPANTS, PEOPLE, SHOWN, STATUS, SUPPRESSED, Cells, Limits, safe_tables

QUANTILES = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}
MEASURES = {"tst": "min", "sol": "min", "waso": "min", "se": "%"}
"""Measures of a night and their units."""
KINDS = ("night", "diary", "log")
PARTS = {"diff": "difference", "diff_low": "low", "diff_high": "high"}
_COLUMNS = {"tst": "tst_min", "sol": "sol_min", "waso": "waso_min", "se": "se_tib_pct"}
_EVER = (date(1, 1, 1), date(9999, 12, 31))
_ENROLLED = "SELECT participant_id, enrolled_on FROM participant WHERE enrolled_on IS NOT NULL"
_COVERAGE = """
SELECT c.participant_id, CAST(floor((c.date - p.enrolled_on) / 7.0) AS bigint) AS week,
       CAST(count(*) AS bigint) AS dates,
       CAST(sum(CASE WHEN c.has_sleep THEN 1 ELSE 0 END) AS bigint) AS night,
       CAST(sum(CASE WHEN c.has_diary THEN 1 ELSE 0 END) AS bigint) AS diary,
       CAST(sum(CASE WHEN c.has_log THEN 1 ELSE 0 END) AS bigint) AS log
FROM coverage c JOIN participant p ON p.participant_id = c.participant_id
WHERE c.date >= p.enrolled_on AND c.date BETWEEN $first AND $last
GROUP BY c.participant_id, CAST(floor((c.date - p.enrolled_on) / 7.0) AS bigint)
"""
_NIGHTS = """
SELECT n.participant_id, c.phase, n.tst_min, n.sol_min, n.waso_min, n.se_tib_pct
FROM {table} n JOIN coverage c ON c.participant_id = n.participant_id AND c.date = n.night_date
WHERE c.phase IS NOT NULL AND n.night_date BETWEEN $first AND $last
"""
_PHASES = """
SELECT phase, CAST(avg(position) AS double precision) FROM (
    SELECT phase, row_number() OVER (PARTITION BY participant_id ORDER BY start_on) AS position FROM phase
) AS placed GROUP BY phase
"""
_STATES = """
SELECT participant_id, basis, block AS week, state FROM insomnia_week WHERE block_start BETWEEN $first AND $last
"""
_CHOICES = """
SELECT substance, unit, exposure, outcome, basis, anchor, lag, is_primary, estimable, n_participants
FROM association WHERE level = 'cohort' AND lag >= 0 AND sensitivity_of IS NULL
"""
_FOREST = """
SELECT level, participant_id, method, n_participants, estimate, ci_low, ci_high FROM association
WHERE substance = $substance AND unit = $unit AND exposure = $exposure AND outcome = $outcome AND basis = $basis
  AND anchor = $anchor AND lag = $lag AND sensitivity_of IS NULL AND estimable
"""
_DOSES = """
SELECT level, participant_id, substance, unit, basis, dose_band, n_nights, n_participants, answer_outcome, answer,
       reason, tst_mean_min, tst_diff_min, tst_diff_low_min, tst_diff_high_min,
       sol_mean_min, sol_diff_min, sol_diff_low_min, sol_diff_high_min,
       waso_mean_min, waso_diff_min, waso_diff_low_min, waso_diff_high_min,
       se_mean_pct, se_diff_pct, se_diff_low_pct, se_diff_high_pct
FROM dose_sleep WHERE phase = 'all' AND days_since_dose = 'all'
"""
_WHICH = ("substance", "unit", "exposure", "outcome", "basis", "anchor", "lag")
_LOWER_EDGE = re.compile(r"\[([0-9.eE+-]+),")


@dataclass(frozen=True)
class Cohort:
    """Tables with `participants`, the people behind a row, and `status`.

    `flow`      position, step, reason: from enrolled to analysed
    `enrolled`  month (its first day)
    `coverage`  week since enrolment (0 the first), kind (night, diary, log), share of dates in per cent
    `measures`  basis, measure, phase_no, phase, nights, the quantiles of QUANTILES over the phase's nights
    `states`    basis, week since enrolment, state of the insomnia symptoms
    `forest`    level, method, estimate, ci_low, ci_high of the association `about`: each participant's, without the
                id and in the order of ids, which are random, then the cohort's; empty below the limit
    `doses`     substance, unit, basis, measure, band_no, dose_band, nights, mean; difference, low and high are of
                `people_of_difference`, who are fewer
    `answers`   substance, unit, basis, answer_outcome, answer, reason
    """

    flow: pa.Table
    enrolled: pa.Table
    coverage: pa.Table
    measures: pa.Table
    states: pa.Table
    forest: pa.Table
    about: dict[str, Any]
    doses: pa.Table
    answers: pa.Table


def cohort_numbers(reader: Reader, limits: Limits, first: date | None = None, last: date | None = None) -> Cohort:
    """The cohort; dates restrict coverage, measures and states, not what is computed over all nights at once."""
    span = {"first": first or _EVER[0], "last": last or _EVER[1]}
    about, forest = _forest(reader, limits)
    doses = reader.table(_DOSES)
    return Cohort(
        flow=safe_flow(reader, limits),
        enrolled=_enrolled(reader, limits),
        coverage=_coverage(reader.table(_COVERAGE, **span), limits),
        measures=_measures(reader, span, limits),
        states=_states(reader.table(_STATES, **span), limits),
        forest=forest,
        about=about,
        doses=_doses(doses, limits),
        answers=_answers(doses, limits),
    )


def _safe(rows: pa.Table, dims: tuple[str, ...], limits: Limits, within: tuple[str, ...] | None = ()) -> pa.Table:
    """The cells as they can be shown to whoever knows how many people there are, in all or by values of `within`; with
    None, where cells add up to nothing, each by itself.
    """
    if within is None:
        return safe_tables([Cells(rows, dims)], limits)[0]
    margins: dict[tuple[str, ...], set[str]] = {}
    for row in rows.select([*within, PEOPLE]).to_pylist():
        margins.setdefault(tuple(row[dim] for dim in within), set()).update(row[PEOPLE])
    held = [{**dict(zip(within, key, strict=True)), PEOPLE: sorted(people)} for key, people in margins.items()]
    wholes = pa.Table.from_pylist([{name: row.get(name) for name in rows.column_names} for row in held], rows.schema)
    (safe,) = safe_tables([Cells(pa.concat_tables([rows, wholes]), dims)], limits)
    for dim in dims:
        safe = safe.filter(pc.is_valid(safe[dim]))
    return safe


def _with_people(rows: pa.Table, dims: Sequence[str], sums: Sequence[str] = ()) -> pa.Table:
    """Rows of people put together by `dims`, which become texts."""
    found = rows.group_by(list(dims), use_threads=False).aggregate(
        [("participant_id", "distinct"), *((name, "sum") for name in sums)]
    )
    columns = {dim: found[dim].cast(pa.string()) for dim in dims}
    columns |= {PEOPLE: found["participant_id_distinct"], **{name: found[f"{name}_sum"] for name in sums}}
    return pa.table(columns)


def _numbered(rows: pa.Table, dim: str, keys: Sequence[str]) -> pa.Table:
    """With `dim` as a number again, sorted by `keys`."""
    at = rows.column_names.index(dim)
    return _sorted(rows.set_column(at, dim, rows[dim].cast(pa.int64())), keys)


def _enrolled(reader: Reader, limits: Limits) -> pa.Table:
    found = reader.table(_ENROLLED)
    months = pc.floor_temporal(found["enrolled_on"], unit="month").cast(pa.date32())
    by_month = pa.table({"participant_id": found["participant_id"], "month": months})
    safe = _safe(_with_people(by_month, ["month"]), ("month",), limits)
    return safe.set_column(0, "month", safe["month"].cast(pa.date32()))


def _coverage(found: pa.Table, limits: Limits) -> pa.Table:
    by_week = _with_people(found, ["week"], ["dates", *KINDS])
    dates = by_week["dates"].cast(pa.float64())
    for kind in KINDS:
        share = pc.divide(pc.multiply(by_week[kind].cast(pa.float64()), 100.0), dates)
        by_week = by_week.append_column(f"{kind}_pct", share)
    wide = _safe(by_week.drop_columns(["dates", *KINDS]), ("week",), limits)
    parts = [
        pa.table({"week": wide["week"], "kind": pa.array([kind] * len(wide), pa.string()),
                  "covered_pct": wide[f"{kind}_pct"], PARTICIPANTS: wide[PARTICIPANTS], STATUS: wide[STATUS]})
        for kind in KINDS
    ]  # fmt: skip
    return _numbered(pa.concat_tables(parts), "week", ["kind", "week"])


def _states(found: pa.Table, limits: Limits) -> pa.Table:
    parts = []
    for basis in ("diary", "wearable"):
        of = _with_people(found.filter(pc.equal(found["basis"], basis)), ["week", "state"])
        safe = _safe(of, ("week", "state"), limits, ("week",))
        parts.append(safe.add_column(0, "basis", pa.array([basis] * len(safe), pa.string())))
    return _numbered(pa.concat_tables(parts), "week", ["basis", "week", "state"])


def _measures(reader: Reader, span: Mapping[str, date], limits: Limits) -> pa.Table:
    placed = sorted(reader.rows(_PHASES), key=lambda row: (row[1], row[0]))
    numbers = {phase: number for number, (phase, _) in enumerate(placed, start=1)}
    parts = [
        part
        for basis, table in (("diary", "night_diary"), ("wearable", "night"))
        for part in _of_basis(basis, reader.table(_NIGHTS.format(table=table), **span), numbers, limits)
    ]
    if not parts:
        return _no_rows("basis", "measure", "phase_no", "phase", PARTICIPANTS, STATUS, "nights", *QUANTILES)
    return _sorted(pa.concat_tables(parts), ["basis", "measure", "phase_no"])


def _of_basis(basis: str, nights: pa.Table, numbers: Mapping[str, int], limits: Limits) -> Iterator[pa.Table]:
    for measure, column in _COLUMNS.items():
        known = nights.filter(pc.is_valid(nights[column]))
        if not len(known):
            continue  # nobody's: no device measures it
        rows = [
            {"phase": phase, **_quantiles(known.filter(pc.equal(known["phase"], phase)), column)} for phase in numbers
        ]
        texts = {"phase": pa.string(), PEOPLE: pa.list_(pa.string()), "nights": pa.int64()}
        schema = pa.schema({**texts, **dict.fromkeys(QUANTILES, pa.float64())})
        safe = _safe(pa.Table.from_pylist(rows, schema=schema), ("phase",), limits)
        places = pa.array([numbers[phase] for phase in safe["phase"].to_pylist()], pa.int64())
        for name, values in (("phase_no", places), ("measure", [measure] * len(safe)), ("basis", [basis] * len(safe))):
            kind = pa.int64() if name == "phase_no" else pa.string()
            safe = safe.add_column(0, name, pa.array(values, kind))
        yield safe


def _quantiles(nights: pa.Table, column: str) -> dict[str, Any]:
    values = np.sort(nights[column].to_numpy().astype(float))
    at = np.quantile(values, list(QUANTILES.values())).tolist() if len(values) else [None] * len(QUANTILES)
    people = pc.unique(nights["participant_id"]).to_pylist()
    return {PEOPLE: people, "nights": len(values), **dict(zip(QUANTILES, at, strict=True))}


def _forest(reader: Reader, limits: Limits) -> tuple[dict[str, Any], pa.Table]:
    """The declared primary, else what most participants have an estimate of: sleep time and the day's amount first."""
    columns = ("level", "method", "estimate", "ci_low", "ci_high")
    kinds = [pa.string(), pa.string(), pa.float64(), pa.float64(), pa.float64()]
    nothing = pa.schema(list(zip(columns, kinds, strict=True))).empty_table()
    choices = reader.table(_CHOICES).to_pylist()
    pool = [each for each in choices if each["is_primary"]] or [each for each in choices if each["estimable"]]
    if not pool:
        return {}, nothing

    def place(each: Mapping[str, Any]) -> tuple[Any, ...]:
        usual = (each["outcome"] != "tst", each["exposure"] != "amount_day")
        return (
            not each["estimable"],
            each["lag"],
            -each["n_participants"],
            *usual,
            *(str(each[key]) for key in _WHICH),
        )

    chosen = min(pool, key=place)
    found = reader.table(_FOREST, **{key: chosen[key] for key in _WHICH})
    own = found.filter(pc.equal(found["level"], "participant"))
    about = {**{key: chosen[key] for key in _WHICH}, "is_primary": chosen["is_primary"]}
    if len(own) < limits.min_participants:
        return about, nothing
    # People in the order of their ids, which are random: nobody has a rank.
    ordered = found.sort_by([("level", "descending"), ("participant_id", "ascending"), ("method", "ascending")])
    return about, ordered.select(list(columns))


def _doses(found: pa.Table, limits: Limits) -> pa.Table:
    keys = ("substance", "unit", "basis")
    bands = [row for row in found.to_pylist() if row["dose_band"] != "all"]
    parts = []
    for of in sorted({tuple(row[key] for key in keys) for row in bands}):
        mine = [row for row in bands if tuple(row[key] for key in keys) == of]
        for measure, unit in MEASURES.items():
            suffix = "pct" if unit == "%" else "min"
            if all(row[f"{measure}_mean_{suffix}"] is None for row in mine):
                continue  # nobody's: no device measures it
            safe = _curve(mine, measure, suffix, limits)
            for name, value in (("measure", measure), *reversed(tuple(zip(keys, of, strict=True)))):
                safe = safe.add_column(0, name, pa.array([value] * len(safe), pa.string()))
            parts.append(safe)
    if not parts:
        return _no_rows(*keys, "measure", "band_no", "dose_band", PARTICIPANTS, STATUS, "mean", *PARTS.values())
    return _sorted(pa.concat_tables(parts), [*keys, "measure", "band_no"])


def _curve(rows: Sequence[Mapping[str, Any]], measure: str, unit: str, limits: Limits) -> pa.Table:
    """Means by band, of everybody with such nights; differences, of those who have one of their own."""
    cohort = {row["dose_band"]: row for row in rows if row["level"] == "cohort"}

    def cells(part: str, names: Mapping[str, str]) -> pa.Table:
        found = []
        for band, row in cohort.items():
            people = [own["participant_id"] for own in rows if own["level"] == "participant"
                      and own["dose_band"] == band and own[f"{measure}_{part}_{unit}"] is not None]  # fmt: skip
            values = {name: row[f"{measure}_{key}_{unit}"] for key, name in names.items()}
            found.append({"dose_band": band, PEOPLE: people, **values})
        kinds = {"dose_band": pa.string(), PEOPLE: pa.list_(pa.string())}
        schema = pa.schema({**kinds, **dict.fromkeys(names.values(), pa.float64())})
        # Each is a mean of people's own means: what all bands have in common is no sum of theirs.
        return _safe(pa.Table.from_pylist(found, schema=schema), ("dose_band",), limits, None)

    means, differences = cells("mean", {"mean": "mean"}), cells("diff", PARTS)
    for name in PARTS.values():
        means = means.append_column(name, differences[name])
    means = means.append_column("people_of_difference", differences[PARTICIPANTS])
    bands = means["dose_band"].to_pylist()
    places = {band: place for place, band in enumerate(sorted(bands, key=lambda band: (_edge(band), band)))}
    return means.add_column(0, "band_no", pa.array([places[band] for band in bands], pa.int64()))


def _answers(found: pa.Table, limits: Limits) -> pa.Table:
    keys = ("substance", "unit", "basis", "answer_outcome", "answer", "reason")
    chosen = found.filter(pc.and_(pc.equal(found["level"], "cohort"), pc.equal(found["dose_band"], "all")))
    enough = pc.greater_equal(chosen["n_participants"], limits.min_participants)
    hidden = pa.scalar(None, pa.string())
    columns = {key: chosen[key] if key in keys[:4] else pc.if_else(enough, chosen[key], hidden) for key in keys}
    columns[STATUS] = pc.if_else(enough, SHOWN, SUPPRESSED)
    return _sorted(pa.table(columns), list(keys[:3]))


def _edge(band: str) -> float:
    """Where a band stands on the axis: none before all bands, the unknown amounts behind them."""
    found = _LOWER_EDGE.match(band)
    return float(found[1]) if found else {"none": -1.0, "dosed": 0.0}.get(band, float("inf"))


def _no_rows(*names: str) -> pa.Table:
    return pa.table({name: pa.array([], pa.string()) for name in names})


def _sorted(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    return rows.sort_by([(key, "ascending") for key in keys])
