"""Several questions of one form about a substance: which of their noes are the day's, and which a part's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingest._core.log_mapping import Item
from ingest.decode.log._words import NO, YES, Bools

Answers = NDArray[np.int8]


def partial_noes(items: Sequence[Item], answers: Sequence[Answers]) -> list[Bools]:
    """For each item the rows in which its no is not the day's: it says nothing of what else was taken that day.

    A no about a part of the day is the day's where each asked part says no, and the form asks about two parts or
    more or has a no to a question that is about no part. Beside a use that another item of the row tells of, a no is
    its part's alone; and so is the no of one dose or product beside another, but not that of a question about the
    day, which the use contradicts.
    """
    found = []
    for k, item in enumerate(items):
        same = [j for j, other in enumerate(items) if other.substance == item.substance]
        beside_a_use = np.any([answers[j] == YES for j in same], axis=0)
        if item.part_of_day is not None:
            parts = [j for j in same if items[j].part_of_day is not None]
            several = len({items[j].part_of_day for j in parts}) > 1
            each_part = np.all([answers[j] == NO for j in parts], axis=0)
            elsewhere = [answers[j] == NO for j in same if j not in parts]
            whole_day = each_part & (several or np.any([np.zeros_like(each_part), *elsewhere], axis=0))
            partial = beside_a_use | ~whole_day
        elif _asks_about_the_day(item, [items[j] for j in same]):
            partial = np.zeros(len(answers[k]), dtype=np.bool_)
        else:
            partial = beside_a_use
        found.append((answers[k] == NO) & partial)
    return found


def _asks_about_the_day(item: Item, same: Sequence[Item]) -> bool:
    """True for a question that is put before the doses or parts of the day that others of the form ask for."""
    bare = item.amount is None and item.at is None and item.product_form is None
    return bare and any(other.amount is not None or other.part_of_day is not None for other in same)
