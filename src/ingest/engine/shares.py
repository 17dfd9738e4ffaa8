"""Work shared out in tasks: the biggest first, so that nothing big begins when all else is done."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence

from ingest.arrive.arrivals import Arrival
from ingest.lake.plan import MOST_BATCHES, in_batches

TASKS_PER_CORE = 4  # what one is late by, the others make up for


def batches(wanted: Sequence[Arrival], batch_bytes: int, cores: int) -> list[list[str]]:
    """Tokens in batches of at most about `batch_bytes`, enough of them for all cores, the biggest first."""
    count = cores * TASKS_PER_CORE
    size = {each.token: each.bytes for each in wanted}
    found = in_batches(wanted, min(batch_bytes, sum(size.values()) // count + 1), max(MOST_BATCHES, count))
    return sorted(found, key=lambda tokens: -sum(size[token] for token in tokens))


def groups(rows: Mapping[str, int], cores: int, most: int) -> list[list[str]]:
    """Ids in groups of at most `most` with about as many rows each, enough of them for all cores, the biggest first.

    Longest processing time first (Graham 1969): each id, by falling number of rows, goes to the group that has fewest.
    Whoever has more than a group's part therefore stands alone.
    """
    count = max(min(len(rows), cores * TASKS_PER_CORE), -(-len(rows) // most))
    found: list[list[str]] = [[] for _ in range(count)]
    room = [(0, place) for place in range(count)]
    for of_one in sorted(rows, key=lambda each: (-rows[each], each)):
        taken, place = heapq.heappop(room)
        found[place].append(of_one)
        if len(found[place]) < most:
            heapq.heappush(room, (taken + rows[of_one], place))
    return sorted(map(sorted, found), key=lambda ids: -_sum(rows, ids))


def _sum(rows: Mapping[str, int], ids: Collection[str]) -> int:
    return sum(rows[each] for each in ids)
