"""Which cells may be shown now, given all that earlier releases have shown.

Between two releases a cell changes by what the people bring who joined it, left it or have other nights in it. Where
these are few, the difference of the two values is about them: the cell is not shown anew. The same goes for what
follows from several cells of both releases, and for a cell that is shown now, has hardly changed, and had to be hidden
then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ingest.report._small_cells import Key, Net, net_of, protect

_Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]
People = Mapping[Key, Mapping[str, str]]
"""By cell, who contributes, and something that differs where their contribution does."""


@dataclass(frozen=True)
class Earlier:
    """What a release has shown: the people behind all of its cells, and the cells whose values it had."""

    people: People
    shown: Collection[Key]


def visible(now: People, earlier: Collection[Earlier], at_least: int, start: Collection[Key]) -> set[Key]:
    """Those of the cells `start` that may be shown with their values of now."""
    net = net_of(now)
    shown = np.array([key in start for key in net.keys], dtype=bool)
    changes = [_Change(net, now, each, at_least) for each in earlier]
    before = shown.copy()
    while True:
        known = np.zeros_like(shown)
        for change in changes:
            known |= change.known_still
        # What others know already cannot be hidden any more; it counts among what is shown.
        shown = protect(net, shown | known, at_least, ~known) & shown
        for change in changes:
            shown = change.without_differences(shown)
            shown = change.without_disclosing_then(shown)
        if (shown == before).all():
            return {key for key, place in net.place.items() if shown[place]}
        before = shown.copy()


class _Change:
    """From an earlier release to now, by the cells of now."""

    def __init__(self, net: Net, now: People, then: Earlier, at_least: int) -> None:
        self._net, self._at_least = net, at_least
        changed, moved = {}, {}
        for key in net.keys:
            new, old = now[key], then.people.get(key, {})
            changed[key] = {person for person in {*new, *old} if new.get(person) != old.get(person)}
            moved[key] = {*new} ^ {*old}
        self._changed, self._moved = net_of(changed), net_of(moved)
        self._was_shown = np.array([key in then.shown for key in net.keys], dtype=bool)
        self._like_then = self._changed.counts < at_least
        self.known_still = self._was_shown & self._like_then
        self._then = net_of(then.people)
        self._then_shown = np.array([key in then.shown for key in self._then.keys], dtype=bool)

    def without_differences(self, shown: _Bools) -> _Bools:
        both = shown & self._was_shown
        for net in (self._changed, self._moved):
            both &= protect(net, both, self._at_least, zeros=False)
        kept: _Bools = shown & (both | ~self._was_shown)
        return kept

    def without_disclosing_then(self, shown: _Bools) -> _Bools:
        """Without cells that have hardly changed and would have given away, then, what was hidden."""
        fresh = shown & ~self._was_shown & self._like_then
        place = self._then.place
        here = {number: place[key] for number, key in enumerate(self._net.keys) if fresh[number] and key in place}
        if not here:
            return shown
        added = np.zeros_like(self._then_shown)
        added[list(here.values())] = True
        safe = protect(self._then, self._then_shown | added, self._at_least, added)
        shown = shown.copy()
        for number, then in here.items():
            shown[number] = safe[then]
        return shown
