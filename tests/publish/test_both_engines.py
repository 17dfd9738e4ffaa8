"""The same study on DuckDB and PostgreSQL: the same rows to the last bit, and the same bytes to whoever asks."""

from __future__ import annotations

import io
import math
import random
import re
import struct
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from ingest._core.contract import COHORT, VIEW, arrow_schema, kind, published_tables, required, tables
from ingest._core.contract import fields as fields_of
from ingest._core.study import open_study
from ingest.lake.cohort_store import CohortState, drop_cohort, write_cohort
from ingest.lake.store import write_part
from ingest.publish.query import query
from ingest.publish.reading import opened
from ingest.publish.warehouse import publish
from publish.small_lake import NOW, Content, people, put, put_state, study_at
from publish.test_postgres import on
from studies import PROJECT, as_json, change_settings, fitbit_nights, land, make_study, pid, run
from tries import tries


def content(study, names=None):
    """Every row of these tables and views (None: of all), in one order, with each double as its bits."""
    names = {*tables(VIEW), *published_tables()} if names is None else set(names)
    with opened(study) as reader:
        found = {}
        for view in names & set(tables(VIEW)):
            rows = reader.table(f"SELECT * FROM {view}")
            found[view] = [
                tuple(rows.column_names),
                *sorted(tuple(map(bits, row.values())) for row in rows.to_pylist()),
            ]
        for table in names & set(published_tables()):
            rows = reader.table(f"SELECT * FROM {table}").select([f["name"] for f in fields_of(table, "publish")])
            assert [each.type for each in rows.schema] == arrow_schema(table, "publish").types, table
            found[table] = sorted(tuple(map(bits, row.values())) for row in rows.to_pylist())
        return found


def bits(value):
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    return repr(value)


def asked(study, sql, format):
    stream = io.BytesIO()
    query(study, sql, format, stream)
    return stream.getvalue()


TEXTS = [
    "",
    " ",
    "\\N",
    "NULL",
    '"',
    "'",
    "a,b",
    "two\nlines",
    "tab\t",
    "\\",
    "ü€𝄞",
    "e\u0301",
    "x" * 5000,
    "\x01",
    None,
]
NUMBERS = [0.0, -0.0, 0.1 + 0.2, math.pi, 5e-324, 1.7976931348623157e308, -1e-310, 420.25, None]
WHOLE = [0, -1, 2**63 - 1, -(2**63), None]
INSTANTS = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, 0, 0, 1, tzinfo=UTC),
            datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), None]  # fmt: skip


def anything(field, rng, key):
    choices = {
        "string": TEXTS, "number": NUMBERS, "integer": WHOLE, "boolean": [True, False, None],
        "date": [date(2000, 2, 29), date(1970, 1, 1), None], "instant": INSTANTS,
        "clock": [each and each.replace(tzinfo=None) for each in INSTANTS],
    }[kind(field)]  # fmt: skip
    if not key:
        return rng.choice([each for each in choices if each is not None] if required(field) else choices)
    apart = rng.randrange(10**6)
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=apart % 5000, microseconds=apart)
    return {"string": f"k{apart}", "number": float(apart), "integer": apart, "boolean": True, "date": start.date(),
            "instant": start, "clock": start.replace(tzinfo=None)}[kind(field)]  # fmt: skip


def random_rows(table, rng, participant):
    from ingest._core.contract import primary_key

    keys = primary_key(table)
    found = {}
    for _ in range(25):
        row = {f["name"]: anything(f, rng, f["name"] in keys) for f in fields_of(table, "lake")}
        row["participant_id"] = participant
        found[tuple(row[name] for name in keys)] = row
    return pa.Table.from_pylist(list(found.values()), schema=arrow_schema(table))


@pytest.mark.parametrize("seed", range(tries(1)))
def test_random_marts_are_the_same_on_both(tmp_path, postgres, seed):
    rng = random.Random(seed)
    study = study_at(tmp_path / "study")
    everybody = [Content(f"p{n}", nights=rng.randint(1, 4), variant=rng.randint(0, 3)) for n in range(3)]
    put(study, *everybody)
    marts = ("night", "night_source", "night_exposure", "trend", "coverage", "night_diary", "safety_signal")
    for each in everybody:
        for table in marts:
            write_part(study.lake, table, each.participant_id, random_rows(table, rng, each.participant_id))
        put_state(study, each.participant_id, f"marts {seed}")
    other = on(study, postgres)
    for target in (study, other):
        publish(target, people(*everybody), NOW)
    here = content(study)
    there = content(other)
    for table in published_tables():
        odd = [
            (a, b) for x, y in zip(here[table], there[table], strict=True) for a, b in zip(x, y, strict=True) if a != b
        ]
        assert odd == [], table
    assert all(len(here[table]) > 20 for table in marts)
    for format in ("csv", "json", "parquet"):
        sql = "SELECT * FROM night ORDER BY participant_id, night_date"
        assert asked(other, sql, format) == asked(study, sql, format)


@pytest.mark.parametrize("engine", ["duckdb", "postgresql"])
def test_cohort_tables_come_change_and_go(tmp_path, postgres, engine):
    study = study_at(tmp_path / "study")
    study = on(study, postgres) if engine == "postgresql" else study
    a, b = Content("pa"), Content("pb", nights=2)
    put(study, a, b)
    flow = pa.Table.from_pylist(
        [{**{f["name"]: anything(f, random.Random(1), key=True) for f in fields_of("flow", "lake")}}],
        schema=arrow_schema("flow"),
    )
    write_cohort(study.lake, {"flow": flow}, CohortState("h1", "4", "s", ["pa", "pb"]))
    publish(study, people(a, b), NOW)
    hashes = "SELECT mart_hash FROM publication WHERE participant_id = '_cohort'"
    with opened(study) as reader:
        assert reader.table("SELECT * FROM flow").select(flow.column_names).to_pylist() == flow.to_pylist()
        assert reader.rows(hashes) == [("h1",)]
    assert publish(study, people(a, b), NOW).rows == {}
    write_cohort(study.lake, {"flow": flow.slice(0, 0)}, CohortState("h2", "4", "s", ["pa", "pb"]))
    done = publish(study, people(a, b), NOW)
    assert (done.published, done.unchanged) == ([], 2)
    with opened(study) as reader:
        assert reader.rows("SELECT count(*) FROM flow") == [(0,)]
        assert reader.rows(hashes) == [("h2",)]
    write_cohort(study.lake, {"flow": flow}, CohortState("h3", "4", "s", ["pa", "pb"]))
    publish(study, people(a, b), NOW)
    publish(study, people(a), NOW)  # somebody whose rows went in has left
    with opened(study) as reader:
        assert [reader.rows(f"SELECT count(*) FROM {table}") for table in tables(COHORT)] == [[(0,)]] * 3
        assert reader.rows(hashes) == []
    drop_cohort(study.lake)
    assert publish(study, people(a), NOW).rows == {}


ISI = {
    "name": "isi", "layout": "scale", "files": "isi*.csv", "date": {"column": "date"}, "date_means": "use_day",
    "scale": {"instrument": "ISI", "items": {str(n): f"q{n}" for n in range(1, 8)}},
}  # fmt: skip


def isi_of_nights(root):
    """Total and age of the answer that stands beside each night."""
    with opened(open_study(root)) as reader:
        return reader.rows("SELECT isi_total, isi_age_days FROM night_wide ORDER BY night_date")


@pytest.mark.parametrize("engine", ["duckdb", "postgresql"])
def test_an_answer_alone_or_its_window_alone_is_published(tmp_path, postgres, engine):
    where = {"warehouse": postgres} if engine == "postgresql" else {}
    root = make_study(tmp_path / "study", logs=[ISI], **where)
    land(root, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 4)))
    land(root, "K01/isi-first.csv", "date,q1,q2,q3,q4,q5,q6,q7\n2026-03-01,1,1,1,1,1,1,1\n")
    assert run(root).published.published == [pid(root)]
    change_settings(root, scales={"recall_days": {"ISI": 2}})
    done = run(root)
    assert (done.rebuilt.participants, done.published.published) == ([], [])
    assert isi_of_nights(root) == [(7.0, 0), (7.0, 1), (7.0, 2), (None, None)]
    land(root, "K01/more/isi-second.csv", "date,q1,q2,q3,q4,q5,q6,q7\n2026-03-03,2,2,2,2,2,2,2\n")
    done = run(root)
    assert (done.rebuilt.participants, done.published.published) == ([pid(root)], [pid(root)])
    assert isi_of_nights(root) == [(7.0, 0), (7.0, 1), (14.0, 0), (14.0, 1)]


WRITES = [
    "INSERT INTO night SELECT * FROM night", "UPDATE night SET tst_min = 0", "DELETE FROM night", "DROP TABLE night",
    "CREATE TABLE mine (a int)", "COPY night TO STDOUT", "SELECT 1; DROP TABLE night", "VACUUM", "BEGIN",
    "WITH gone AS (DELETE FROM night RETURNING 1) SELECT * FROM gone", "SELECT * INTO mine FROM night",
    "EXPLAIN ANALYZE DELETE FROM night", "", "-- only words", "SELECT * FROM nowhere", "SELEC 1",
    "SELECT set_config('transaction_read_only', 'off', false)", "SELECT 1) TO PROGRAM 'true' --",
]  # fmt: skip


def test_a_query_that_writes_is_refused(tmp_path, postgres):
    from ingest._core.errors import WrongUse

    study = on(study_at(tmp_path / "study"), postgres)
    put(study, Content("pa"))
    publish(study, people(Content("pa")), NOW)
    before = content(study)
    for sql in WRITES:
        with pytest.raises(WrongUse) as caught:
            asked(study, sql, "csv")
        assert str(caught.value)
    assert content(study) == before
    assert asked(study, "SELECT TIMESTAMPTZ '2026-03-01 23:30+02' AS t", "csv") == b"t\n2026-03-01T21:30:00Z\n"
    assert asked(study, "EXPLAIN SELECT 1", "csv").startswith(b"QUERY PLAN\n")
    assert replace(study).warehouse_url == postgres


def test_the_page_asks_both_alike(tmp_path, postgres):
    page = (PROJECT / "docs" / "warehouse.md").read_text()
    (sql,) = re.findall(r'^ingest query "(.*)"$', page, re.MULTILINE)
    study = study_at(tmp_path / "study")
    put(study, Content("pa"), Content("pb", nights=2))
    for target in (study, on(study, postgres)):
        publish(target, people(Content("pa"), Content("pb", nights=2)), NOW)
        assert asked(target, sql, "csv") == b"participant_id,nights\npa,3\npb,2\n"
