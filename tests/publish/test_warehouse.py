from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import date, timedelta

import duckdb
import pytest

from ingest._core import contract
from ingest._core.errors import Terminal, Transient
from ingest._core.files import TMP_PREFIX
from ingest._core.roster import RosterEntry
from ingest.lake.store import Manifest, commit, manifests, parquet_path, write_part
from ingest.publish.warehouse import publish
from publish.small_lake import (
    NOW,
    Content,
    arrow,
    expected,
    forget,
    in_child,
    people,
    put,
    put_state,
    study_at,
    warehouse_rows,
)

A, B, C = Content("pa"), Content("pb", nights=2), Content("pc", nights=4)
LATER = NOW + timedelta(days=1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    study = study_at(tmp_path_factory.mktemp("prepared"))
    put(study, A, B, C)
    publish(study, people(A, B, C), NOW)
    return study


@pytest.fixture
def published(prepared, tmp_path):
    shutil.copytree(prepared.root, tmp_path / "study")
    return study_at(tmp_path / "study")


@pytest.fixture
def study(published):
    published.warehouse.unlink()
    return published


def ask(study, sql):
    with duckdb.connect(str(study.warehouse), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def test_rows_are_those_of_lake_and_marts(study):
    seen = []
    done = publish(study, people(A, B, C), NOW, lambda *step: seen.append(step))
    rows = expected([A, B, C])
    assert warehouse_rows(study.warehouse) == rows
    assert done.rows == {name: len(found) for name, found in rows.items()}
    assert (done.published, done.removed, done.waiting, done.unchanged) == (["pa", "pb", "pc"], [], [], 0)
    assert done.warehouse_bytes == study.warehouse.stat().st_size
    assert done.rebuilt is None
    assert seen[-1] == (3, 3)


def test_example_has_superseded_versions_and_their_stages_stay_out(published):
    assert ask(published, "SELECT count(*) FROM sleep_session WHERE NOT is_current") == [(2 + 1 + 3,)]
    assert ask(published, "SELECT count(*) FROM sleep_stage") == [(3 * (3 + 2 + 4),)]


def test_rows_lie_in_the_order_of_participant_and_key(published):
    for table, wanted in expected([A, B, C]).items():
        key = [name for name in contract.primary_key(table) if name != "participant_id"]
        first = [] if table == "ops_run" else ["participant_id"]
        columns = ", ".join(f'"{name}"' for name in [*first, *key])
        rows = ask(published, f"SELECT {columns} FROM {table}")
        assert len(rows) == len(wanted), table
        assert rows == sorted(rows), table


def test_nothing_stale_writes_nothing(published):
    before = published.warehouse.read_bytes(), published.warehouse.stat()
    done = publish(published, people(A, B, C), LATER)
    after = published.warehouse.read_bytes(), published.warehouse.stat()
    assert before[0] == after[0]
    assert (before[1].st_mtime_ns, before[1].st_ino) == (after[1].st_mtime_ns, after[1].st_ino)
    assert (done.published, done.unchanged, done.rows) == ([], 3, {})


def test_only_the_changed_participant_is_replaced(published):
    revised = replace(B, nights=5, variant=1)
    put(published, revised)
    done = publish(published, people(A, revised, C), LATER)
    assert (done.published, done.unchanged) == (["pb"], 2)
    rows = expected([A, revised, C])
    rows["publication"][1]["published_at"] = LATER
    assert warehouse_rows(published.warehouse) == rows


def test_a_removed_participant_leaves_no_byte(published):
    traces = [b"pb", *(bytes(row["session_id"], "ascii") for row in B.lake_rows("new")["sleep_session"])]
    whole = published.warehouse.read_bytes()
    assert all(trace in whole for trace in traces)
    forget(published, B)
    done = publish(published, people(A, C), LATER)
    assert (done.removed, done.published, done.unchanged, done.rebuilt) == (["pb"], [], 2, None)
    assert warehouse_rows(published.warehouse) == expected([A, C])
    left = published.warehouse.read_bytes()
    assert [trace for trace in traces[1:] if trace in left] == []
    assert not list(published.root.glob(f"{TMP_PREFIX}*"))


def test_a_participant_who_left_the_lake_but_not_the_roster_keeps_the_roster_row(published):
    forget(published, B)
    done = publish(published, people(A, B, C), LATER)
    assert (done.removed, done.published) == (["pb"], ["pb"])
    rows = expected([A, B, C])
    for name in rows:
        if name != "participant":
            rows[name] = [row for row in rows[name] if row["participant_id"] != "pb"]
    rows["participant"][1] |= {"censor_on": None, "censor_reason": None}
    assert warehouse_rows(published.warehouse) == rows
    assert publish(published, people(A, B, C), LATER).published == []


def test_a_roster_row_outlives_the_marts_it_was_published_with(published):
    roster = people(A, B, C) | {"pd": RosterEntry("ref-d", "Europe/Oslo")}
    put_state(published, "pd", "marts of nothing")
    assert publish(published, roster, NOW).published == ["pd"]
    (published.lake / "_mart" / "pd.json").unlink()
    done = publish(published, roster, NOW)
    assert (done.removed, done.published) == (["pd"], ["pd"])
    assert ask(published, "SELECT time_zone FROM participant WHERE participant_id = 'pd'") == [("Europe/Oslo",)]
    assert ask(published, "SELECT count(*) FROM publication WHERE participant_id = 'pd'") == [(0,)]


def test_roster_rows_without_exports_come_change_and_go(published):
    entry = RosterEntry("ref-d", None, date(2026, 4, 1))
    roster = people(A, B, C)
    assert publish(published, roster | {"pd": entry}, NOW).published == ["pd"]
    row = ("pd", "UTC", date(2026, 4, 1), None, None, None)
    sql = (
        "SELECT participant_id, time_zone, enrolled_on, arm, censor_on, censor_reason "
        "FROM participant WHERE participant_id = 'pd'"
    )
    assert ask(published, sql) == [row]
    assert publish(published, roster | {"pd": entry}, NOW).published == []
    assert publish(published, roster | {"pd": replace(entry, arm="x")}, NOW).published == ["pd"]
    assert ask(published, sql) == [(*row[:3], "x", None, None)]
    assert publish(published, roster, NOW).removed == ["pd"]
    assert ask(published, sql) == []


def test_withdrawal_censors_and_says_so(study):
    entry = replace(A.entry, withdrew_on=date(2026, 3, 10))
    publish(study, people(B, C) | {"pa": entry}, NOW)
    rows = ask(study, "SELECT withdrew_on, censor_on, censor_reason FROM participant ORDER BY participant_id")
    assert rows == [
        (date(2026, 3, 10), date(2026, 3, 10), "withdrawn"),
        (None, date(2026, 4, 19), "last_export"),
        (None, date(2026, 4, 19), "last_export"),
    ]


def test_refused_exports_of_nobody_known_are_published(study):
    refused = Manifest("f" * 64, "_study", "unknown", "", "", NOW.isoformat(), NOW.isoformat(), "refused", "a1")
    line = {
        "source_file_id": refused.source_file_id,
        "participant_id": "_study",
        "source": "unknown",
        "record_kind": "file",
        "locator": "file 1",
        "reason": "unknown_participant",
        "detail": "expected a participant of the roster",
        "first_seen_at": NOW,
    }
    commit(study.lake, refused, {"quarantine": arrow("quarantine", [line])})
    put_state(study, "_study", "h")
    assert publish(study, people(A, B, C), NOW).published == ["_study", "pa", "pb", "pc"]
    assert ask(study, "SELECT reason FROM quarantine WHERE participant_id = '_study'") == [("unknown_participant",)]
    counts = "SELECT status, records_read, kept FROM source_file WHERE participant_id = '_study'"
    assert ask(study, counts) == [("refused", None, None)]
    assert ask(study, "SELECT count(*) FROM participant WHERE participant_id = '_study'") == [(0,)]


def test_an_empty_study_has_an_empty_warehouse(tmp_path):
    study = study_at(tmp_path)
    publish(study, {}, NOW)
    assert warehouse_rows(study.warehouse) == {name: [] for name in contract.published_tables()}


def test_stages_are_left_out_and_brought_back_by_the_setting(published):
    without = study_at(published.root, stages=False)
    done = publish(without, people(A, B, C), NOW)
    assert done.published == ["pa", "pb", "pc"]
    assert done.rebuilt
    assert warehouse_rows(published.warehouse) == expected([A, B, C], stages=False)
    comment = ask(published, "SELECT comment FROM duckdb_tables() WHERE table_name = 'sleep_stage'")
    assert "publish: {stages: false}" in comment[0][0]
    assert publish(without, people(A, B, C), NOW).published == []
    assert publish(published, people(A, B, C), NOW).published == ["pa", "pb", "pc"]
    assert warehouse_rows(published.warehouse) == expected([A, B, C])


def test_tables_columns_and_comments_are_the_contracts(published):
    types = {
        "string": "VARCHAR",
        "number": "DOUBLE",
        "integer": "BIGINT",
        "boolean": "BOOLEAN",
        "date": "DATE",
    }
    clocks = {"utc": "TIMESTAMP WITH TIME ZONE", "local": "TIMESTAMP"}
    told = ask(
        published,
        "SELECT table_name, column_name, data_type, is_nullable, comment FROM duckdb_columns() "
        "WHERE table_oid IN (SELECT table_oid FROM duckdb_tables()) AND table_name <> 'ingest_version' "
        "ORDER BY table_name, column_index",
    )
    wanted = [
        (
            name,
            field["name"],
            types.get(field["type"]) or clocks[field["basis"]],
            not field.get("constraints", {}).get("required", False),
            field["description"],
        )
        for name in contract.published_tables()
        for field in contract.schemas()[name]["fields"]
        if field.get("published", True)
    ]
    assert told == wanted
    texts = ask(published, "SELECT table_name, comment FROM duckdb_tables() WHERE table_name <> 'ingest_version'")
    assert dict(texts) == {name: contract.schemas()[name]["description"] for name in contract.published_tables()}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE night DROP COLUMN flags",
        "ALTER TABLE night ALTER COLUMN tst_min TYPE FLOAT",
        "DROP TABLE coverage",
        "CREATE TABLE mine AS SELECT 1 AS a",
        "COMMENT ON COLUMN night.tst_min IS 'another definition'",
    ],
)
def test_a_warehouse_of_another_shape_is_made_anew(published, change):
    with duckdb.connect(str(published.warehouse)) as connection:
        connection.execute(change)
    done = publish(published, people(A, B, C), NOW)
    assert done.rebuilt == "its tables were not those of this version and its settings"
    assert warehouse_rows(published.warehouse) == expected([A, B, C])
    assert publish(published, people(A, B, C), NOW).rebuilt is None


def test_a_damaged_warehouse_is_made_anew(published):
    published.warehouse.write_bytes(b"no database at all" * 1000)
    assert publish(published, people(A, B, C), NOW).rebuilt == "it could not be read"
    assert warehouse_rows(published.warehouse) == expected([A, B, C])


def test_a_log_that_another_program_left_is_not_replayed(published):
    def write_and_die():
        connection = duckdb.connect(str(published.warehouse))
        connection.execute("SET checkpoint_threshold = '1GB'")
        connection.execute("UPDATE night SET tst_min = 0")
        os._exit(9)

    assert in_child(write_and_die) == 9
    assert published.warehouse.with_name("warehouse.duckdb.wal").exists()
    assert publish(published, people(A, B, C), NOW).rebuilt == "another program had written to it"
    assert not published.warehouse.with_name("warehouse.duckdb.wal").exists()
    assert warehouse_rows(published.warehouse) == expected([A, B, C])


def test_marts_behind_the_lake_keep_their_rows_until_they_are_built(published):
    put_state(published, "pb", "newer marts")
    commit(published.lake, replace_inputs(manifests(published.lake, "pb")[1]), {})
    done = publish(published, people(A, B, C), LATER)
    assert (done.waiting, done.published, done.unchanged) == (["pb"], [], 2)
    assert warehouse_rows(published.warehouse) == expected([A, B, C])


def replace_inputs(of):
    import msgspec

    return msgspec.structs.replace(of, inputs_hash="0123456789abcdef")


def test_an_export_the_marts_do_not_know_yet_stays_out(published):
    more = Manifest("e" * 64, "pb", "fitbit", "takeout", "1", NOW.isoformat(), NOW.isoformat(), "loaded", "b2")
    revised = replace(B, variant=1)
    put(published, revised)
    commit(published.lake, more, {})
    publish(published, people(A, revised, C), NOW)
    assert warehouse_rows(published.warehouse) == expected([A, revised, C])


@pytest.mark.fault(12)
def test_a_damaged_lake_file_stops_the_publication(published):
    revised = replace(B, variant=1)
    put(published, revised)
    path = parquet_path(published.lake, "sleep_stage", "pb", revised.manifest("new"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Terminal, match=r"sleep_stage.*ingest verify"):
        publish(published, people(A, revised, C), NOW)
    assert warehouse_rows(published.warehouse) == expected([A, B, C])
    path.unlink()
    with pytest.raises(Transient, match="went away"):
        publish(published, people(A, revised, C), NOW)


def test_two_rows_with_one_key_stop_the_publication(published):
    revised = replace(B, variant=1)
    put(published, revised)
    nights = revised.mart_rows()["night"]
    write_part(published.lake, "night", "pb", arrow("night", [*nights, nights[0]]))
    with pytest.raises(Terminal, match="table night: two rows"):
        publish(published, people(A, revised, C), NOW)
    assert warehouse_rows(published.warehouse) == expected([A, B, C])


def test_marts_rebuilt_meanwhile_are_not_mixed(published):
    revised = replace(B, variant=1)
    put(published, revised)
    with pytest.raises(Transient, match="run again"):
        publish(published, people(A, revised, C), NOW, lambda done, total: put_state(published, "pb", "other"))
    assert warehouse_rows(published.warehouse) == expected([A, B, C])


@pytest.mark.fault(4)
def test_a_full_disk_is_seen_before_anything_is_written(published, monkeypatch):
    put(published, replace(B, variant=1))
    size = published.warehouse.stat().st_size
    free = shutil.disk_usage(published.root)._replace(free=2 * size - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(Transient, match="MiB are free"):
        publish(published, people(A, B, C), NOW)
    assert warehouse_rows(published.warehouse) == expected([A, B, C])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free._replace(free=2 * size))
    assert publish(published, people(A, B, C), NOW).published == ["pb"]


def test_a_file_in_which_most_were_replaced_is_as_small_as_a_new_one(tmp_path):
    everybody = [Content(f"p{n}", nights=25) for n in range(3)]
    revised = [*(replace(each, variant=1) for each in everybody[:2]), everybody[2]]
    sizes = []
    for name, first in (("new", revised), ("replaced", everybody)):
        study = study_at(tmp_path / name)
        put(study, *first)
        publish(study, people(*first), NOW)
        put(study, *revised[:2])
        publish(study, people(*revised), NOW)
        sizes.append(study.warehouse.stat().st_size)
    assert warehouse_rows(study.warehouse) == expected(revised)
    assert sizes[0] == sizes[1]


def test_leftovers_of_a_killed_publication_are_swept(published):
    stale = published.root / ".tmp-warehouse.duckdb"
    spilled = published.root / ".tmp-warehouse.duckdb.tmp"
    stale.write_bytes(b"half a copy")
    stale.with_name(f"{stale.name}.wal").write_bytes(b"half a log")
    spilled.mkdir()
    (spilled / "duckdb_temp_storage-0.tmp").write_bytes(b"spilled")
    publish(published, people(A, B, C), NOW)
    assert not list(published.root.glob(f"{TMP_PREFIX}*"))


def test_any_folder_name_will_do_and_the_mode_stays(tmp_path):
    study = study_at(tmp_path / "it's a 'study' of ü%20 [x]*")
    put(study, A)
    publish(study, people(A), NOW)
    study.warehouse.chmod(0o640)
    revised = replace(A, variant=1)
    put(study, revised)
    publish(study, people(revised), NOW)
    assert warehouse_rows(study.warehouse) == expected([revised])
    assert study.warehouse.stat().st_mode & 0o777 == 0o640
