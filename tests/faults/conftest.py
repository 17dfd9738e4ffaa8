"""The small study at its two starts: nothing taken up yet, and a second arrival after a first run."""

from __future__ import annotations

import pytest

from faults.loops import Start
from faults.starts import second_arrival, small_start


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Before the first run."""
    return small_start(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="session")
def later(tmp_path_factory: pytest.TempPathFactory, fresh: Start) -> Start:
    """After a first run, when newer exports and another roster have come."""
    return second_arrival(tmp_path_factory.mktemp("later"), fresh)
