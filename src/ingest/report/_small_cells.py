"""Which cells of linked tables have to be hidden so that nobody can work out one that rests on few people.

Cells are told apart by the dimensions that they fix, and lie in each other: what is shown of `phase=taper` is made up
of `phase=taper, dose=low` and its neighbours. Whoever reads the tables can add and subtract along all of these
relations at once, and is taken to know every shown count exactly and each hidden one to be a whole number from 0 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from scipy.linalg import null_space, orth
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from ingest._core.errors import Terminal

Key = frozenset[tuple[str, str]]
"""Values of the dimensions that a cell fixes; the empty one is the total."""
_MOST_SETS = 4000
_ALMOST_0 = 1e-9
_Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]
_Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Net:
    """Cells in an order of their own and who contributes to each; `inside[i, j]`: person j to cell i."""

    keys: tuple[Key, ...]
    inside: np.ndarray[tuple[int, int], np.dtype[np.bool_]]

    @cached_property
    def place(self) -> dict[Key, int]:
        """Place of each cell."""
        return {key: number for number, key in enumerate(self.keys)}

    @cached_property
    def counts(self) -> _Ints:
        """Participants by cell."""
        counts: _Ints = self.inside.sum(axis=1)
        return counts

    @cached_property
    def relations(self) -> list[tuple[int, _Ints]]:
        """Each cell with those that it is made up of, for every set of further dimensions."""
        sets: dict[frozenset[str], list[Key]] = {}
        for key in self.keys:
            sets.setdefault(frozenset(name for name, _ in key), []).append(key)
        found = []
        for above, below in permutations(sorted(sets, key=sorted), 2):
            if above < below:
                parts: dict[Key, list[int]] = {key: [] for key in sets[above]}
                for key in sets[below]:
                    whole = frozenset(pair for pair in key if pair[0] in above)
                    if whole in parts:
                        parts[whole].append(self.place[key])
                found += [(self.place[key], np.array(each)) for key, each in parts.items() if each]
        return found

    @cached_property
    def adds_up(self) -> list[bool]:
        """By relation: nobody is in two of the parts, so that counts of people add up."""
        return [bool(self.counts[parts].sum() == self.counts[whole]) for whole, parts in self.relations]

    @cached_property
    def directions(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """A vector for each cell: sums of cells are the same in all data where those of their vectors are."""
        rules = np.zeros((len(self.relations) + len(self.keys), len(self.keys)))
        for rule, (whole, parts) in zip(rules, self.relations, strict=False):
            rule[whole], rule[parts] = -1, 1
        empty = np.flatnonzero(self.counts == 0)
        rules[len(self.relations) + empty, empty] = 1
        found: np.ndarray[tuple[int, int], np.dtype[np.float64]] = null_space(rules)
        return found


def net_of(people: Mapping[Key, Iterable[str]]) -> Net:
    """The cells and their contributors."""
    keys = tuple(sorted(people, key=lambda key: (len(key), sorted(key))))
    everybody = {person: number for number, person in enumerate(sorted(set().union(*people.values())))}
    inside = np.zeros((len(keys), len(everybody)), dtype=bool)
    for number, key in enumerate(keys):
        inside[number, [everybody[person] for person in people[key]]] = True
    return Net(keys, inside)


def protect(net: Net, shown: _Bools, at_least: int, may_hide: _Bools | None = None, zeros: bool = True) -> _Bools:
    """`shown` without the cells that have to be hidden as well, so that of what is hidden nothing follows.

    A hidden cell of fewer than `at_least` people is protected where each count from 1 to `at_least` would go with all
    that is shown, another where its count does not follow. With `zeros` a cell of nobody is a small one; without, and
    that is for differences, it is of no interest. Only cells of `may_hide` are hidden; where these do not suffice, all
    of them are.
    """
    shown = shown.copy()
    can = np.ones_like(shown) if may_hide is None else may_hide
    small = net.counts < at_least if zeros else (net.counts < at_least) & (net.counts > 0)
    shown &= ~(small & can)
    while True:
        exposed = next(_exposed(net, shown, at_least, small, zeros), None)
        if exposed is None or not (shown & can).any():
            return shown
        shown[_nearest(net, shown & can, exposed)] = False


def _exposed(net: Net, shown: _Bools, at_least: int, small: _Bools, zeros: bool) -> Iterator[int]:
    """Hidden cells that are not protected; those that one subtraction gives away come first."""
    known = worked_out(net, shown)
    yield from (int(cell) for cell in np.flatnonzero(known & ~shown & (small | zeros)))
    for whole, parts in net.relations:
        hidden = parts[~known[parts]]
        if known[whole] and hidden.size:
            people = int(net.inside[hidden].any(axis=0).sum())
            if people < at_least and (zeros or people):
                yield int(hidden[0])
    yield from _narrowed(net, known, at_least, small, zeros)


def worked_out(net: Net, shown: _Bools) -> _Bools:
    """Cells that are shown, or follow from shown ones by one sum or difference after the other."""
    known = shown.copy()
    more = True
    while more:
        more = False
        for whole, parts in net.relations:
            hidden = parts[~known[parts]]
            if known[whole] and hidden.size == 1:
                known[hidden] = more = True
            elif not known[whole] and not hidden.size:
                known[whole] = more = True
    return known


def _about_few(net: Net, known: _Bools, at_least: int) -> tuple[list[int], bool]:
    """Of cells in which people are more than once: one of those whose sum, with any signs, follows from what is shown
    and is about fewer than `at_least` people; and whether all sets of so few people could be looked at.

    What is summed is of nights, and adds up although people do not.
    """
    if all(net.adds_up):
        return [], True
    places = net.directions
    if not places.size:
        return [], True
    left_over = places - places @ orth(places[known].T) @ orth(places[known].T).T if known.any() else places
    small = [int(cell) for cell in np.flatnonzero(~known & (net.counts > 0) & (net.counts < at_least))]
    who = {cell: sum(1 << int(person) for person in np.flatnonzero(net.inside[cell])) for cell in small}
    sets, all_of_them = _unions(set(who.values()), at_least)
    for people in sets:
        cells = [cell for cell in small if not who[cell] & ~people]
        sums = null_space(left_over[cells].T)
        if sums.size and np.abs(found := sums.T @ places[cells]).max() > _ALMOST_0:
            most = np.abs(sums[:, np.abs(found).max(axis=1).argmax()])
            return [cells[int(most.argmax())]], True
    return [], all_of_them


def _unions(sets: set[int], at_least: int) -> tuple[list[int], bool]:
    """All unions of fewer than `at_least` members, as bits; False where there are too many to look at."""
    found = sorted(sets)
    seen = set(found)
    for union in found:
        for other in sets:
            both = union | other
            if both not in seen and both.bit_count() < at_least:
                seen.add(both)
                found.append(both)
        if len(found) > _MOST_SETS:
            return found, False
    return found, True


def _narrowed(net: Net, known: _Bools, at_least: int, small: _Bools, zeros: bool) -> Iterator[int]:
    """Hidden cells whose count lies in too short an interval, by integer programs over all relations."""
    matters = ~known & (small | zeros)
    if not matters.any():
        return
    few, all_looked_at = _about_few(net, known, at_least)
    yield from few
    reach = at_least * (1 if all_looked_at else _times(net, known))
    program = _Program(net, known, int(net.counts.sum()) + reach, sums=not all_looked_at)
    matters &= program.bound
    low, high = net.counts.copy(), net.counts.copy()
    for cell in map(int, np.flatnonzero(matters)):
        if not _wide(cell, low, high, small, reach):
            for sign in (1, -1):
                found = program.extreme(cell, sign)
                low, high = np.minimum(low, found), np.maximum(high, found)
        if not _wide(cell, low, high, small, reach):
            yield cell


def _wide(cell: int, low: _Ints, high: _Ints, small: _Bools, reach: int) -> bool:
    return bool(low[cell] <= 1 and high[cell] >= reach if small[cell] else low[cell] < high[cell])


def _times(net: Net, known: _Bools) -> int:
    """In how many hidden parts of one whole a person is, at most: so many times a sum of counts holds them."""
    times = [
        int(net.inside[parts[~known[parts]]].sum(axis=0).max(initial=1))
        for (_, parts), adds_up in zip(net.relations, net.adds_up, strict=True)
        if not adds_up
    ]
    return max(times, default=1)


class _Program:
    """What the hidden counts can be, from 0 to `most`, given the known ones; `bound` are those with a rule."""

    def __init__(self, net: Net, known: _Bools, most: int, sums: bool) -> None:
        counts = net.counts
        rows, values = [], []
        for (whole, parts), adds_up in zip(net.relations, net.adds_up, strict=True):
            if adds_up:
                rows.append([*((int(part), 1) for part in parts), (whole, -1)])
                values.append(0)
            elif known[whole] and sums:
                # Counts of people do not add up here; as if what their nights make were counts, it does.
                rows.append([(int(part), 1) for part in parts])
                values.append(int(counts[parts].sum()))
        entries = [(number, cell, sign) for number, row in enumerate(rows) for cell, sign in row]
        self._size = len(counts)
        self.bound = np.isin(np.arange(self._size), [cell for _, cell, _ in entries])
        self._bounds = Bounds(np.where(known, counts, 0), np.where(known, counts, most))
        self._rules = []
        if entries:
            number, cell, sign = zip(*entries, strict=True)
            matrix = csr_array((sign, (number, cell)), shape=(len(rows), self._size))
            self._rules = [LinearConstraint(matrix, values, values)]

    def extreme(self, cell: int, sign: int) -> _Ints:
        """Counts of all cells that go with the known ones, those of `cell` least (1) or most (-1)."""
        goal = np.zeros(self._size)
        goal[cell] = sign
        found = milp(goal, integrality=np.ones(self._size), bounds=self._bounds, constraints=self._rules)
        if found.x is None:
            raise Terminal(f"what is hidden of a table could not be checked ({found.message}); nothing is shown")
        whole: _Ints = np.rint(found.x).astype(np.int64)
        return whole


def _nearest(net: Net, could_go: _Bools, exposed: int) -> int:
    """The cell to hide next: the smallest beside the exposed one, else what holds it, else the smallest of all."""
    beside = {int(part) for _, parts in net.relations if exposed in parts for part in parts}
    above = {whole for whole, parts in net.relations if exposed in parts}
    below = {int(part) for whole, parts in net.relations if whole == exposed for part in parts}
    for cells in (beside | below, above):
        if near := [cell for cell in cells if could_go[cell]]:
            return min(near, key=lambda cell: (net.counts[cell], cell))
    return min(map(int, np.flatnonzero(could_go)), key=lambda cell: (net.counts[cell], cell))
