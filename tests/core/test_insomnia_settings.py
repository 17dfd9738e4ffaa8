"""The section `insomnia` of study.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest._core.errors import WrongUse
from ingest._core.new_study import make_study_folder
from ingest._core.settings import Settings, load_settings
from ingest._core.settings_insomnia import Insomnia, presets
from ingest._core.settings_phases import Phases

HEAD = "study: s\ninsomnia:\n"


def load(folder: Path, section: str) -> Settings:
    path = folder / "study.yaml"
    path.write_text(HEAD + section)
    return load_settings(path)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("  diary: lichstien2003\n",
         r"line 3, insomnia.diary: no such preset for the diary, did you mean lichstein2003\?"),
        ("  bad_nights: 3\n  wearable: lichstein2003\n",
         r"line 4, insomnia.wearable: no such preset for the wearable\. Known: wearable_long_wake"),
        ("  diary: xyz\n", r"line 3, insomnia.diary: .*Known: lichstein2003, levenson2013, se85, early_waking"),
        ("  diary: early_waking\n", r"line 2, insomnia: a chosen preset needs early_wake_min: say how many minutes"),
        ("  thresholds:\n    se_pct: 80\n", r"line 2, insomnia: `thresholds` gives se_pct, which neither"),
        ("  thresholds:\n    soll_min: 80\n",
         r"line 4, insomnia.thresholds.soll_min: no such setting; did you mean sol_min"),
        ("  bad_nights: 8\n", r"line 3, insomnia.bad_nights: "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_by_line(tmp_path: Path, section: str, said: str) -> None:
    with pytest.raises(WrongUse, match=said):
        load(tmp_path, section)


def test_the_defaults_are_the_decided_presets(tmp_path: Path) -> None:
    found = load(tmp_path, "  bad_nights: 3\n").insomnia
    assert found.criteria() == {
        "sol_min": 31, "waso_min": 31, "waso_long_min": 31, "early_wake_min": None, "se_pct": None,
    }  # fmt: skip


def test_thresholds_replace_those_of_the_preset_and_change_the_hash(tmp_path: Path) -> None:
    plain = load(tmp_path, "  diary: early_waking\n  thresholds:\n    early_wake_min: 30\n")
    other = load(tmp_path, "  diary: early_waking\n  thresholds:\n    early_wake_min: 40\n")
    assert plain.insomnia.criteria()["early_wake_min"] == 30
    assert plain.mart_hash_part() != other.mart_hash_part()


def test_every_preset_names_its_source() -> None:
    assert all(len(each.source) > 10 for each in presets().values())
    assert {each.basis for each in presets().values()} == {"diary", "wearable"}


def test_a_new_study_shows_the_defaults(tmp_path: Path) -> None:
    make_study_folder(tmp_path / "new")
    found = load_settings(tmp_path / "new" / "study.yaml")
    assert (found.insomnia, found.phases) == (Insomnia(), Phases())
    assert {"insomnia", "phases"} <= found.model_fields_set
