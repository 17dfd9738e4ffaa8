"""Ids and dates that a release shows in place of the warehouse's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import Package

from ingest._core import contract
from ingest._core.errors import WrongUse
from ingest._core.study import Study, open_study
from ingest.report._release_disguise import Disguise
from ingest.report.release import release
from studies import files


@pytest.fixture(scope="module")
def study(demo_done: Path) -> Study:
    return open_study(demo_done)


def showing(study: Study, **how: str) -> Study:
    settings = study.settings.model_copy(update={"release": type(study.settings.release)(**how)})
    return replace(study, settings=settings)


def column(folder: Path, table: str, name: str) -> list[object]:
    return pq.read_table(folder / "parquet" / f"{table}.parquet")[name].to_pylist()  # type: ignore[no-any-return]


def test_ids_of_its_own_hold_within_a_release_and_not_beyond(study: Study, tmp_path: Path) -> None:
    own = showing(study, participant_ids="release")
    first, second = (release(own, name, to=tmp_path) for name in ("a", "b"))
    plain = release(study, "plain", to=tmp_path)
    shown = [set(column(each.folder, "night", "participant_id")) for each in (plain, first, second)]
    assert [len(each) for each in shown] == [len(shown[0])] * 3
    assert not shown[0] & shown[1]
    assert not shown[1] & shown[2]
    text = b"".join(data for name, data in files(first.folder).items() if name.startswith("csv/"))
    sessions = set(column(plain.folder, "night", "main_session_id"))
    assert [each for each in [*shown[0], *sessions] if str(each).encode() in text] == []
    assert column(first.folder, "night", "participant_id") == sorted(column(first.folder, "night", "participant_id"))
    assert Package(str(first.folder / "datapackage.json")).validate().valid
    assert first.rows == plain.rows
    assert not release(own, "c", "night", tmp_path).stood
    assert release(own, "a", to=tmp_path).stood


def test_shifted_dates_keep_weekdays_and_distances(study: Study, tmp_path: Path) -> None:
    plain = release(study, "plain", to=tmp_path)
    moved = release(showing(study, dates="shifted"), "moved", to=tmp_path)
    shifts: dict[object, set[int]] = {}
    for table, name in (("night", "night_date"), ("night_exposure", "night_date"), ("coverage", "date"),
                        ("participant", "enrolled_on"), ("insomnia_week", "block_start")):  # fmt: skip
        ids, here, there = (column(plain.folder, table, "participant_id"), column(plain.folder, table, name),
                            column(moved.folder, table, name))  # fmt: skip
        assert column(moved.folder, table, "participant_id") == ids
        for pid, a, b in zip(ids, here, there, strict=True):
            assert isinstance(a, date)
            assert isinstance(b, date)
            shifts.setdefault(pid, set()).add((b - a).days)
    assert len(shifts) == 5
    assert all(len(each) == 1 for each in shifts.values())
    days = [each.pop() for each in shifts.values()]
    assert all(each % 7 == 0 and 7 <= abs(each) <= 182 for each in days)
    assert len(set(days)) > 1
    assert column(moved.folder, "night", "study_day") == column(plain.folder, "night", "study_day")
    for path in (moved.folder / "parquet").iterdir():
        schema = pq.read_schema(path)
        assert [field.name for field in schema if pa.types.is_timestamp(field.type) and field.type.tz] == []
        assert "utc_offset_min" not in schema.names
    assert Package(str(moved.folder / "datapackage.json")).validate().valid


def test_tables_told_apart_by_instants_are_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="sleep_stage is told apart by instants"):
        release(showing(study, dates="shifted"), "a", "night,sleep_stage", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_night_over_a_clock_change_does_not_tell(study: Study) -> None:
    # Oslo, 2026-03-29: at 02:00 the clocks went to 03:00. Eight hours lie between the instants, nine on the clocks.
    onset, wake = datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 3, 29, 6, tzinfo=UTC)
    row = {
        "participant_id": "p1", "night_date": date(2026, 3, 28), "onset_utc": onset, "final_wake_utc": wake,
        "onset_local": datetime(2026, 3, 28, 23), "final_wake_local": datetime(2026, 3, 29, 8),
        "flags": "dst_tail_removed,merged",
    }  # fmt: skip
    fields = [field for field in contract.fields("night_wide", "publish") if field["name"] in row]
    rows = pa.Table.from_pylist([row, {**row, "flags": "dst_tail_removed", "onset_utc": None, "onset_local": None}],
                                schema=contract.arrow_schema_of(fields))  # fmt: skip
    disguise = Disguise(showing(study, dates="shifted"), "a", ["p1"])
    first, second = disguise.apply("night_wide", fields, rows).to_pylist()
    shift = first["night_date"] - date(2026, 3, 28)
    assert first["onset_local"] == datetime(2026, 3, 28, 23) + shift
    assert first["final_wake_local"] - first["onset_local"] == timedelta(hours=8)
    assert (first["flags"], second["flags"]) == ("merged", None)
    assert (second["onset_local"], second["final_wake_local"]) == (None, datetime(2026, 3, 29, 8) + shift)


def test_every_id_and_hash_is_replaced(study: Study) -> None:
    disguise = Disguise(showing(study, participant_ids="release"), "a", ["p1"])
    told = 0
    for table in (name for name in contract.published_tables() if name != "ops_run"):  # about nobody, in no release
        fields = [field for field in contract.fields(table, "publish") if field["type"] == "string"]
        row = {field["name"]: "p1" if field["name"] == "participant_id" else "x" for field in fields}
        rows = pa.Table.from_pylist([row], schema=contract.arrow_schema_of(fields))
        (found,) = disguise.apply(table, fields, rows).to_pylist()
        ids = {name for name in found if name.endswith(("_id", "_hash"))}
        assert {name for name in found if found[name] != row[name]} == ids
        told += len(ids)
    assert told > 20
