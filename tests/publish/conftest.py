"""A small study for tests that publish it: two participants in lake and marts, nothing published yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ingest._core.study import Study
from publish.small_lake import Content, put, study_at

A, B = Content("pa"), Content("pb", nights=2)


@pytest.fixture(scope="session")
def _lake_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = study_at(tmp_path_factory.mktemp("prepared"))
    put(study, A, B)
    return study.root


@pytest.fixture
def bare(_lake_of_two: Path, tmp_path: Path) -> Study:
    """A study of A and B, without a warehouse; the test may change it."""
    shutil.copytree(_lake_of_two, tmp_path / "study")
    return study_at(tmp_path / "study")
