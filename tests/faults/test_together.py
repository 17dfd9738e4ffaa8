"""Runs and backfills that meet: the same bytes as alone, and a clear word where one has to come again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from faults.loops import PRESENT, Start, backfill, paused, two_runs
from faults.small import Forked, copied, differences, ran


@pytest.mark.parametrize(("first", "seed"), [(True, 3), (False, 5), (False, 8)], ids=["fresh", "later", "later-2"])
def test_row_14_two_runs_at_once(fresh: Start, later: Start, tmp_path: Path, first: bool, seed: int) -> None:
    done = two_runs(fresh if first else later, tmp_path, seed)
    assert (done.pairs, done.problems) == (1, [])


@pytest.mark.parametrize("order", [("arrived", "nights"), ("nights", "arrived")], ids="-".join)
def test_row_15_backfills_in_either_order(later: Start, tmp_path: Path, order: tuple[str, str]) -> None:
    root = copied(later.root, tmp_path / "study")
    for what in order:
        process = Forked(partial(backfill, what, root))
        assert process.wait() == 0, process.said
    ran(root, PRESENT)
    assert differences(root, later.wanted[PRESENT]) == []


def test_row_19_a_paused_run_goes_on_after_another_ended(later: Start, tmp_path: Path) -> None:
    done = paused(later, tmp_path, 60)
    assert (done.pairs, done.problems) == (1, [])
