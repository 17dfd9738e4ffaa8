from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from ingest._core import contract
from ingest._core.contract import PUBLISH
from ingest._core.errors import Terminal, Transient, WrongUse
from ingest.publish.reading import exists, opened
from ingest.publish.warehouse import publish
from publish.small_lake import NOW, Content, by_key, expected, forget, people, put, put_state, study_at

A, B, C = Content("pa"), Content("pb", nights=2), Content("pc", nights=4)
LATER = NOW + timedelta(days=1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    study = study_at(tmp_path_factory.mktemp("prepared"))
    put(study, A, B, C)
    return study.root


@pytest.fixture
def study(lake, tmp_path, postgres):
    shutil.copytree(lake, tmp_path / "study")
    return on(study_at(tmp_path / "study"), postgres)


@pytest.fixture
def published(study):
    publish(study, people(A, B, C), NOW)
    return study


def on(study, url):
    return replace(study, settings=study.settings.model_copy(update={"warehouse": url}))


def all_rows(study):
    with opened(study) as reader:
        return {
            name: by_key(name, reader.table(f"SELECT * FROM {name}").to_pylist())
            for name in contract.published_tables()
        }


def ask(study, sql):
    with opened(study) as reader:
        return reader.rows(sql)


def test_rows_are_those_of_lake_and_marts(study):
    assert not exists(study)
    seen = []
    done = publish(study, people(A, B, C), NOW, lambda *step: seen.append(step))
    rows = expected([A, B, C])
    assert all_rows(study) == rows
    assert done.rows == {name: len(found) for name, found in rows.items()}
    assert (done.published, done.removed, done.waiting, done.unchanged) == (["pa", "pb", "pc"], [], [], 0)
    assert done.warehouse_bytes > 0
    assert exists(study)
    assert seen[-1] == (3, 3)


def test_only_what_differs_is_written(published):
    done = publish(published, people(A, B, C), LATER)
    assert (done.published, done.unchanged, done.rows) == ([], 3, {})
    revised = replace(B, nights=5, variant=1)
    put(published, revised)
    done = publish(published, people(A, revised, C), LATER)
    assert (done.published, done.unchanged) == (["pb"], 2)
    rows = expected([A, revised, C])
    rows["publication"][1]["published_at"] = LATER
    assert all_rows(published) == rows
    forget(published, B)
    done = publish(published, people(A, C), LATER)
    assert (done.removed, done.published, done.unchanged) == (["pb"], [], 2)
    assert all_rows(published) == expected([A, C])


def test_types_and_comments_are_the_contracts(published):
    types = {"string": "text", "number": "double precision", "integer": "bigint", "boolean": "boolean", "date": "date"}
    clocks = {"utc": "timestamp with time zone", "local": "timestamp without time zone"}
    told = ask(
        published,
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text, "
        "col_description(table_name::regclass, ordinal_position), obj_description(table_name::regclass) "
        "FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) "
        "WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name NOT LIKE 'ingest\\_%' "
        'ORDER BY table_name COLLATE "C", ordinal_position',
    )
    assert told == [
        (
            name,
            field["name"],
            types.get(field["type"]) or clocks[field["basis"]],
            "NO" if field.get("constraints", {}).get("required") else "YES",
            field["description"],
            contract.schemas()[name]["description"],
        )
        for name in contract.published_tables()
        for field in contract.fields(name, PUBLISH)
    ]


def test_every_table_has_its_key(published):
    found = ask(
        published,
        "SELECT c.relname::text, array_to_string(array_agg(a.attname ORDER BY array_position(i.indkey::int[], "
        "a.attnum::int)), ',') FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a "
        "ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey) WHERE i.indisunique "
        "AND c.relnamespace = 'public'::regnamespace GROUP BY c.relname, i.indexrelid",
    )
    keys = {name: set(columns.split(",")) for name, columns in found if not name.startswith("ingest_")}
    assert keys.keys() == set(contract.published_tables())
    for table, columns in keys.items():
        assert columns - {"participant_id"} == set(contract.primary_key(table)) - {"participant_id"}, table


def test_readers_see_the_old_rows_until_the_commit(published):
    put(published, replace(B, variant=1))
    seen = []
    publish(published, people(A, B, C), LATER, lambda *_: seen.append(all_rows(published)))
    assert seen == [expected([A, B, C])]
    assert all_rows(published) != expected([A, B, C])


@pytest.mark.fault(21)
def test_one_publication_at_a_time(published):
    put(published, replace(B, variant=1))

    def second(*_):
        with pytest.raises(Transient, match="another publication has the warehouse"):
            publish(published, people(A, B, C), LATER)

    assert publish(published, people(A, B, C), LATER, second).published == ["pb"]


def test_two_rows_with_one_key_stop_the_publication(published):
    from ingest.lake.store import write_part
    from publish.small_lake import arrow

    revised = replace(B, variant=1)
    put(published, revised)
    nights = revised.mart_rows()["night"]
    write_part(published.lake, "night", "pb", arrow("night", [*nights, nights[0]]))
    with pytest.raises(Terminal, match="table night: two rows"):
        publish(published, people(A, revised, C), NOW)
    assert all_rows(published) == expected([A, B, C])


def test_marts_rebuilt_meanwhile_are_not_mixed(published):
    put(published, replace(B, variant=1))
    with pytest.raises(Transient, match="run again"):
        publish(published, people(A, B, C), NOW, lambda *_: put_state(published, "pb", "other"))
    assert all_rows(published) == expected([A, B, C])


def test_stages_are_left_out_and_brought_back_by_the_setting(published):
    without = on(study_at(published.root, stages=False), published.settings.warehouse)
    assert publish(without, people(A, B, C), NOW).published == ["pa", "pb", "pc"]
    assert all_rows(published) == expected([A, B, C], stages=False)
    assert publish(without, people(A, B, C), NOW).published == []
    assert publish(published, people(A, B, C), NOW).published == ["pa", "pb", "pc"]
    assert all_rows(published) == expected([A, B, C])


def test_a_database_of_somebody_else_is_not_touched(study, postgres_server):
    database = study.settings.warehouse.split("/")[3].split("?")[0]
    with postgres_server.connect(database) as connection:
        connection.execute("CREATE TABLE theirs AS SELECT 7 AS a")
    with pytest.raises(Terminal, match="something else than a warehouse"):
        publish(study, people(A), NOW)
    with pytest.raises(WrongUse, match="no warehouse yet"):
        all_rows(study)
    with postgres_server.connect(database) as connection:
        assert connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                                  "AND relkind = 'r'").fetchall() == [("theirs",)]  # fmt: skip


def test_a_newer_warehouse_is_refused(published, postgres_server):
    database = published.settings.warehouse.split("/")[3].split("?")[0]
    with postgres_server.connect(database) as connection:
        connection.execute("UPDATE ingest_version SET version_num = 'ingest_9999'")
    put(published, replace(B, variant=1))
    with pytest.raises(Terminal, match="newer version of this program"):
        publish(published, people(A, B, C), NOW)
    assert all_rows(published) == expected([A, B, C])


@pytest.mark.fault(29)
def test_text_with_nul_is_refused_without_showing_it(study):
    odd = replace(A.entry, arm="se\0cret")
    with pytest.raises(Terminal, match="table participant: a text holds a NUL") as caught:
        publish(study, {"pa": odd}, NOW)
    assert "cret" not in str(caught.value)
    assert not exists(study)
