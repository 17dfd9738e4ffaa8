"""What came in, against the lake's own account of it."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from ingest._core.study import open_study
from ingest.lake.store import manifests, participants
from ingest.publish.reading import opened
from ingest.report.intake import Intake, intake
from ingest.report.pages.intake import intake_page
from ingest.report.pages.page import Notice, render
from ingest.report.quarantine import lines
from studies import land, make_study, rows, run

TODAY = date(2026, 7, 1)


def of(root: Path, first: date | None = None, last: date | None = None) -> Intake:
    study = open_study(root)
    with opened(study) as reader:
        return intake(study, reader, TODAY, first, last)


def test_exports_are_counted_as_the_manifests_hold_them(demo_done: Path) -> None:
    lake = open_study(demo_done).lake
    held = [each for pid in participants(lake) for each in manifests(lake, pid) if each.rows_hash is None]
    expected = Counter((each.source, datetime.fromisoformat(each.arrived_at).date(), each.status) for each in held)
    found = {(row["source"], row["day"], row["status"]): row["exports"] for row in of(demo_done).files.to_pylist()}
    assert found == expected


def test_refusals_are_those_of_the_quarantine(demo_done: Path) -> None:
    told = Counter((line.source, line.kind, line.reason) for line in lines(open_study(demo_done)))
    found = of(demo_done).refusals.to_pylist()
    assert {(row["source"], row["record_kind"], row["reason"]): row["rows_set_aside"] for row in found} == told
    details = {line.detail for line in lines(open_study(demo_done))}
    assert {row["what_to_do"] for row in found} <= details
    arrived = date.fromisoformat(str(rows(demo_done, "select max(cast(arrived_at as date)) from source_file")[0][0]))
    assert len(of(demo_done, last=arrived - timedelta(1)).refusals) == 0


def test_records_add_up(demo_done: Path) -> None:
    for row in of(demo_done).records.to_pylist():
        if row["read"] is not None:
            assert row["read"] == row["kept"] + row["duplicate"] + row["ignored"] + row["quarantined"]


def test_weeks_hold_every_date_of_coverage(demo_done: Path) -> None:
    found = of(demo_done).coverage
    sql = """select participant_id, date - cast(extract(isodow from date) as integer) + 1, count(*),
                    count(*) filter (has_sleep), count(*) filter (has_log), count(*) filter (has_diary)
             from coverage group by all"""
    assert sorted(tuple(row.values()) for row in found.to_pylist()) == sorted(rows(demo_done, sql))


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a column that nobody named, a substance and a unit that nobody knows."""
    root = make_study(tmp_path_factory.mktemp("strange") / "study")
    land(root, "K01/own.csv", "substance,taken_at,amount,unit,mood\nkratom,2026-06-01T21:00,3,g,ok\n"
         "Bluberblu,2026-06-02T21:00,1,g,ok\nkratom,2026-06-03T21:00,2,thimble,ok\n")  # fmt: skip
    run(root)
    return root


def test_what_is_not_understood_is_listed(strange: Path) -> None:
    found = of(strange)
    assert [(row["substance"], row["uses"]) for row in found.substances.to_pylist()] == [("bluberblu", 1)]
    names = ("substance", "unit_reported", "amount_basis", "uses")
    assert [tuple(row[name] for name in names) for row in found.units.to_pylist()] == [
        ("kratom", "thimble", "unknown_unit", 1)
    ]
    assert found.columns.to_pylist() == [{"source": "csv_log", "exports": 1, "columns": 1}]
    assert len(of(strange, first=date(2026, 6, 4), last=date(2026, 6, 9)).units) == 0


def test_who_is_silent_has_given_nothing_for_long(strange: Path) -> None:
    (row,) = of(strange).silent.to_pylist()
    assert (row["last_on"], row["days"]) == (date(2026, 6, 3), 28)


def test_a_decoder_that_changed_is_seen(strange: Path) -> None:
    study = open_study(strange)
    with opened(study) as reader:
        page = intake_page(study, reader, TODAY)
        found = intake(study, reader, TODAY)
    (notice,) = [part for part in page.sections[0].parts if isinstance(part, Notice)]
    assert notice.title == "To do"
    assert not any("decoder" in line for line in notice.lines)
    assert [row["decoder_version"] == row["installed_version"] for row in found.decoders.to_pylist()] == [True]
    assert b"thimble" in render(page)
