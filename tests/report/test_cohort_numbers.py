"""The cohort in numbers, of a warehouse of a few hand-made rows: what is shown, what is hidden, what cannot be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from ingest._core.contract import arrow_schema
from ingest.publish.reading import DuckdbReader
from ingest.report.cohort_numbers import Cohort, cohort_numbers
from ingest.report.safe_tables import Limits
from tries import tries

PEOPLE = ["pa", "pb", "pc", "pd"]
BEGUN = date(2026, 1, 30)
TABLES = ("participant", "coverage", "night", "night_diary", "phase", "insomnia_week", "association", "dose_sleep",
          "flow")  # fmt: skip
FEW = Limits(3)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """Empty tables with the columns of the contract."""
    with duckdb.connect() as connection:
        for table in TABLES:
            rows = arrow_schema(table, "publish").empty_table()
            connection.register("rows", rows)
            connection.execute(f"CREATE TABLE {table} AS SELECT * FROM rows")
        yield connection


def put(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, object]]) -> None:
    names = sorted({name for row in rows for name in row})
    connection.register("rows", pa.table({name: [row.get(name) for row in rows] for name in names}))
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")


def numbers(connection: duckdb.DuckDBPyConnection, limits: Limits = FEW, **span: date) -> Cohort:
    return cohort_numbers(DuckdbReader(connection), limits, **span)


def enrol(connection: duckdb.DuckDBPyConnection, people: list[str], on: date = BEGUN) -> None:
    put(connection, "participant", [{"participant_id": each, "enrolled_on": on, "arm": "-"} for each in people])


def cover(connection: duckdb.DuckDBPyConnection, person: str, days: range, phase: str = "taper", **has: bool) -> None:
    answers = {"has_sleep": False, "has_log": False, "has_diary": False, **has}
    put(connection, "coverage", [{"participant_id": person, "date": BEGUN + timedelta(each), "phase": phase, **answers}
                                 for each in days])  # fmt: skip


def test_an_empty_warehouse_has_an_empty_cohort(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = numbers(warehouse)
    assert found.about == {}
    assert {name: len(getattr(found, name)) for name in vars(found) if name != "about"} == dict.fromkeys(
        ("flow", "enrolled", "coverage", "measures", "states", "forest", "doses", "answers"), 0)  # fmt: skip


def test_enrolment_by_month(warehouse: duckdb.DuckDBPyConnection) -> None:
    enrol(warehouse, PEOPLE[:3])
    enrol(warehouse, PEOPLE[3:], date(2026, 2, 1))
    assert numbers(warehouse).enrolled.to_pylist() == [
        {"month": date(2026, 1, 1), "participants": None, "status": "suppressed"},  # else, of four, one is left
        {"month": date(2026, 2, 1), "participants": None, "status": "suppressed"},
    ]
    enrol(warehouse, [f"q{number}" for number in range(3)], date(2026, 3, 1))
    enrol(warehouse, [f"r{number}" for number in range(4)], date(2026, 4, 1))
    assert [row["participants"] for row in numbers(warehouse).enrolled.to_pylist()] == [None, None, 3, 4]


def test_coverage_counts_dates_by_week_since_enrolment(warehouse: duckdb.DuckDBPyConnection) -> None:
    enrol(warehouse, PEOPLE)
    for person in PEOPLE[:3]:
        cover(warehouse, person, range(7), has_sleep=True)
    cover(warehouse, "pd", range(-3, 7), has_log=True)  # days before enrolment are in no week
    for person in PEOPLE[:2]:
        cover(warehouse, person, range(7, 9), has_sleep=True)
    for person in PEOPLE[2:]:  # two others in the week after, so that what two weeks come to is about enough people
        cover(warehouse, person, range(14, 16), has_sleep=True)
    found = {(row["week"], row["kind"]): row for row in numbers(warehouse).coverage.to_pylist()}
    assert set(found) == {(week, kind) for week in (0, 1, 2) for kind in ("night", "diary", "log")}
    assert (found[0, "night"]["covered_pct"], found[0, "night"]["participants"]) == (75.0, 4)
    assert found[0, "log"]["covered_pct"] == 25.0
    assert found[0, "diary"]["covered_pct"] == 0.0
    assert found[1, "night"] == {"week": 1, "kind": "night", "covered_pct": None, "participants": None,
                                 "status": "suppressed"}  # fmt: skip
    one_week = numbers(warehouse, first=BEGUN + timedelta(7), last=BEGUN + timedelta(13))
    assert one_week.coverage["week"].to_pylist() == [1, 1, 1]


def test_quantiles_are_of_all_nights_of_a_phase(warehouse: duckdb.DuckDBPyConnection) -> None:
    enrol(warehouse, PEOPLE)
    nights = []
    for number, person in enumerate(PEOPLE[:3]):
        cover(warehouse, person, range(2), "baseline", has_sleep=True)
        cover(warehouse, person, range(2, 4), "taper", has_sleep=True)
        put(warehouse, "phase", [{"participant_id": person, "phase": "baseline", "start_on": BEGUN, "source": "roster"},
                                 {"participant_id": person, "phase": "taper", "start_on": BEGUN + timedelta(2),
                                  "source": "roster"}])  # fmt: skip
        minutes = [400.0 + 10 * number, 460.0 + 10 * number, 300.0, None if number else 320.0]
        nights += [{"participant_id": person, "night_date": BEGUN + timedelta(day), "tst_min": value}
                   for day, value in enumerate(minutes)]  # fmt: skip
    put(warehouse, "night", nights)
    (before, during) = numbers(warehouse).measures.to_pylist()
    # 400 410 420 460 470 480: by hand, linear between the two neighbours.
    assert before == {"basis": "wearable", "measure": "tst", "phase_no": 1, "phase": "baseline", "participants": 3,
                      "status": "shown", "nights": 6, "p10": 405.0, "p25": 412.5, "median": 440.0, "p75": 467.5,
                      "p90": 475.0}  # fmt: skip
    assert (during["phase"], during["nights"], during["median"]) == ("taper", 4, 300.0)
    hidden = numbers(warehouse, Limits(4)).measures.to_pylist()
    assert [(row["status"], row["nights"], row["median"]) for row in hidden] == [("suppressed", None, None)] * 2


def test_states_of_few_are_hidden(warehouse: duckdb.DuckDBPyConnection) -> None:
    states = {"pa": "none", "pb": "none", "pc": "none", "pd": "episode"}
    put(warehouse, "insomnia_week", [{"participant_id": person, "basis": "diary", "block": 0, "block_start": BEGUN,
                                      "state": state} for person, state in states.items()])  # fmt: skip
    assert numbers(warehouse).states.to_pylist() == [
        {"basis": "diary", "week": 0, "state": "episode", "participants": None, "status": "suppressed"},
        {"basis": "diary", "week": 0, "state": "none", "participants": None, "status": "suppressed"},
    ]


FLOW = [("enrolled", ""), ("excluded", "no_export"), ("exported", ""), ("excluded", "no_night"), ("nights", ""),
        ("excluded", "not_logged"), ("excluded", "outcome_missing"), ("analysed", "")]  # fmt: skip


def flowing(gone: dict[str, int], analysed: int) -> list[dict[str, object]]:
    """Rows of table flow, of how many are excluded for each reason and how many are left."""
    left = analysed + sum(gone.values())
    rows: list[dict[str, object]] = []
    for position, (step, reason) in enumerate(FLOW, start=1):
        left -= gone.get(reason, 0)
        rows.append({"participant_id": "_cohort", "position": position, "step": step, "reason": reason,
                     "n_participants": gone[reason] if reason else left})  # fmt: skip
    return rows


def test_an_exclusion_of_few_takes_with_it_what_it_would_follow_from(warehouse: duckdb.DuckDBPyConnection) -> None:
    put(warehouse, "flow", flowing({"no_export": 3, "no_night": 1, "not_logged": 4, "outcome_missing": 5}, 20))
    found = [(row["step"], row["reason"], row["participants"]) for row in numbers(warehouse).flow.to_pylist()]
    assert [each[:2] for each in found] == FLOW
    shown = {each[:2]: each[2] for each in found}
    assert shown["enrolled", ""] == 33
    assert shown["excluded", "no_night"] is None
    # exported - no_night = nights: not both of the others.
    assert not {shown["exported", ""], shown["nights", ""]}.isdisjoint({None})
    assert sum(value is not None for value in shown.values()) >= 4


def widths(shown: dict[str, int], cells: dict[str, list[int]], atoms: int) -> dict[str, tuple[int, int]]:
    """Least and greatest count of each cell, by integer programs; a cell is a list of atoms, which nobody knows."""

    def over(name: str) -> list[float]:
        return [float(atom in cells[name]) for atom in range(atoms)]

    counts = list(shown.values())
    rules = [LinearConstraint(np.array([over(name) for name in shown]), counts, counts)] if shown else []
    found = {}
    for name in cells:
        goal = np.array(over(name))
        low, high = (milp(sign * goal, integrality=np.ones(atoms), bounds=Bounds(0, 1000), constraints=rules)
                     for sign in (1, -1))  # fmt: skip
        assert low.success
        assert high.success
        found[name] = (round(low.fun), round(-high.fun))
    return found


def attack(at_least: int, cells: dict[str, list[int]], shown: dict[str, int | None], true: dict[str, int],
           known: dict[str, int]) -> None:  # fmt: skip
    """What is shown is true and of enough people; what is hidden does not follow from it and from what is `known`."""
    told = {name: count for name, count in shown.items() if count is not None}
    assert told == {name: true[name] for name in told}
    assert all(count >= at_least for count in told.values())
    atoms = 1 + max(atom for each in cells.values() for atom in each)
    for name, (low, high) in widths(told | known, cells, atoms).items():
        if name in shown and shown[name] is None:
            assert low < high, name
            if true[name] < at_least:
                assert low <= 1, name
                assert high >= at_least, name


@pytest.mark.fault(70)
@pytest.mark.parametrize("seed", range(tries(6)))
def test_an_integer_program_over_the_page_narrows_nobody(seed: int, warehouse: duckdb.DuckDBPyConnection) -> None:
    """All that the page shows, and its totals, which it does not show, against each hidden count."""
    random = np.random.default_rng(seed)
    at_least = int(random.integers(3, 8))
    reasons = [reason for _, reason in FLOW if reason]
    flow = flowing({reason: int(random.integers(0, 12)) for reason in reasons}, int(random.integers(0, 30)))
    put(warehouse, "flow", flow)
    people = [f"p{number}" for number in range(int(random.integers(5, 40)))]
    states = {(person, week): str(random.choice(["none", "episode", "remitted"], p=[0.6, 0.25, 0.15]))
              for person in people for week in range(3)}  # fmt: skip
    put(warehouse, "insomnia_week", [
        {"participant_id": person, "basis": "diary", "block": week, "block_start": BEGUN, "state": state}
        for (person, week), state in states.items()
    ])  # fmt: skip
    months = {person: int(random.choice([1, 2, 3, 4], p=[0.5, 0.3, 0.15, 0.05])) for person in people}
    for person, month in months.items():
        enrol(warehouse, [person], date(2026, month, 1))
    found = numbers(warehouse, Limits(at_least))

    ends = {reason: [number] for number, reason in enumerate(reasons)}
    steps = {"enrolled": [0, 1, 2, 3, 4], "exported": [1, 2, 3, 4], "nights": [2, 3, 4], "analysed": [4]}
    shown = {row["reason"] or row["step"]: row["participants"] for row in found.flow.to_pylist()}
    attack(at_least, ends | steps, shown, {str(row["reason"] or row["step"]): int(str(row["n_participants"]))
                                           for row in flow}, {})  # fmt: skip
    for week in range(3):
        mine = Counter(states[person, week] for person in people)
        shown = {row["state"]: row["participants"] for row in found.states.to_pylist() if row["week"] == week}
        apart = {state: [number] for number, state in enumerate(shown)}
        attack(at_least, apart | {"all": [*range(len(shown))]}, shown, mine, {"all": len(people)})
    shown = {str(row["month"].month): row["participants"] for row in found.enrolled.to_pylist()}
    apart = {month: [number] for number, month in enumerate(shown)}
    attack(at_least, apart | {"all": [*range(len(shown))]}, shown, Counter(map(str, months.values())),
           {"all": len(people)})  # fmt: skip


def test_the_attack_finds_what_a_page_without_its_second_cell_gives_away() -> None:
    cells = {"none": [0], "episode": [1], "all": [0, 1]}
    with pytest.raises(AssertionError):
        attack(3, cells, {"none": 9, "episode": None}, {"none": 9, "episode": 1}, {"all": 10})


WHICH = {"substance": "kratom", "unit": "g", "exposure": "amount_day", "outcome": "tst", "basis": "wearable",
         "anchor": "usual", "lag": 0, "estimable": True, "is_primary": False}  # fmt: skip


def associated(person: str, estimate: float, **other: object) -> dict[str, object]:
    level = "cohort" if person == "_cohort" else "participant"
    return {**WHICH, "participant_id": person, "level": level, "method": "m", "n_participants": 3,
            "estimate": estimate, "ci_low": estimate - 1, "ci_high": estimate + 1, **other}  # fmt: skip


def test_the_forest_has_neither_ids_nor_an_order_by_estimate(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = [associated("pa", 5.0), associated("pb", -2.0), associated("pc", 1.0), associated("_cohort", 1.5)]
    other = [associated("_cohort", 9.0, lag=1), associated("_cohort", 8.0, sensitivity_of="m"),
             associated("_cohort", 7.0, outcome="waso", n_participants=2)]  # fmt: skip
    put(warehouse, "association", [*other, *rows])
    found = numbers(warehouse)
    assert found.forest.column_names == ["level", "method", "estimate", "ci_low", "ci_high"]
    assert found.forest["estimate"].to_pylist() == [5.0, -2.0, 1.0, 1.5]
    assert found.forest["level"].to_pylist() == ["participant"] * 3 + ["cohort"]
    assert (found.about["outcome"], found.about["lag"], found.about["is_primary"]) == ("tst", 0, False)
    hidden = numbers(warehouse, Limits(4))
    assert (len(hidden.forest), hidden.about["outcome"]) == (0, "tst")


def test_the_declared_primary_is_what_the_forest_shows(warehouse: duckdb.DuckDBPyConnection) -> None:
    primary = {"outcome": "waso", "exposure": "late_dose", "is_primary": True}
    put(warehouse, "association", [associated("_cohort", 1.0), associated("_cohort", 2.0, **primary),
                                   *(associated(each, 3.0, **primary) for each in PEOPLE)])  # fmt: skip
    found = numbers(warehouse)
    assert (found.about["outcome"], found.about["exposure"], found.about["is_primary"]) == ("waso", "late_dose", True)
    assert found.forest["estimate"].to_pylist() == [3.0, 3.0, 3.0, 3.0, 2.0]


def test_a_band_is_hidden_by_who_has_its_mean_and_its_difference(warehouse: duckdb.DuckDBPyConnection) -> None:
    common = {"phase": "all", "days_since_dose": "all", "substance": "kratom", "unit": "g", "basis": "wearable",
              "answer_outcome": "tst", "n_nights": 9}  # fmt: skip
    rows = [
        {
            **common,
            "level": "cohort",
            "participant_id": "_cohort",
            "dose_band": band,
            "n_participants": len(people),
            "tst_mean_min": mean,
            "tst_diff_min": 7.0,
            "answer": answer,
        }
        for band, people, mean, answer in (
            ("[15,inf)", "ab", 380.0, None),
            ("none", "abc", 420.0, None),
            ("[1,15)", "abcd", 400.0, None),
            ("all", "abcd", 405.0, "inconclusive"),
        )
    ]
    for band, people in (("[15,inf)", "ab"), ("none", "abc"), ("[1,15)", "abcd"), ("all", "abcd")):
        rows += [{**common, "level": "participant", "participant_id": f"p{each}", "dose_band": band,
                  "tst_mean_min": 1.0, "tst_diff_min": 1.0 if each in "abd" else None} for each in people]  # fmt: skip
    put(warehouse, "dose_sleep", rows)
    found = numbers(warehouse)
    shown = [row for row in found.doses.to_pylist() if row["measure"] == "tst"]
    assert [(row["dose_band"], row["band_no"], row["participants"], row["mean"], row["people_of_difference"],
             row["difference"]) for row in shown] == [
        ("none", 0, 3, 420.0, None, None),  # only two of the three have a difference of their own
        ("[1,15)", 1, 4, 400.0, 3, 7.0),
        ("[15,inf)", 2, None, None, None, None),
    ]  # fmt: skip
    assert [row["answer"] for row in found.answers.to_pylist()] == ["inconclusive"]
    assert [(row["answer"], row["status"]) for row in numbers(warehouse, Limits(5)).answers.to_pylist()] == [
        (None, "suppressed")]  # fmt: skip


def test_what_is_shown_is_rounded(warehouse: duckdb.DuckDBPyConnection) -> None:
    enrol(warehouse, PEOPLE)
    assert numbers(warehouse, Limits(3, 5, 3)).enrolled["participants"].to_pylist() == [5]
