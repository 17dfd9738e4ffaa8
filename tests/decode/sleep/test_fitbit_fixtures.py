"""Every Fitbit situation through landing, plan and load, against what its maker worked out from the rules."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fixtures.make_fitbit import FOLDER, SITUATIONS, zip_of
from ingest.report.quarantine import Line
from studies import check_counts, lake_table, land, make_study, pid, quarantine, rows, run, told, write_roster

NAMES = sorted(SITUATIONS)
FIELDS = ("source_record_id", "device", "is_main_reported", "detail", "vendor_tst_min", "vendor_awake_min",
          "vendor_sol_min", "vendor_light_min", "vendor_deep_min", "vendor_rem_min", "vendor_efficiency_pct",
          "vendor_score")  # fmt: skip
FATES = ("records_read", "kept", "duplicate", "ignored", "quarantined")
SHAPES = {
    "as_it_arrives": "",
    "zip": "",
    "deeper_zip": "one/more/",
    "loose": "",
    "folder": "export/",
    "deeper_folder": "export/one/more/",
}


def _expected(situation: str) -> Any:
    return json.loads((FOLDER / situation / "expected.json").read_text())


WHOLE = [name for name in NAMES if not _expected(name)["refused"]]


def _members(situation: str) -> dict[str, bytes]:
    root = FOLDER / situation
    root = root / "members" if (root / "members").is_dir() else root
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*"))
            if path.is_file() and path != FOLDER / situation / "expected.json"}  # fmt: skip


def _land(root: Path, situation: str, shape: str) -> None:
    members = _members(situation)
    is_zip = (FOLDER / situation / "members").is_dir()
    if shape == "as_it_arrives" and is_zip:
        land(root, f"{situation}/export.zip", zip_of(FOLDER / situation))
    elif shape.endswith("zip"):
        with zipfile.ZipFile(land(root, f"{situation}/export.zip", b""), "w") as file:
            for name, data in members.items():
                file.writestr(zipfile.ZipInfo(SHAPES[shape] + name, (2026, 5, 1, 9, 0, 0)), data)
    else:
        for name, data in members.items():
            land(root, f"{situation}/{SHAPES[shape]}{name}", data)


class Ran:
    """A study after its run, in which every situation is a participant; tables are read once."""

    def __init__(self, root: Path, shape: str) -> None:
        self.root = make_study(root)
        write_roster(self.root, {name: _expected(name)["time_zone"] for name in NAMES})
        for name in NAMES if shape == "as_it_arrives" else WHOLE:
            _land(self.root, name, shape)
        run(self.root)
        self.ids = {name: pid(self.root, name) for name in NAMES}
        self.sessions = sorted(lake_table(self.root, "sleep_session").to_pylist(), key=lambda r: r["start_utc"])
        self.stages: dict[str, list[dict[str, Any]]] = {}
        for stage in sorted(lake_table(self.root, "sleep_stage").to_pylist(), key=lambda r: r["start_utc"]):
            self.stages.setdefault(stage["session_id"], []).append(stage)
        self.lines = quarantine(self.root)

    def found(self, situation: str) -> list[dict[str, Any]]:
        """The situation's sessions in the form of its expected.json."""
        return [self._session(row) for row in self.sessions if row["participant_id"] == self.ids[situation]]

    def lines_of(self, situation: str) -> list[Line]:
        return [line for line in self.lines if line.participant_id == self.ids[situation]]

    def _session(self, row: dict[str, Any]) -> dict[str, Any]:
        own = self.stages.get(row["session_id"], [])
        stretches = [[(s["start_utc"] - row["start_utc"]).total_seconds(),
                      (s["end_utc"] - s["start_utc"]).total_seconds(), s["stage"]] for s in own]  # fmt: skip
        seconds: Counter[str] = Counter()
        for _, length, stage in stretches:
            seconds[stage] += length
        return {
            **{name: row[name] for name in FIELDS},
            "start_utc": _instant(row["start_utc"]),
            "end_utc": _instant(row["end_utc"]),
            "flags": sorted(filter(None, (row["flags"] or "").split(","))),
            "stretches": stretches,
            "stage_min": {stage: total / 60 for stage, total in seconds.items()},
        }


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """A study for each way to hand in an export."""
    return {shape: Ran(tmp_path_factory.mktemp(shape) / "study", shape) for shape in SHAPES}


@pytest.fixture(scope="module")
def arrived(ran: dict[str, Ran]) -> Ran:
    """Zips where the situation stands for one, else loose files."""
    return ran["as_it_arrives"]


@pytest.mark.parametrize("situation", NAMES)
def test_sessions_stages_and_flags(arrived: Ran, situation: str) -> None:
    assert arrived.found(situation) == _expected(situation)["sessions"]


@pytest.mark.parametrize("situation", NAMES)
def test_counts_and_refusals(arrived: Ran, situation: str) -> None:
    expected, found = _expected(situation), arrived.lines_of(situation)
    ((status, *counts),) = rows(arrived.root, f"select status, {', '.join(FATES)} from source_file "
                                f"where participant_id = '{arrived.ids[situation]}'")  # fmt: skip
    if expected["refused"]:
        assert status == "refused"
        assert counts == [None] * len(FATES)
        assert [line.reason for line in found] == [expected["refused"]]
        return
    assert counts == [expected[name] for name in FATES]
    assert Counter(line.kind for line in found) == expected["quarantine_lines"]
    whole = "loaded" if expected["kept"] else "ignored"
    assert status == ("partial" if expected["quarantine_lines"] else whole)


def test_every_line_says_where_and_what_and_names_nobody(arrived: Ran) -> None:
    check_counts(arrived.root)
    assert len(arrived.lines) >= sum(bool(_expected(name)["refused"]) for name in NAMES)
    for line in arrived.lines:
        assert line.path is not None
        assert (arrived.root / line.path).is_file()
        assert line.detail.strip()
        assert "\n" not in line.detail


def test_no_name_from_a_folder_of_the_old_layout_goes_on(arrived: Ran) -> None:
    (name,) = [path for path in _members("takeout-zip-old-layout") if path.rpartition("/")[2].startswith("sleep-")]
    assert "Zebrowski" in name
    text = told(arrived.root)
    assert arrived.ids["takeout-zip-old-layout"] in text
    assert "Zebrowski" not in text
    assert [situation for situation in NAMES if situation in text] == []


@pytest.mark.parametrize("situation", WHOLE)
@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - {"as_it_arrives"}))
def test_zipped_loose_or_deeper_is_the_same(ran: dict[str, Ran], situation: str, shape: str) -> None:
    """How an export is packed changes no session and no stage, only the file it is said to come from."""
    assert ran[shape].found(situation) == _expected(situation)["sessions"]
