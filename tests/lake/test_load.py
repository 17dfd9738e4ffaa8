"""Exports that grow, change, move, repeat, belong to somebody else, and runs that are cut off."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest._core.study import open_study
from ingest.arrive.arrivals import Arrivals
from ingest.arrive.landing import LandedFile
from ingest.lake import load
from ingest.lake.plan import plan
from ingest.lake.store import manifests
from ingest.mart.rebuild import stale
from ingest.pipeline import Run
from ingest.report.verify import verify
from studies import (
    arguments,
    as_json,
    change_settings,
    check_counts,
    command,
    files,
    fitbit_nights,
    land,
    make_study,
    pid,
    quarantine,
    rows,
    run,
    silent,
    told,
    warehouse,
)
from tries import SOAK

MARCH, APRIL = datetime(2026, 3, 1, 23), datetime(2026, 4, 1, 23)
EARLY, LATE = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)
LOG_HEADER = "participant_ref,substance,taken_at,amount,unit,product_form,route,reason\n"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study", refs=("K01", "K02"))


def _night_count(root: Path) -> int:
    return int(rows(root, "select count(*) from night")[0][0])


def _held(root: Path, ref: str = "K01") -> list[str]:
    return [each.source_file_id for each in manifests(root / "lake", pid(root, ref))]


@pytest.mark.fault(55)
def test_a_second_run_changes_no_byte(study: Path) -> None:
    land(study, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3)))
    run(study)
    before, when = files(study / "lake"), (study / "warehouse.duckdb").stat().st_mtime_ns
    again = run(study)
    assert (again.loaded.counts()["exports"], again.rebuilt.participants, again.published.published) == (0, [], [])
    assert files(study / "lake") == before
    assert (study / "warehouse.duckdb").stat().st_mtime_ns == when


def test_a_grown_folder_replaces_its_export(study: Path) -> None:
    land(study, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3)), EARLY)
    run(study)
    (first,) = _held(study)
    land(study, "K01/sleep-2026-04-01.json", as_json(fitbit_nights(APRIL, 2, 2000)), LATE)
    run(study)
    (second,) = _held(study)
    assert second != first
    assert _night_count(study) == 5
    assert rows(study, "select count(*) from sleep_session where not is_current") == [(0,)]
    assert rows(study, "select source_file_id from source_file") == [(second,)]


def test_a_run_that_ended_before_it_retired_the_old_export_is_made_good(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(study, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3)), EARLY)
    run(study)
    (first,) = _held(study)
    land(study, "K01/sleep-2026-04-01.json", as_json(fitbit_nights(APRIL, 2, 2000)), LATE)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "retire_replaced", killed)
    with pytest.raises(KeyboardInterrupt):
        run(study)
    monkeypatch.undo()
    assert first in _held(study)
    assert len(_held(study)) == 2
    run(study)
    (second,) = _held(study)
    assert second != first
    assert rows(study, "select source_file_id from source_file") == [(second,)]
    assert _night_count(study) == 5


def test_a_changed_file_keeps_the_old_version(study: Path) -> None:
    logs = fitbit_nights(MARCH, 3)
    land(study, "K01/sleep-2026-03-01.json", as_json(logs), EARLY)
    run(study)
    logs[1]["minutesAsleep"] -= 7
    land(study, "K01/sleep-2026-03-01.json", as_json(logs), LATE)
    run(study)
    assert len(_held(study)) == 2
    versions = rows(study, "select vendor_tst_min, is_current, superseded_reason from sleep_session "
                    "where source_record_id = '1001' order by is_current")  # fmt: skip
    asleep = logs[1]["minutesAsleep"]
    assert versions == [(asleep + 7, False, "newer_export"), (asleep, True, None)]
    assert _night_count(study) == 3
    assert rows(study, "select count(*) from sleep_session where is_current") == [(3,)]


def test_a_moved_file_is_nothing_new(study: Path) -> None:
    land(study, "K01/a/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3)))
    run(study)
    before = files(study / "lake")
    (study / "landing" / "K01" / "a").rename(study / "landing" / "K01" / "b")
    assert run(study).loaded.counts()["exports"] == 0
    assert files(study / "lake") == before


def _same_bytes_twice(root: Path) -> Run:
    data = as_json(fitbit_nights(MARCH, 3))
    land(root, "K01/sleep-2026-03-01.json", data)
    run(root)
    land(root, "K02/sleep-2026-03-01.json", data)
    return run(root)


@pytest.mark.fault(62)
def test_the_same_bytes_under_two_participants_are_held_back(study: Path) -> None:
    _same_bytes_twice(study)
    (line,) = quarantine(study)
    assert (line.reason, line.participant_id) == ("misfiled", pid(study, "K02"))
    assert rows(study, "select participant_id, count(*) from night group by 1") == [(pid(study), 3)]
    check_counts(study)


def test_a_shared_file_that_the_study_allows_is_loaded_for_both(study: Path) -> None:
    _same_bytes_twice(study)
    change_settings(study, allow_shared=_held(study))
    run(study)
    assert quarantine(study) == []
    assert sorted(rows(study, "select participant_id, count(*) from night group by 1")) == sorted(
        [(pid(study), 3), (pid(study, "K02"), 3)]
    )


@pytest.mark.fault(16)
def test_a_file_that_is_still_being_written_waits(study: Path) -> None:
    change_settings(study, quiet_seconds=3600)
    path = land(study, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3)))
    waiting = run(study)
    assert (waiting.unsettled, waiting.present, waiting.loaded.counts()["exports"]) == (1, 0, 0)
    os.utime(path, (time.time() - 3601, time.time() - 3601))
    settled = run(study)
    assert (settled.unsettled, settled.present, settled.loaded.counts()["kept"]) == (0, 1, 3)


@pytest.mark.fault(17)
def test_a_file_that_changes_while_it_is_read_waits(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = land(study, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3)))
    hashed = Arrivals.sha256

    def written_meanwhile(store: Arrivals, file: LandedFile) -> str:
        with path.open("ab") as stream:
            stream.write(b" ")
        return hashed(store, file)

    monkeypatch.setattr(Arrivals, "sha256", written_meanwhile)
    meanwhile = run(study)
    assert (meanwhile.unsettled, meanwhile.loaded.counts()["exports"]) == (1, 0)
    monkeypatch.undo()
    assert run(study).loaded.counts()["kept"] == 3


@pytest.mark.fault(17, 18)
def test_what_changed_after_the_plan_is_left_for_the_next_run(study: Path) -> None:
    from ingest.lake.load import load_batch

    path = land(study, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3)))
    opened = open_study(study)
    tokens = [each.token for each in plan(opened).wanted]
    path.write_bytes(as_json(fitbit_nights(MARCH, 4)))
    late = load_batch(opened, tokens)
    assert (late.gone, late.counts()["exports"]) == (1, 0)
    assert run(study).loaded.counts()["kept"] == 4


@pytest.mark.fault(39)
def test_links_and_pipes_are_never_opened(study: Path, tmp_path: Path) -> None:
    """A pipe without a writer would hold the run for ever; a link could lead anywhere."""
    outside = tmp_path / "sleep-2026-03-01.json"
    outside.write_bytes(as_json(fitbit_nights(MARCH, 3)))
    folder = study / "landing" / "K01"
    folder.mkdir()
    (folder / "sleep-2026-03-01.json").symlink_to(outside)
    (study / "landing" / "K02").symlink_to(tmp_path)
    os.mkfifo(folder / "sleep-2026-04-01.json")
    done = command("--study", study, "run")
    assert done.returncode == 0
    assert "3 links, pipes, files closed to us or with names not in UTF-8, left alone" in done.stdout
    assert rows(study, "select count(*) from sleep_session") == [(0,)]


def _log(*uses: tuple[str, str]) -> str:
    return LOG_HEADER + "".join(f"{ref},kratom,{at},2,g,powder,oral,\n" for ref, at in uses)


def test_a_study_wide_log_touches_only_whose_rows_changed(study: Path) -> None:
    one, two = ("K01", "2026-03-01T21:00"), ("K02", "2026-03-01T22:00")
    land(study, "_logs/log-1.csv", _log(one, two), EARLY)
    run(study)
    found = rows(study, "select participant_id, count(*) from substance_use group by 1 order by 1")
    assert found == sorted([(pid(study), 1), (pid(study, "K02"), 1)])
    before = files(study / "lake")
    land(study, "_logs/log-2.csv", _log(one, two, ("K02", "2026-03-02T22:00")), LATE)
    again = run(study)
    assert set(again.rebuilt.participants) - {"_study"} == {pid(study, "K02")}
    changed = {name for name, data in files(study / "lake").items() if before.get(name) != data}
    assert changed
    assert not [name for name in changed if pid(study) in name]
    check_counts(study)
    # 2 rows, then 3, of which the first participant's stood in the earlier log.
    assert rows(study, "select sum(records_read), sum(kept), sum(duplicate) from source_file") == [(5, 4, 1)]
    assert "K01" not in told(study)


def test_nobody_else_is_stale_when_one_export_changes(study: Path) -> None:
    for ref, log_id in (("K01", 1000), ("K02", 2000)):
        land(study, f"{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3, log_id)), EARLY)
    run(study)
    land(study, "K02/sleep-2026-04-01.json", as_json(fitbit_nights(APRIL, 1, 3000)), LATE)
    assert stale(open_study(study)) == []
    again = run(study)
    assert again.rebuilt.participants == [pid(study, "K02")]
    assert again.published.published == [pid(study, "K02")]


@pytest.fixture(scope="module")
def reference(demo_landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo study after one run that nothing disturbed, with a clock that stands still."""
    root = _keyed(demo_landed, tmp_path_factory.mktemp("reference") / "study")
    assert command("--study", root, "run", frozen=True).returncode == 0
    return root


def _keyed(landed: Path, root: Path) -> Path:
    shutil.copytree(landed, root)
    (root / "identity").mkdir(mode=0o700)
    (root / "identity" / "key").write_text("5a" * 32 + "\n")
    return root


@pytest.mark.fault(14)
def test_two_runs_at_once_end_in_the_same_bytes(reference: Path, fresh_demo: Callable[[str], Path]) -> None:
    root = fresh_demo("both")
    line = arguments("--study", root, "run", frozen=True)
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in both]
    # One may find the warehouse busy, which is no fault: it says so and the next run goes on.
    assert all(code in (0, 4) and "Traceback" not in text for text, code in ends), ends
    assert command("--study", root, "run", frozen=True).returncode == 0
    assert files(root / "lake") == files(reference / "lake")
    assert warehouse(root) == warehouse(reference)
    assert verify(open_study(root)) == []


@pytest.mark.fault(2)
def test_killed_at_any_moment_the_next_run_goes_on(reference: Path, fresh_demo: Callable[[str], Path]) -> None:
    root, moments = fresh_demo("killed"), random.Random(20260301)
    line = arguments("--study", root, "run", frozen=True)
    killed = 0
    for _ in range(30 if SOAK else 6):
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Importing alone takes a good half of a second; the work of the small study about one.
        try:
            process.wait(timeout=moments.uniform(0.5, 1.6))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
        if process.returncode == 0:
            shutil.rmtree(root / "lake")
            (root / "warehouse.duckdb").unlink()
    assert killed >= 2
    assert command("--study", root, "run", frozen=True).returncode == 0
    assert files(root / "lake") == files(reference / "lake")
    assert warehouse(root) == warehouse(reference)
    assert verify(open_study(root)) == []


def test_a_run_says_what_it_does(study: Path) -> None:
    """The progress bars get a step for every piece."""
    from ingest import pipeline

    land(study, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3)))
    titles = []

    def noting(title: str, total: int) -> object:
        titles.append((title, total))
        return silent(title, total)

    pipeline.run(open_study(study), noting)  # type: ignore[arg-type]
    assert titles == [("looking at landing", 0), ("decoding exports", 1), ("building nights", 2), ("publishing", 0)]
