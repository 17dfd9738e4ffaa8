"""What stands under landing/ while others write to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest._core.new_study import make_study_folder
from ingest._core.study import Study, open_study
from ingest.arrive import landing
from ingest.arrive.landing import NotAFile, Unit, units


@pytest.fixture
def study(tmp_path: Path) -> Study:
    make_study_folder(tmp_path / "s")
    for name in ("a.json", "b.json"):
        path = tmp_path / "s" / "landing" / "P1" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("[]")
    return open_study(tmp_path / "s")


def _failing(monkeypatch: pytest.MonkeyPatch, error: type[OSError]) -> None:
    def opened(path: Path) -> bool:
        if path.name == "a.json":
            raise error
        return False

    monkeypatch.setattr(landing, "_starts_as_archive", opened)


def test_a_file_that_vanishes_after_it_was_listed_is_passed_over(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, FileNotFoundError)
    (unit,) = units(study)
    assert isinstance(unit, Unit)
    assert [file.name for file in unit.files] == ["b.json"]


def test_a_file_without_permission_is_told_and_the_others_go_on(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, PermissionError)
    told, unit = units(study)
    assert isinstance(told, NotAFile)
    assert told.path.name == "a.json"
    assert isinstance(unit, Unit)
    assert [file.name for file in unit.files] == ["b.json"]
