"""A small demo study, taken the whole way once for all tests that only look at it; and how properties are tried.

`make test` tries the same examples each time, so that it says the same of the same code; `make soak` tries others,
and more of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from browser import chromium
from ingest.demo.study import make_study
from servers import postgres, postgres_server
from stores import bucket, object_store
from studies import run

__all__ = ["bucket", "chromium", "object_store", "postgres", "postgres_server"]  # fixtures

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("soak", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def demo_landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo study of five people and forty nights, as it stands before its first run; not to be changed."""
    root = tmp_path_factory.mktemp("landed") / "study"
    make_study(root, people=5, nights=40)
    return root


@pytest.fixture(scope="session")
def demo_done(demo_landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a run; not to be changed."""
    root = tmp_path_factory.mktemp("done") / "study"
    shutil.copytree(demo_landed, root)
    run(root)
    return root


@pytest.fixture
def demo_copy(demo_done: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    root = tmp_path / "demo"
    shutil.copytree(demo_done, root)
    return root


@pytest.fixture
def fresh_demo(demo_landed: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes copies of the study before its first run, all with one key, so that they can be compared."""

    def make(name: str) -> Path:
        root = tmp_path / name
        shutil.copytree(demo_landed, root)
        (root / "identity").mkdir(mode=0o700)
        (root / "identity" / "key").write_text("5a" * 32 + "\n")
        return root

    return make
