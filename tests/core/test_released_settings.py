"""Every section of study.yaml is either said in a release or held back, by decision."""

from __future__ import annotations

from ingest._core.settings import Settings
from ingest.report._release_package import RELEASED_SETTINGS, WITHHELD_SETTINGS, released_settings


def test_every_setting_is_released_or_withheld() -> None:
    # A new section must be named in one of the two: is it free of secrets, paths and names of people?
    assert set(Settings.model_fields) == RELEASED_SETTINGS | WITHHELD_SETTINGS
    assert not RELEASED_SETTINGS & WITHHELD_SETTINGS


def test_safety_may_be_none() -> None:
    assert released_settings(Settings(study="s", safety="none"))["safety"] is None
