"""Tables of aggregates, attacked: with integer programs over all that is shown, and by adding and subtracting."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, combinations, product

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from ingest._core.settings import Settings
from ingest.report.safe_tables import Cells, Limits, limits_of, safe_tables
from tries import tries

People = dict[tuple[str | None, ...], set[str]]
EXACT = 1


def cells(dims: tuple[str, ...], people: People, **statistics: list[object]) -> Cells:
    columns = {dim: pa.array([key[place] for key in people], pa.string()) for place, dim in enumerate(dims)}
    columns["people"] = pa.array([sorted(each) for each in people.values()], pa.list_(pa.string()))
    return Cells(pa.table({**columns, **{name: pa.array(values) for name, values in statistics.items()}}), dims)


def grouped(rows: Iterable[tuple[str, ...]], width: int) -> People:
    """People by cell of all margins; `rows` are a person and the values of each dimension."""
    found: People = {}
    for person, *values in rows:
        for keep in product((True, False), repeat=width):
            key = tuple(value if kept else None for value, kept in zip(values, keep, strict=True))
            found.setdefault(key, set()).add(person)
    return found


def shown(table: pa.Table, dims: tuple[str, ...]) -> dict[tuple[str | None, ...], int | None]:
    return {tuple(row[dim] for dim in dims): row["participants"] for row in table.to_pylist()}


def test_one_small_cell_takes_a_second_with_it() -> None:
    people = grouped([(f"p{n}", "a" if n < 20 else "b" if n < 32 else "c") for n in range(35)], 1)
    (table,) = safe_tables([cells(("phase",), people, mean=[1.0, 2.0, 3.0, 4.0])], Limits(11))
    assert shown(table, ("phase",)) == {(None,): 35, ("a",): 20, ("b",): None, ("c",): None}
    assert [row["status"] for row in table.to_pylist()] == ["shown", "shown", "suppressed", "suppressed"]
    assert [row["mean"] is None for row in table.to_pylist()] == [False, False, True, True]


def test_a_cell_of_nobody_is_small_and_its_absence_does_not_tell() -> None:
    people = grouped([(f"p{n}", "a" if n < 20 else "b", "x") for n in range(40)], 2)
    del people["b", "x"], people[None, "x"]
    people["b", "y"] = people["b", None]
    people[None, "x"], people[None, "y"] = people["a", None], people["b", None]
    (table,) = safe_tables([cells(("one", "two"), people)], Limits(11))
    found = shown(table, ("one", "two"))
    # Everybody of `a` is in `x`: to show it would say that of each of them.
    assert {key: found[key] for key in product("ab", "xy")} == dict.fromkeys(product("ab", "xy"))
    assert 0 not in found.values()
    assert found["a", None] == found["b", None] == 20


def test_impossible_cells_hide_nothing_and_are_not_listed() -> None:
    people = grouped([(f"p{n}", "a", "x" if n < 20 else "y") for n in range(40)], 2)
    people |= grouped([(f"q{n}", "b", "x") for n in range(20)], 2) | {
        (None, None): {*people[None, None], *(f"q{n}" for n in range(20))},
        (None, "x"): {*people[None, "x"], *(f"q{n}" for n in range(20))},
    }
    table = cells(("one", "two"), people)
    impossible = Cells(table.rows, table.dims, {frozenset({("one", "b"), ("two", "y")})})
    (found,) = safe_tables([impossible], Limits(11))
    assert None not in shown(found, table.dims).values()
    assert ("b", "y") not in shown(found, table.dims)
    assert shown(safe_tables([table], Limits(11))[0], table.dims)["b", "y"] is None


def test_a_margin_of_few_is_hidden_with_all_its_parts() -> None:
    people = grouped([(f"p{n}", "ab"[n % 2]) for n in range(10)], 1)
    (table,) = safe_tables([cells(("phase",), people)], Limits(11))
    assert set(shown(table, ("phase",)).values()) == {None}


@pytest.mark.fault(69)
def test_counts_and_statistics_are_rounded() -> None:
    people = grouped([(f"p{n}", "a" if n < 13 else "b") for n in range(30)], 1)
    table = cells(("phase",), people, nights=[97, 31, 66], mean=[431.26, None, 0.012345])
    (found,) = safe_tables([table], Limits(11, round_to=5, digits=3))
    by_phase = {row["phase"]: (row["participants"], row["nights"], row["mean"]) for row in found.to_pylist()}
    order = list(people)
    given = dict(zip([key[0] for key in order], [(97, 431.26), (31, None), (66, 0.012345)], strict=True))
    assert set(by_phase) == set(given)
    assert by_phase[None][0] == 30
    assert (by_phase["a"][0], by_phase["b"][0]) == (15, 15)  # 13 and 17
    for phase, (nights, mean) in given.items():
        assert by_phase[phase][1] == {97: 95, 31: 30, 66: 65}[nights]
        assert by_phase[phase][2] == {431.26: 431.0, None: None, 0.012345: 0.0123}[mean]


def test_wrong_tables_are_told() -> None:
    people = grouped([(f"p{n}", "ab"[n % 2]) for n in range(30)], 1)
    with pytest.raises(ValueError, match="in none of its parts"):
        safe_tables([cells(("phase",), people | {(None,): people[None,] | {"stray"}})], Limits(11))
    twice = cells(("phase",), people).rows
    with pytest.raises(ValueError, match="two rows"):
        safe_tables([Cells(pa.concat_tables([twice, twice]), ("phase",))], Limits(11))
    with pytest.raises(ValueError, match="other people"):
        safe_tables([cells(("phase",), people), cells(("phase",), {(None,): {"p1"}})], Limits(11))


def test_without_a_threshold_there_are_no_limits() -> None:
    assert limits_of(Settings(study="s")) is None
    said = Settings.model_validate({"study": "s", "small_cells": {"min_participants": 11}})
    assert limits_of(said) == Limits(11, 5, 3)
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        Settings.model_validate({"study": "s", "small_cells": {"min_participants": 1}})


def intervals(tables: list[tuple[tuple[int, ...], dict[tuple[str | None, ...], int | None]]],
              levels: list[list[str]]) -> dict[tuple[object, ...], tuple[int, int]]:  # fmt: skip
    """Least and greatest count of every hidden cell, over all whole numbers of people by combination of values."""
    atoms = list(product(*levels))

    def over(places: tuple[int, ...], key: tuple[str | None, ...]) -> list[int]:
        return [all(value in (None, atom[place]) for place, value in zip(places, key, strict=True)) for atom in atoms]

    known = [
        (over(places, key), count) for places, table in tables for key, count in table.items() if count is not None
    ]
    counts = [count for _, count in known]
    rules = [LinearConstraint(np.array([row for row, _ in known], float), counts, counts)] if known else []
    most = 4 * max((count for _, count in known), default=1) + 100
    found = {}
    for places, table in tables:
        for key in (key for key, count in table.items() if count is None):
            goal = np.array(over(places, key), float)
            ends = [
                milp(sign * goal, integrality=np.ones(len(atoms)), bounds=Bounds(0, most),
                     constraints=rules)
                for sign in (1, -1)
            ]  # fmt: skip
            assert all(end.success for end in ends)
            found[places, key] = (round(ends[0].fun), round(-ends[1].fun))
    return found


@pytest.mark.fault(70)
@pytest.mark.parametrize("seed", range(tries(10)))
def test_an_integer_program_over_linked_tables_narrows_no_small_cell(seed: int) -> None:
    random = np.random.default_rng(seed)
    levels = [list("abcd")[: random.integers(2, 5)], list("xyz")[: random.integers(2, 4)], ["u", "v"]]
    at_least = int(random.integers(3, 12))
    weights = [random.dirichlet(np.full(len(each), 0.8)) for each in levels]
    rows = [
        (f"p{n}", *(str(random.choice(each, p=weight)) for each, weight in zip(levels, weights, strict=True)))
        for n in range(int(random.integers(10, 120)))
    ]
    first = grouped([(person, a, b) for person, a, b, _ in rows], 2)
    second = grouped([(person, a, c) for person, a, _, c in rows], 2)
    tables = safe_tables([cells(("a", "b"), first), cells(("a", "c"), second)], Limits(at_least))
    held = [((0, 1), shown(tables[0], ("a", "b"))), ((0, 2), shown(tables[1], ("a", "c")))]
    true = {(0, 1): first, (0, 2): second}
    seen = [sorted({row[place] for row in rows}) for place in (1, 2, 3)]
    for (places, key), (low, high) in intervals(held, seen).items():
        count = len(true[places].get(key, ()))
        assert low < high
        if count < at_least:
            assert low <= 1
            assert high >= at_least
    for places, table in held:
        assert all(count in (None, len(true[places].get(key, ()))) for key, count in table.items())
        assert all(count is None or count >= at_least for count in table.values())


@pytest.mark.parametrize("seed", range(tries(10)))
def test_nothing_added_or_subtracted_is_about_few_people(seed: int) -> None:
    """People are in several cells, and what a cell's nights sum to is known: which sets of cells can be told apart?"""
    random = np.random.default_rng(1000 + seed)
    weeks, bands = [f"w{n}" for n in range(random.integers(2, 5))], ["high", "low"]
    at_least = int(random.integers(3, 8))
    rows = [
        (f"p{person}", week, str(random.choice(bands, p=[0.3, 0.7])))
        for person in range(int(random.integers(8, 40)))
        for week in weeks[: random.integers(1, len(weeks) + 1)]
    ]
    people = grouped(rows, 2)
    (table,) = safe_tables([cells(("week", "band"), people)], Limits(at_least))
    atoms = sorted({(week, band) for _, week, band in rows})
    visible = [key for key, count in shown(table, ("week", "band")).items() if count is not None]
    published = np.array([[key[0] in (None, week) and key[1] in (None, band) for week, band in atoms]
                          for key in visible], float).reshape(len(visible), len(atoms))  # fmt: skip
    rank = np.linalg.matrix_rank(published) if visible else 0
    for some in chain.from_iterable(combinations(range(len(atoms)), size) for size in range(1, len(atoms) + 1)):
        who = set().union(*(people[atoms[each]] for each in some))
        if visible and len(who) < at_least:
            sum_of = np.isin(np.arange(len(atoms)), some).astype(float)
            assert np.linalg.matrix_rank(np.vstack([published, sum_of])) > rank, (some, visible)


def test_the_attack_finds_what_is_not_protected() -> None:
    people = grouped([(f"p{n}", "a" if n < 20 else "b" if n < 32 else "c") for n in range(35)], 1)
    bare = {key: len(each) if len(each) >= 11 else None for key, each in people.items()}
    assert intervals([((0,), bare)], [list("abc")]) == {((0,), ("c",)): (3, 3)}
