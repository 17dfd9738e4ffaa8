"""A sleep diary's whole way: from a mapping in study.yaml to the warehouse."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from decode.log.diary_cases import HEADER, line, mapping, only
from studies import as_json, check_counts, fitbit_nights, land, make_study, pid, quarantine, rows, run, told

EARLY, LATE = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)
SHARED = mapping(participant="who")
USES = "substance,taken_at,amount,unit\nkratom,2026-03-01T20:00,2,g\nkratom,2026-03-01T23:30,1,g\n"


def study_with(root: Path, *logs: dict[str, Any]) -> Path:
    return make_study(root / "study", logs=logs, refs=("K01", "K02"))


def diary(*lines: str, header: str = HEADER) -> str:
    return "".join(f"{each}\n" for each in (header, *lines))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return study_with(tmp_path, mapping())


def test_diary_and_device_stand_side_by_side(study: Path) -> None:
    land(study, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23, 40), 2)))
    land(study, "K01/doses.csv", USES)
    land(study, "K01/diary.csv", diary(line(), only("2026-03-04", quality="fair"), line("2026-03-05", sol_min="-1")))
    run(study)
    check_counts(study)
    assert rows(study, "select night_date, into_bed_local, try_to_sleep_local, sol_min, awakenings, quality, "
                "instrument, is_current, source_row from sleep_diary order by 1") == [
        (date(2026, 3, 1), datetime(2026, 3, 1, 23), datetime(2026, 3, 1, 23, 20), 15, 2, 4, "diary", True, 1),
        (date(2026, 3, 3), None, None, None, None, 3, "diary", True, 2),
    ]  # fmt: skip
    assert rows(study, "select night_date, tib_min, tst_min, waso_min, round(se_dse_pct, 6) from night_diary "
                "order by 1") == [(date(2026, 3, 1), 490, 405, 30, 90.0), (date(2026, 3, 3), *[None] * 4)]  # fmt: skip
    assert rows(study, "select night_date, sol_min, tst_min = 405 from night order by 1") == [
        (date(2026, 3, 1), None, False), (date(2026, 3, 2), None, False),
    ]  # fmt: skip
    assert rows(study, "select date, has_sleep, has_log, has_diary from coverage where date < '2026-03-05' "
                f"and participant_id = '{pid(study)}' order by 1") == [
        (date(2026, 3, 1), True, True, True), (date(2026, 3, 2), True, False, False),
        (date(2026, 3, 3), False, False, True), (date(2026, 3, 4), False, False, False),
    ]  # fmt: skip
    # Of the two doses only the one of 20:00 lies before sleep was tried, at 23:20.
    assert rows(study, "select anchor, anchor_basis, anchor_utc, hours_since_last_dose is null from night_exposure "
                "where night_date = '2026-03-01' order by 1 desc")[0] == (
        "usual", "diary", datetime(2026, 3, 1, 22, 20, tzinfo=UTC), False)  # fmt: skip
    assert rows(study, "select dose_count_6h, amount_3h, anchor_basis from night_exposure where "
                "night_date = '2026-03-01' and anchor = 'onset'")[0][2] == "measured"  # fmt: skip
    (bad,) = quarantine(study)
    assert (bad.kind, bad.locator, bad.reason) == ("diary", "row 3, sol", "negative_minutes")


def test_an_edited_answer_counts_and_the_old_one_is_kept(study: Path) -> None:
    land(study, "K01/diary.csv", diary(line(), line("2026-03-03")), EARLY)
    run(study)
    land(study, "K01/diary.csv", diary(line(sol_min="40"), line("2026-03-03"), line("2026-03-04")), LATE)
    run(study)
    check_counts(study)
    assert rows(study, "select night_date, sol_min, is_current from sleep_diary order by all") == [
        (date(2026, 3, 1), 15, False), (date(2026, 3, 1), 40, True), (date(2026, 3, 2), 15, True),
        (date(2026, 3, 3), 15, True),
    ]  # fmt: skip
    assert rows(study, "select count(distinct diary_id) from sleep_diary") == [(3,)]
    assert rows(study, "select night_date, sol_min, tst_min from night_diary order by 1") == [
        (date(2026, 3, 1), 40, 380), (date(2026, 3, 2), 15, 405), (date(2026, 3, 3), 15, 405),
    ]  # fmt: skip


def test_a_record_that_moves_to_another_night_leaves_the_old_one(tmp_path: Path) -> None:
    study = study_with(tmp_path, mapping(record_id="id"))
    land(study, "K01/diary.csv", diary(f"7,{line()}", header=f"id,{HEADER}"), EARLY)
    run(study)
    land(study, "K01/diary.csv", diary(f"7,{line('2026-03-03')}", header=f"id,{HEADER}"), LATE)
    run(study)
    assert rows(study, "select night_date, is_current from sleep_diary order by 1") == [
        (date(2026, 3, 1), False), (date(2026, 3, 2), True),
    ]  # fmt: skip
    assert rows(study, "select night_date from night_diary") == [(date(2026, 3, 2),)]


def test_two_answers_for_one_night(study: Path) -> None:
    land(study, "K01/diary.csv", diary(line(), line(sol_min="40")))
    run(study)
    assert rows(study, "select sol_min, flags, is_current from sleep_diary order by 1") == [
        (15, "conflict", True), (40, "conflict", True),
    ]  # fmt: skip
    assert rows(study, "select sol_min, tst_min, tib_min, waso_min from night_diary") == [(None, None, 490, 30)]


def test_a_diary_of_the_whole_study_is_split_by_participant(tmp_path: Path) -> None:
    study = study_with(tmp_path, SHARED)
    lines = [f"K01,{line()}", f"K02,{line(sol_min='20')}", f"K02,{line('2026-03-03')}", f"Zebrowski,{line()}"]
    land(study, "_logs/diary.csv", diary(*lines, header=f"who,{HEADER}"), EARLY)
    run(study)
    check_counts(study)
    by_person = "select participant_id, night_date, sol_min from night_diary order by all"
    first, second = pid(study, "K01"), pid(study, "K02")
    assert rows(study, by_person) == sorted(
        [(first, date(2026, 3, 1), 15), (second, date(2026, 3, 1), 20), (second, date(2026, 3, 2), 15)]
    )
    assert [(bad.kind, bad.reason) for bad in quarantine(study)] == [("diary", "unknown_participant")]
    assert "Zebrowski" not in told(study)


def test_an_update_of_the_whole_studys_diary_touches_whom_it_changes(tmp_path: Path) -> None:
    study = study_with(tmp_path, SHARED)
    header = f"who,{HEADER}"
    land(study, "_logs/a.csv", diary(f"K01,{line()}", f"K02,{line()}", header=header), EARLY)
    run(study)
    land(study, "_logs/b.csv", diary(f"K01,{line()}", f"K02,{line(waso_min='31')}", header=header), LATE)
    again = run(study)
    assert set(again.rebuilt.participants) - {"_study"} == {pid(study, "K02")}
    assert rows(study, "select count(*) from sleep_diary where not is_current") == [(1,)]
