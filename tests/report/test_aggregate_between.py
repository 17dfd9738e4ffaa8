"""Two releases of the same cells, subtracted from each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import product

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from ingest.report._aggregate_between import Earlier, visible
from ingest.report._small_cells import Key
from tries import tries

Given = dict[Key, dict[str, str]]
K = 5


def cells(people: Iterable[tuple[str, str, Collection[str]]]) -> Given:
    """Cells of all margins; of each person what they contribute, and the value of each dimension."""
    found: Given = {}
    for person, content, values in people:
        pairs = [(f"dim{place}", value) for place, value in enumerate(values)]
        for kept in product((True, False), repeat=len(pairs)):
            key = frozenset(pair for pair, keep in zip(pairs, kept, strict=True) if keep)
            found.setdefault(key, {})[person] = content
    return found


def first(given: Given) -> set[Key]:
    return visible(given, [], K, given)


def some(value: str, count: int, content: str = "x", begin: int = 0) -> list[tuple[str, str, str]]:
    return [(f"{value}{n}", content, value) for n in range(begin, begin + count)]


TOTAL: Key = frozenset()
A, B, C = (frozenset({("dim0", value)}) for value in "abc")


def test_one_who_joined_is_not_shown_by_subtraction() -> None:
    then = cells([*some("a", 10), *some("b", 10)])
    now = cells([*some("a", 11), *some("b", 10)])
    assert first(then) == first(now) == {A, B, TOTAL}
    # `a` and the total would each tell of the one; `b` is as it was.
    assert visible(now, [Earlier(then, first(then))], K, now) == {B}


def test_one_whose_nights_changed_is_not_shown_by_subtraction() -> None:
    then = cells([*some("a", 10), *some("b", 10)])
    now = cells([*some("a", 1, "y"), *some("a", 9, begin=1), *some("b", 10)])
    assert visible(now, [Earlier(then, first(then))], K, now) == {B}


def test_what_changed_for_enough_people_is_shown_anew() -> None:
    then = cells([*some("a", 10), *some("b", 10)])
    now = cells([*some("a", 10, "y"), *some("b", 10, "y")])
    assert visible(now, [Earlier(then, first(then))], K, now) == {A, B, TOTAL}


def test_one_who_joined_does_not_follow_from_the_other_changes() -> None:
    # Six came to `a`, one to `b`, seven in all: total less `a` would be the one.
    then = cells([*some("a", 10), *some("b", 10)])
    now = cells([*some("a", 16), *some("b", 11)])
    found = visible(now, [Earlier(then, first(then))], K, now)
    assert B not in found
    assert not {A, TOTAL} <= found


def test_a_cell_that_had_to_be_hidden_and_is_as_it_was_stays_hidden() -> None:
    then = cells([*some("a", 20), *some("b", 6), *some("c", 3)])
    assert first(then) == {A, TOTAL}
    # Three more in `c` make it large enough. To show `b`, which is as it was, would tell of the three of then.
    now = cells([*some("a", 20), *some("b", 6), *some("c", 6)])
    assert first(now) == {A, B, C, TOTAL}
    assert B not in visible(now, [Earlier(then, first(then))], K, now)


def test_all_earlier_releases_count() -> None:
    one = cells([*some("a", 10), *some("b", 10)])
    two = cells([*some("a", 20), *some("b", 20)])
    three = cells([*some("a", 11), *some("b", 10)])
    assert visible(three, [Earlier(two, first(two))], K, three) == {A, B, TOTAL}
    assert visible(three, [Earlier(two, first(two)), Earlier(one, first(one))], K, three) == {B}


def limits(then: Mapping[Key, int], now: Mapping[Key, int], levels: list[list[str]],
           wanted: Collection[tuple[str, Key]]) -> dict[tuple[str, Key], tuple[int, int]]:  # fmt: skip
    """Least and greatest number of people in a cell then, or who have come to it since, by integer programs.

    Nobody is taken to have left, which tells most. Unknown are, for each combination of values, who was there then and
    who came.
    """
    atoms = [frozenset((f"dim{place}", value) for place, value in enumerate(values)) for values in product(*levels)]

    def over(key: Key, was: int, came: int) -> list[float]:
        inside = [float(key <= atom) for atom in atoms]
        return [was * each for each in inside] + [came * each for each in inside]

    rows = [over(key, 1, 0) for key in then] + [over(key, 1, 1) for key in now]
    counts = [*then.values(), *now.values()]
    rules = [LinearConstraint(np.array(rows), counts, counts)] if rows else []
    found = {}
    for what, key in wanted:
        goal = np.array(over(key, what == "then", what == "came"))
        ends = [milp(sign * goal, integrality=np.ones(len(goal)), bounds=Bounds(0, 1000), constraints=rules)
                for sign in (1, -1)]  # fmt: skip
        assert all(end.success for end in ends)
        found[what, key] = (round(ends[0].fun), round(-ends[1].fun))
    return found


@pytest.mark.fault(70)
@pytest.mark.parametrize("seed", range(tries(8)))
def test_an_integer_program_over_both_releases_narrows_nobody(seed: int) -> None:
    random = np.random.default_rng(seed)
    levels = [list("abcd")[: random.integers(2, 5)], list("xyz")[: random.integers(2, 4)]]
    weights = [random.dirichlet(np.ones(len(each))) for each in levels]

    def somebody(n: int) -> tuple[str, str, tuple[str, ...]]:
        return f"p{n}", "x", tuple(str(random.choice(v, p=w)) for v, w in zip(levels, weights, strict=True))

    before = [somebody(n) for n in range(int(random.integers(15, 90)))]
    joined = [somebody(1000 + n) for n in range(int(random.integers(1, 14)))]
    every = {key: {} for key in cells([("p", "x", v) for v in product(*levels)])}
    then, now = ({**every, **cells(each)} for each in (before, [*before, *joined]))
    shown_then = first(then)
    shown_now = visible(now, [Earlier(then, shown_then)], K, now)
    assert all(len(now[key]) >= K for key in shown_now)
    came = {key: len(now[key]) - len(then[key]) for key in every}
    small_then = [("then", key) for key in every if len(then[key]) < K]
    small_came = [("came", key) for key in every if 0 < came[key] < K and key in shown_then]
    found = limits({key: len(then[key]) for key in shown_then}, {key: len(now[key]) for key in shown_now}, levels,
                   [*small_then, *small_came])  # fmt: skip
    for (_, key), (low, high) in found.items():
        assert low <= 1, key
        assert high >= K, key


def test_the_attack_works_on_releases_that_do_not_know_of_each_other() -> None:
    then = cells([*some("a", 10), *some("b", 10)])
    now = cells([*some("a", 11), *some("b", 10)])
    counts = [{key: len(each[key]) for key in first(each)} for each in (then, now)]
    assert limits(counts[0], counts[1], [["a", "b"]], [("came", A)]) == {("came", A): (1, 1)}
