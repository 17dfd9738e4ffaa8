"""An erasure: no byte of a participant stays in any store but landing, which is never touched."""

from __future__ import annotations

import os
import re
import shutil
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import unpacked
from ingest._core.contract import LAKE, MART, tables
from ingest._core.errors import WrongUse
from ingest._core.pseudonyms import id_in_release, read_key
from ingest._core.study import open_study
from ingest.erase import erase, tables_of_participants
from ingest.lake.removal import remove_participant
from ingest.report.verify import verify
from studies import as_json, files, fitbit_nights, land, make_study, pid, rows, run

ONE, OTHER = "participant-one.7731", "participant-other.9102"
PACKED = (".duckdb", ".parquet")
SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"

RECORD_IDS = {"sleep_session": "session_id", "substance_use": "use_id", "sleep_diary": "diary_id",
              "scale_response": "response_id"}  # fmt: skip


def stores(root: Path) -> dict[str, bytes]:
    """Every file of a study but those of landing, temporary ones too."""
    found = [path for path in root.rglob("*") if path.is_file() and root / "landing" not in path.parents]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def naming(root: Path, words: set[str]) -> list[str]:
    """Files whose name or bytes hold one of the words; one so short that packed bytes hold it by chance is not looked
    for there.
    """
    return sorted({name for name, data in stores(root).items() for word in words
                   if word in name or (word.encode() in data and not (len(word) < 8 and name.endswith(PACKED)))
                   })  # fmt: skip


@pytest.mark.fault(65)
def test_no_byte_of_theirs_stays(demo_copy: Path) -> None:
    k01 = pid(demo_copy, "K01")
    ids = "select {} from {} where participant_id = '{}'"
    record_ids = {
        each for table, name in RECORD_IDS.items() for (each,) in rows(demo_copy, ids.format(name, table, k01))
    }
    (demo_copy / "README.md").unlink()  # it tells of the people the demo is made of
    assert len(record_ids) > 100
    words = {"K01", k01, *record_ids}
    assert {"roster.csv", "warehouse.duckdb", "identity/arrivals.sqlite", "identity/participants.csv"} <= {
        *naming(demo_copy, words)
    }
    landing = files(demo_copy / "landing")
    done = erase(open_study(demo_copy), "K01")
    assert naming(demo_copy, words) == []
    assert unpacked.naming(demo_copy, {k01, *sorted(record_ids)[:50]}, ("landing/",)) == {}
    assert files(demo_copy / "landing") == landing
    assert done.removed["warehouse"] == 1
    assert f"landing: {sum(name.startswith('K01/') for name in landing)} files" in done.remains[0]
    assert verify(open_study(demo_copy)) == []
    # Again, and run again over the same landing: nothing returns.
    assert not any(erase(open_study(demo_copy), k01).removed.values())
    run(demo_copy)
    assert naming(demo_copy, words) == []
    roster = demo_copy / "roster.csv"
    number = len(roster.read_text().splitlines()) + 1
    roster.write_text(roster.read_text() + "K01,Europe/Oslo\n")
    (problem,) = open_study(demo_copy).roster.problems
    assert problem.startswith(f"roster.csv line {number}: this participant was erased and is not taken in again")
    run(demo_copy)
    assert naming(demo_copy, words) == ["roster.csv"]


def test_nobody_unknown_is_erased(demo_done: Path) -> None:
    with pytest.raises(WrongUse, match=r"no such participant; roster.csv lists the refs"):
        erase(open_study(demo_done), "K99")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people with a few nights; K01 stands in every table a study keeps, and in a release and a report."""
    root = make_study(tmp_path_factory.mktemp("two") / "study", refs=(ONE, OTHER))
    for number, ref in enumerate((ONE, OTHER), start=1):
        land(root, f"{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 3, 1000 * number)))
    (root / "time_zones.csv").write_text(f"participant_ref,from_local,time_zone\n{ONE},2026-03-02T12:00,Asia/Tokyo\n")
    (root / "phases.csv").write_text(
        f"participant_ref,phase,start_on\n{OTHER},taper,2026-03-01\n{ONE},taper,2026-03-01\n"
    )
    (root / "consents.csv").write_text(f"participant_ref,scope\n{ONE},sleep\n")
    run(root)
    k01, k02 = pid(root, ONE), pid(root, OTHER)
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / f"{k01}.html").write_text("nights")
    (root / "reports" / "cohort.html").write_text(f"{k01} and {k02}")
    own = id_in_release(read_key(root / "identity" / "key"), "own-ids", k01)
    for name, ids in {"both": [k01, k02], "own-ids": [own], "other": [k02], "handed": [k01]}.items():
        folder = root / "releases" / name
        folder.mkdir(parents=True)
        (folder / "release.json").write_text("{}")
        pq.write_table(pa.table({"participant_id": ids}), folder / "night.parquet")
    (root / "releases" / "handed" / "handed-out.txt").write_text("to the funder\n")
    return root


def test_a_kill_at_any_point_and_a_second_call_end_as_one_without(two: Path, tmp_path: Path) -> None:
    k01 = pid(two, ONE)
    whole = _copy(two, tmp_path / "whole")
    done = erase(open_study(whole), ONE)
    assert done.removed == {"lake_files": done.removed["lake_files"], "reports": 2, "releases": 2, "warehouse": 1,
                            "table_rows": 4, "arrivals": 1}  # fmt: skip
    assert any(line.startswith("releases: 1 handed out") for line in done.remains)
    assert sorted(path.name for path in (whole / "releases").iterdir()) == ["handed", "other"]
    expected, deaths, nth = _comparable(whole), 0, 1
    handed_out = ["releases/handed/night.parquet"]
    assert naming(whole, {ONE, k01}) == handed_out
    while True:
        root = _copy(two, tmp_path / f"killed-{nth}")
        if _killed_at(nth, root) == 0:
            break
        deaths += 1
        if "roster.csv" not in naming(root, {ONE}):
            # The roster forgets them after the warehouse does: no row outlives what looks done.
            assert "warehouse.duckdb" not in naming(root, {k01})
        erase(open_study(root), ONE)
        assert naming(root, {ONE, k01}) == handed_out
        assert _comparable(root) == expected
        nth = nth + 1 if SOAK else nth * 3
    assert deaths > 3


def _copy(root: Path, to: Path) -> Path:
    shutil.copytree(root, to)
    return to


def _comparable(root: Path) -> dict[str, bytes]:
    """Bytes of the stores that say neither when they were written nor by which run; temporary files are swept later."""
    other = re.compile(r"^(ops/|audit/|warehouse)|\.(lock|sqlite)$|(^|/)\.tmp-")
    return {name: data for name, data in stores(root).items() if not other.search(name)}


def _killed_at(nth: int, root: Path) -> int:
    """Erase in a process that is killed before the nth time it renames, removes or unlinks; its exit code."""
    child = os.fork()
    if child == 0:
        seen = 0

        def watched(name: str) -> None:
            real = getattr(os, name)

            def call(*given: Any, **named: Any) -> Any:
                nonlocal seen
                seen += 1
                if seen == nth:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*given, **named)

            setattr(os, name, call)

        for name in ("replace", "unlink", "rmdir"):
            watched(name)
        erase(open_study(root), ONE)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_every_table_of_participants_is_looked_through(demo_done: Path) -> None:
    """Those of the warehouse as it stands, not of a list somebody keeps."""
    sql = "select table_name from duckdb_columns() join duckdb_tables() using (table_oid, table_name, internal)"
    there = rows(demo_done, f"{sql} where column_name = 'participant_id' and not internal")
    assert sorted(name for (name,) in there) == sorted(tables_of_participants())
    assert len(there) > 20


def test_every_folder_of_the_lake_is_emptied(demo_copy: Path) -> None:
    k02 = pid(demo_copy, "K02")
    before = [path for path in (demo_copy / "lake").glob("*/*") if k02 in path.name]
    assert {path.parent.name for path in before} == {*tables(LAKE), *tables(MART), "_manifest", "_mart"}
    remove_participant(demo_copy / "lake", k02)
    assert [path for path in (demo_copy / "lake").glob("*/*") if k02 in path.name] == []
