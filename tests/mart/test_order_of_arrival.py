"""The same exports in whatever order they come in, one by one or all at once, give the same marts to the byte."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest

from ingest._core import clock
from ingest._core.contract import MART, tables
from studies import as_json, files, fitbit_log, fitbit_nights, land, make_study, run

NIGHTS = fitbit_nights(datetime(2026, 3, 1, 23), 14)
MADE = datetime(2026, 4, 1, tzinfo=UTC)
EXPORTS = (
    # The night of the 4th still short, that of the 5th missing; the 4th again, whole; the 4th under another id.
    ("a", [*NIGHTS[:3], fitbit_log(1003, datetime(2026, 3, 4, 23), 6), *NIGHTS[5:10]], MADE),
    ("b", NIGHTS[2:12], MADE + timedelta(days=3)),
    ("c", [fitbit_log(2003, datetime(2026, 3, 4, 22, 50), 7.5), *NIGHTS[9:]], MADE + timedelta(days=3)),
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("order") / "study")


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.fault(56)
def test_marts_do_not_depend_on_the_order_of_arrival(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Sequence[int], one_by_one: bool
) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 5, 1, tzinfo=UTC))
    found = []
    for name, places, each in (("first", range(3), False), ("second", order, one_by_one)):
        root = shutil.copytree(empty, tmp_path / name)
        for i in places:
            folder, logs, made = EXPORTS[i]
            land(root, f"K01/{folder}/sleep-2026-03-01.json", as_json(logs), made)
            if each:
                run(root)
        run(root)
        found.append({table: files(root / "lake" / table) for table in tables(MART)})
    assert found[0]["night"]
    assert found[0] == found[1]
