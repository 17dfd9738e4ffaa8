"""ops/ and table ops_run: every run stands there, whatever became of it, and nobody's name."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest import pipeline
from ingest._core import clock
from ingest._core.errors import Transient
from ingest._core.study import open_study
from ingest.publish import warehouse as publishing
from ingest.publish.ops import record_load, recorded, runs
from ingest.publish.reading import opened
from ingest.publish.run_ids import new_id
from ingest.publish.warehouse import publish_study
from publish.test_postgres import on
from studies import as_json, change_settings, files, fitbit_nights, land, make_study, pid, rows, run, silent

START = datetime(2026, 3, 1, 23)
COUNTS = ("kind, outcome, exports_loaded, exports_partial, exports_refused, records_read, records_kept,"
          " participants_rebuilt, nights_rebuilt, participants_published, silent_participants")  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Path:
    root = make_study(tmp_path / "study", refs=("K01", "Zebrowski"))
    land(root, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(START, 5)))
    land(root, "K01/bad/sleep-2026-03-02.json", b'[{"logId": ')
    return root


def table(root: Path, columns: str = COUNTS) -> list[tuple[object, ...]]:
    return rows(root, f"select {columns} from ops_run order by run_id")


def test_a_run_has_a_row_with_what_it_did(study: Path) -> None:
    run(study)
    # The nights are long ago, and of Zebrowski nothing came: both are silent. Each of the two has marts.
    assert table(study) == [("run", "ended", 1, 0, 1, 5, 5, 2, 5, 2, 2)]
    (times,) = table(study, "run_id, started_at, ended_at, unpublished_count, oldest_unpublished_at, error")
    assert times[1] <= times[2]
    assert times[3:] == (0, None, None)
    assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", str(times[0]))


def test_a_file_that_waits_is_in_the_row(study: Path) -> None:
    change_settings(study, quiet_seconds=3600)
    old = datetime(2026, 4, 1, tzinfo=UTC)
    for path in (study / "landing").rglob("*.json"):
        os.utime(path, (old.timestamp(), old.timestamp()))
    late = land(study, "Zebrowski/sleep-2026-03-01.json", as_json(fitbit_nights(START, 1)))
    run(study)
    ((count, oldest),) = table(study, "unpublished_count, oldest_unpublished_at")
    assert (count, oldest) == (1, datetime.fromtimestamp(late.stat().st_ctime_ns // 1000 / 1e6, UTC))


def test_runs_without_work_leave_one_record_and_do_not_publish(study: Path) -> None:
    run(study)
    before = files(study)
    found = []
    for _ in range(3):
        run(study)
        found.append([(each.kind, each.idle) for each in runs(open_study(study))])
    assert found == [[("run", False), ("run", True)]] * 3
    after = files(study)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {"audit/audit.jsonl", *(name for name in after if name.endswith(".idle.json"))}


def test_what_fails_is_told_by_its_kind_and_goes_out_with_the_next_publication(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Transient("Zebrowski's disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_check_marts", full)
        with pytest.raises(Transient):
            run(study)
    run(study)
    assert table(study, "kind, outcome, error, exports_loaded, participants_published") == [
        ("run", "failed", "Transient", 1, 0), ("run", "ended", None, 0, 2),
    ]  # fmt: skip
    assert "Zebrowski" not in "".join(path.read_text() for path in (study / "ops").iterdir())


def test_what_is_killed_or_runs_beside_is_unfinished(study: Path) -> None:
    opened_study = open_study(study)
    with recorded(opened_study, "associate"):
        run(study)
    assert table(study, "kind, outcome, ended_at")[0] == ("associate", "unfinished", None)
    assert [(each.kind, each.outcome) for each in runs(opened_study)][1] == ("run", "ended")


def test_what_airflows_batches_did_is_one_row(study: Path) -> None:
    opened_study = open_study(study)
    began = clock.now()
    record_load(
        opened_study, began, {"exports": 3, "loaded": 2, "refused": 1, "read": 9, "kept": 7, "ignored_records": 2}
    )
    publish_study(opened_study)
    found = table(study, "kind, exports_loaded, exports_refused, records_read, records_kept, records_ignored")
    assert found == [("load", 2, 1, 9, 7, 2), ("publish", 0, 0, 0, 0, 0)]
    assert table(study, "started_at")[0] == (began,)


def test_the_number_of_records_is_bounded_and_the_oldest_go(study: Path) -> None:
    change_settings(study, monitor={"keep_runs": 10})
    opened_study = open_study(study)
    for _ in range(12):
        record_load(opened_study, clock.now(), {"loaded": 1})
    run(study)
    kept = runs(opened_study)
    assert len(kept) == 10
    assert kept[-1].kind == "run"


def test_a_damaged_record_is_left_out_with_a_warning(study: Path, caplog: pytest.LogCaptureFixture) -> None:
    (study / "ops").mkdir()
    (study / "ops" / f"{'0' * 26}.json").write_text('{"run_id": ')
    run(study)
    assert table(study, "kind") == [("run",)]
    assert "is damaged and left out" in caplog.text


def test_ids_sort_by_time() -> None:
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=n) for n in range(1000)]
    found = [new_id(at) for at in times]
    assert found == sorted(found)
    assert len({each[10:] for each in found}) == 1000
    # 2016-07-30T23:54:10.259Z, the example of the specification's first ten letters.
    assert new_id(datetime.fromtimestamp(1469922850.259, UTC))[:10] == "01ARZ3NDEK"


def test_both_engines_have_the_same_runs(study: Path, postgres: str) -> None:
    run(study)
    here = open_study(study)
    other = on(here, postgres)
    pipeline.refresh(other, silent)
    land(study, "Zebrowski/sleep-2026-03-01.json", as_json(fitbit_nights(START, 1)))
    pipeline.run(other, silent)
    pipeline.refresh(here, silent)
    columns = "run_id, started_at, kind, outcome, exports_loaded, nights_rebuilt, participants_published"
    found = []
    for each in (here, other):
        with opened(each) as reader:
            found.append(reader.rows(f"SELECT {columns} FROM ops_run ORDER BY run_id"))
    assert len(found[1]) == 3
    assert found[0][:-1] == found[1]
    assert found[1][2][2:] == ("run", "ended", 1, 1, 1)
    assert pid(study) not in str(found)
