"""Airflow's own plugin manager finds the link to the pages, by the entry point of this package."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("airflow")
PROBE = """
import json
from airflow.plugins_manager import get_import_errors, get_plugin_info
from airflow.api_fastapi.core_api.datamodels.plugins import PluginResponse
found = [each for each in get_plugin_info() if each["name"] == "ingest_pages"]
views = [view.model_dump() for each in found for view in PluginResponse.model_validate(each).external_views]
print(json.dumps({"found": len(found), "views": views, "errors": get_import_errors()}))
"""


@pytest.fixture
def plugin(
    tmp_path: Path, child_environment: Callable[..., dict[str, str]], python: str
) -> Callable[..., dict[str, Any]]:
    def ask(**environment: str) -> dict[str, Any]:
        env = child_environment(tmp_path, tmp_path) | environment
        done = subprocess.run([python, "-c", PROBE], env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return dict(json.loads(done.stdout.splitlines()[-1]))

    return ask


def test_the_menu_links_to_the_pages_of_each_study(plugin: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    studies = tmp_path / "studies.toml"
    studies.write_text('[north]\nfolder = "/n"\npages_url = "https://north.example/"\n[south]\nfolder = "/s"\n')
    found = plugin(INGEST_STUDIES=str(studies))
    assert (found["found"], found["errors"]) == (1, {})
    ((view),) = found["views"]
    assert (view["name"], view["href"], view["destination"]) == ("Sleep pages: north", "https://north.example/", "nav")
    # The pages forbid frames, so Airflow must not be told to show them in one.
    assert view["url_route"] is None


def test_an_address_that_is_none_is_refused(plugin: Callable[..., dict[str, Any]]) -> None:
    found = plugin(INGEST_PAGES_URL="javascript:alert(1)")
    assert found["views"] == []
    assert ["pages_url: expected http" in text for text in found["errors"].values()] == [True]
