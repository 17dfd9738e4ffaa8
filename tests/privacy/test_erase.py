"""An erasure: no byte of a participant stays in any store but landing, which is never touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest._core.errors import WrongUse
from ingest._core.study import open_study
from ingest.erase import erase
from ingest.report.verify import verify
from studies import files, pid, rows, run

RECORD_IDS = {"sleep_session": "session_id", "substance_use": "use_id", "sleep_diary": "diary_id",
              "scale_response": "response_id"}  # fmt: skip


def stores(root: Path) -> dict[str, bytes]:
    """Every file of a study but those of landing, temporary ones too."""
    found = [path for path in root.rglob("*") if path.is_file() and root / "landing" not in path.parents]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def naming(root: Path, words: set[str]) -> list[str]:
    """Files whose name or bytes hold one of the words."""
    return sorted({name for name, data in stores(root).items() for word in words
                   if word in name or word.encode() in data})  # fmt: skip


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
