"""Landing changes under a run's hands, and the clock is not what it was."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from faults.loops import PRESENT, Start
from faults.small import Forked, broken, copied, differences, ran, run_frozen
from ingest._core.errors import Terminal, WrongUse
from ingest._core.files import TMP_PREFIX, inside
from ingest._core.study import open_study
from studies import change_settings, land, make_study, rows, write_roster

LANDED = "K01/takeout.zip"


def _nights_of(root: Path) -> int:
    return int(rows(root, "select count(*) from night where source = 'fitbit'")[0][0])


def test_row_16_a_zip_half_copied_waits_until_it_is_whole(fresh: Start, tmp_path: Path) -> None:
    root = copied(fresh.root, tmp_path / "study")
    whole = (root / "landing" / LANDED).read_bytes()
    written = (root / "landing" / LANDED).stat().st_mtime
    change_settings(root, quiet_seconds=60)
    land(root, LANDED, whole[:200])
    ran(root, PRESENT)
    assert rows(root, "select count(*) from source_file where status = 'refused'") == [(1,)]
    assert _nights_of(root) == 2
    land(root, LANDED, whole)
    os.utime(root / "landing" / LANDED, (written, written))
    change_settings(root, quiet_seconds=0)
    ran(root, PRESENT)
    assert differences(root, fresh.wanted[PRESENT]) == []


@pytest.mark.parametrize("what", ["replaced", "gone"])
@pytest.mark.fault(17, 18)
def test_a_file_replaced_or_gone_while_it_is_read(fresh: Start, tmp_path: Path, what: str) -> None:
    """Done at the moment the run opens the file; a later run takes up what stands there then."""
    root = copied(fresh.root, tmp_path / "study")
    path = root / "landing" / LANDED
    whole, written = path.read_bytes(), path.stat().st_mtime

    def meddling() -> None:
        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and str(arguments[0]).endswith(LANDED) and not done:
                done.append(1)
                if what == "gone":
                    path.unlink()
                else:
                    path.with_name("new").write_bytes(whole[:-40])
                    path.with_name("new").rename(path)

        done: list[int] = []
        sys.addaudithook(hook)
        run_frozen(root, PRESENT)
        assert done

    process = Forked(meddling)
    assert process.wait() == 0, process.said
    assert broken(root) == []
    assert _nights_of(root) == 2
    path.write_bytes(whole)
    os.utime(path, (written, written))
    ran(root, PRESENT)
    assert differences(root, fresh.wanted[PRESENT]) == []


@pytest.mark.parametrize("shift", [timedelta(days=-400), timedelta(days=400)], ids=["set back", "set on"])
def test_row_20_run_again_by_another_clock(fresh: Start, tmp_path: Path, shift: timedelta) -> None:
    """Nothing is decoded, built or published anew because it is another day."""
    root = copied(fresh.root, tmp_path / "study")
    ran(root, PRESENT)
    ran(root, PRESENT + shift)
    assert differences(root, fresh.wanted[PRESENT]) == []


def test_row_13_uncommitted_files_are_swept_once_they_are_old(fresh: Start, tmp_path: Path) -> None:
    root = copied(fresh.root, tmp_path / "study")
    ran(root, PRESENT)
    part = next((root / "lake" / "sleep_session").rglob("*.parquet"))
    planted = [part.with_name("0" * 64 + "." + "1" * 16 + ".parquet"), part.with_name(f"{TMP_PREFIX}x"),
               root / "identity" / f"{TMP_PREFIX}y",
               root / "ops" / f"{TMP_PREFIX}z", part.with_name(part.name.replace(".", ".0", 1))]  # fmt: skip
    for path in planted:
        path.write_bytes(part.read_bytes())
    ran(root, PRESENT)
    assert [path.exists() for path in planted] == [True] * 5
    assert part.exists()
    hours_ago = (PRESENT - timedelta(hours=2)).timestamp()
    for path in planted:
        os.utime(path, (hours_ago, hours_ago))
    os.utime(part, (hours_ago, hours_ago))
    ran(root, PRESENT)
    assert [path.exists() for path in planted] == [False] * 5
    assert differences(root, fresh.wanted[PRESENT]) == []


@pytest.mark.parametrize("name", ["a b", "CON", "..x", "ä", "x" * 200, "-rf", "%2e%2e", "a'b", "\u202ex"])
def test_row_40_a_folder_may_be_called_anything_and_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    root = make_study(tmp_path / "study", refs=("K01",))
    for parts in ((name,), (name, "x"), ("..", name)):
        try:
            assert inside(root, *parts).resolve().is_relative_to(root.resolve())
        except Terminal:
            assert ".." in parts
    write_roster(root, {name: "Europe/Oslo"})
    try:
        study = open_study(root)
    except WrongUse:
        return
    for ref in study.roster.entries:
        assert ref.isascii()
        assert inside(study.landing, ref).parent == study.landing
