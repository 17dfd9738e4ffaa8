"""A study whose warehouse holds hostile text, and a real server on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.hostile import Server, spoil
from serve.running import running
from studies import change_settings


@pytest.fixture(scope="module")
def spoilt(demo_done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo study with such a warehouse; cells of two people may be shown. Not to be changed."""
    root = tmp_path_factory.mktemp("spoilt") / "study"
    shutil.copytree(demo_done, root)
    change_settings(root, small_cells={"min_participants": 2, "round_to": 1, "digits": 15})
    spoil(root)
    return root


@pytest.fixture(scope="module")
def server(spoilt: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The command, on a free port, asking for TOKEN, with a line in its log for every request."""
    with running(spoilt, tmp_path_factory.mktemp("log") / "serve.log") as found:
        yield found
