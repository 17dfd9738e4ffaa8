"""The demo study, written once for all tests of this folder."""

from __future__ import annotations

import pytest

from ingest.demo.facts import DemoFacts
from ingest.demo.study import make_study


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoFacts:
    return make_study(tmp_path_factory.mktemp("demo") / "study")
