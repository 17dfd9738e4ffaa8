"""What a study expects of itself, and what is said when it is not met."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest._core import clock
from ingest._core.study import open_study
from ingest.report.status import expectations
from studies import as_json, change_settings, files, fitbit_nights, land, make_study, pid, run

NIGHTS = 10
LAST = datetime(2026, 3, 10, tzinfo=UTC)  # date of the last night
NOW = datetime(2026, 3, 11, 9, tzinfo=UTC)
ROSTER = (
    "participant_ref,time_zone,enrolled_on,withdrew_on\n"
    "K01,UTC,2026-03-01,\nK02,UTC,2026-03-09,\nK03,UTC,2026-01-01,2026-03-05\nK04,UTC,2026-12-01,\n"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_study(tmp_path_factory.mktemp("watched") / "study", "UTC")
    (root / "roster.csv").write_text(ROSTER)
    land(root, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), NIGHTS)), NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: NOW)
        run(root)
    return root


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    # The inode's change time tells when a file was put there; the copy's is the machine's present.
    return shutil.copytree(made, tmp_path / "study")


def broken(root: Path, at: datetime) -> dict[str, int]:
    return {each.expectation: each.count for each in expectations(open_study(root), at)}


def test_all_is_well_on_the_day_after(made: Path) -> None:
    before = files(made)
    assert expectations(open_study(made), NOW) == []
    assert files(made) == before


def test_silence_counts_from_the_last_night_or_from_enrolment(made: Path) -> None:
    study = open_study(made)
    found = [{each.expectation: each for each in expectations(study, LAST + timedelta(days=days))}.get(
        "silent_participants") for days in (13, 14, 15)]  # fmt: skip
    # K02 is in the study since the 9th and never handed in; K03 has withdrawn, K04 comes later.
    assert [each and each.participant_ids for each in found] == [
        None, (pid(made, "K02"),), tuple(sorted((pid(made, "K01"), pid(made, "K02"))))]  # fmt: skip


def test_no_arrivals_after_a_week(made: Path) -> None:
    assert "no_arrivals" not in broken(made, NOW + timedelta(days=6, hours=23))
    assert broken(made, NOW + timedelta(days=7))["no_arrivals"] == 7


def test_refused_exports_are_measured_against_all_of_the_last_days(study: Path, monkeypatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    land(study, "K01/bad/sleep-2026-03-02.json", b'[{"logId": ', NOW)
    run(study)
    assert broken(study, NOW + timedelta(days=1)) == {"many_refused": 1}
    assert broken(study, NOW + timedelta(days=6, hours=23)) == {"many_refused": 1}
    assert "many_refused" not in broken(study, NOW + timedelta(days=8))
    change_settings(study, monitor={"refused_max_pct": 50})
    assert broken(study, NOW + timedelta(days=1)) == {}


def test_nights_are_measured_against_the_dates_of_everybody_in_the_study(study: Path) -> None:
    at = datetime(2026, 3, 13, 9, tzinfo=UTC)
    assert "few_nights" not in broken(study, at)
    # The 6th to the 12th: 7 dates of K01, 4 of K02 (since the 9th); K01 has the 5 nights from the 6th to the 10th.
    for least, found in ((45, None), (46, 11 - 5)):
        change_settings(study, monitor={"nights_min_pct": least})
        assert broken(study, at).get("few_nights") == found


def test_a_file_that_lies_unpublished_for_a_day(study: Path) -> None:
    put = land(study, "K02/sleep-2026-03-09.json", as_json(fitbit_nights(datetime(2026, 3, 9, 23), 1)))
    at = datetime.fromtimestamp(put.lstat().st_ctime, UTC)
    change_settings(study, monitor={"silent_after_days": None, "no_arrivals_days": None})
    # The copied file is another inode, which no look at landing has seen: it waits, too.
    assert broken(study, at + timedelta(hours=23)) == {}
    assert broken(study, at + timedelta(hours=25)) == {"unpublished": 2}
    run(study)
    assert broken(study, at + timedelta(hours=25)) == {}
    (study / "warehouse.duckdb").unlink()
    later = datetime.now(UTC) + timedelta(hours=25)
    assert broken(study, later) == {"unpublished": 2}


def test_what_waits_for_the_roster_is_unpublished(study: Path) -> None:
    change_settings(study, monitor={"silent_after_days": None, "no_arrivals_days": None})
    run(study)
    (study / "roster.csv").write_text(ROSTER.replace("K02,UTC", "K02,Nowhere/Else"))
    land(study, "K02/sleep-2026-03-09.json", as_json(fitbit_nights(datetime(2026, 3, 9, 23), 1)))
    run(study)
    assert broken(study, datetime.now(UTC) + timedelta(hours=25)) == {"unpublished": 1}


def test_records_that_do_not_add_up_are_told(study: Path) -> None:
    (path,) = (study / "lake" / "_manifest").rglob("*.json")
    text = path.read_text()
    assert f'"kept":{NIGHTS}' in text
    path.write_text(text.replace(f'"kept":{NIGHTS}', f'"kept":{NIGHTS - 1}'))
    assert broken(study, NOW)["not_reconciled"] == 1


def test_a_warehouse_that_cannot_be_read_is_told_without_its_address(study: Path) -> None:
    (study / "warehouse.duckdb").write_bytes(b"canary" * 2000)
    found = [each for each in expectations(open_study(study), NOW) if each.expectation == "warehouse_unreachable"]
    assert [each.count for each in found] == [1]
    assert "canary" not in found[0].text


def test_null_asks_for_nothing(study: Path) -> None:
    nothing = dict.fromkeys(("silent_after_days", "no_arrivals_days", "unpublished_after_hours", "refused_max_pct"))
    change_settings(study, monitor=nothing)
    land(study, "K02/sleep-2026-03-09.json", b"[")
    assert broken(study, datetime.now(UTC) + timedelta(days=400)) == {}
