"""A study whose warehouse holds hostile text, and a real server on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.hostile import TOKEN, Server, spoil
from studies import arguments, change_settings


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
    log = tmp_path_factory.mktemp("log") / "serve.log"
    words = arguments("--study", spoilt, "--verbose", "serve", "--port", "0")
    environment = os.environ | {"INGEST_SERVE_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
    with log.open("w") as stream:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stream, text=True, env=environment)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("Pages on http://127.0.0.1:"), log.read_text()
        yield Server(said.split()[2].rstrip("/"), said, log, process)
    finally:
        process.terminate()
        process.wait(timeout=30)
