from __future__ import annotations

import csv
import io
import json
import os
from datetime import UTC, datetime

import duckdb
import pyarrow.parquet as pq
import pytest

from ingest._core.errors import Terminal, Transient, WrongUse
from ingest.publish import query as module
from ingest.publish.query import query
from ingest.publish.reading import opened
from ingest.publish.warehouse import publish
from publish.small_lake import NOW, Content, in_child, people, put, study_at

A, B = Content("pa"), Content("pb", nights=2)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = study_at(tmp_path_factory.mktemp("study"))
    put(study, A, B)
    publish(study, people(A, B), NOW)
    return study


@pytest.fixture
def ask(study):
    def run(sql, format="csv"):
        stream = io.BytesIO()
        query(study, sql, format, stream)
        return stream.getvalue() if format == "parquet" else stream.getvalue().decode()

    return run


def test_csv_has_header_commas_newlines_and_nothing_else(ask):
    text = ask("SELECT night_date, bed_start_utc, tst_min, sol_min FROM night WHERE participant_id = 'pa'")
    assert text == (
        "night_date,bed_start_utc,tst_min,sol_min\n"
        "2026-03-01,2026-03-01T21:30:00Z,420.5,\n"
        "2026-03-02,2026-03-02T21:30:00Z,421.5,\n"
        "2026-03-03,2026-03-03T21:30:00Z,422.5,\n"
    )


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("NULL::INT", '""'),
        ("true", "true"),
        ("false", "false"),
        ("TIMESTAMPTZ '2026-03-01 23:30:00+02'", "2026-03-01T21:30:00Z"),
        ("TIMESTAMPTZ '2026-03-01 21:30:00.25+00'", "2026-03-01T21:30:00.250000Z"),
        ("TIMESTAMP '2026-03-01 21:30:00'", "2026-03-01T21:30:00"),
        ("DATE '2026-03-01'", "2026-03-01"),
        ("TIME '07:05:00'", "07:05:00.000000"),
        ("INTERVAL '1 month 2 days 90 minutes'", "P1M2DT5400S"),
        ("INTERVAL 500 MILLISECOND", "P0M0DT0.5S"),
        ("0.1::DOUBLE + 0.2::DOUBLE", "0.30000000000000004"),
        ("sum(2::BIGINT)", "2"),
        ("1.50::DECIMAL(5, 2)", "1.50"),
        ("'plain'", "plain"),
        ("'a,b'", '"a,b"'),
        ("'say \"no\"'", '"say ""no"""'),
        ("'two' || chr(10) || 'lines'", '"two\nlines"'),
        ("'ü€'", "ü€"),
        ("[1, 2]", '"[1,2]"'),
        ("{'a': NULL}", '"{""a"":null}"'),
        ("[TIMESTAMPTZ '2026-03-01 21:30:00+00']", '"[""2026-03-01T21:30:00Z""]"'),
    ],
)
def test_csv_cells(ask, value, cell):
    assert ask(f"SELECT {value} AS v") == f"v\n{cell}\n"


def test_csv_of_many_batches_is_whole(ask):
    rows = list(csv.reader(io.StringIO(ask("SELECT n, n * 2 AS d FROM range(50000) t(n)"))))
    assert rows[0] == ["n", "d"]
    assert rows[1:] == [[str(n), str(2 * n)] for n in range(50000)]


def test_json_is_a_list_of_objects_one_a_line(ask):
    text = ask(
        "SELECT participant_id, bed_start_utc, tst_min, sol_min, tst_min > 421 AS long, 'nan'::DOUBLE AS x, "
        "tst_min / 0 AS y, sum(1) OVER () AS n FROM night WHERE participant_id = 'pb' ORDER BY 2",
        "json",
    )
    common = {"participant_id": "pb", "sol_min": None, "x": None, "y": None, "n": 2}
    assert json.loads(text) == [
        common | {"bed_start_utc": "2026-03-01T21:30:00Z", "tst_min": 420.5, "long": False},
        common | {"bed_start_utc": "2026-03-02T21:30:00Z", "tst_min": 421.5, "long": True},
    ]
    assert text.splitlines()[0] == "["
    assert text.splitlines()[-1] == "]"
    assert [line[0] for line in text.splitlines()[1:-1]] == ["{", "{"]


def test_json_of_no_rows_is_an_empty_list(ask):
    assert ask("SELECT 1 AS a WHERE false", "json") == "[]\n"


def test_parquet_keeps_values_and_types(ask):
    data = ask(
        "SELECT participant_id, bed_start_utc, tst_min, sol_min, bed_end_utc - bed_start_utc AS lay "
        "FROM night ORDER BY 1, 2",
        "parquet",
    )
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    assert len(rows) == 5
    assert rows[0] == {
        "participant_id": "pa",
        "bed_start_utc": datetime(2026, 3, 1, 21, 30, tzinfo=UTC),
        "tst_min": 420.5,
        "sol_min": None,
        "lay": "P0M0DT28800S",
    }


def test_parquet_is_not_thrown_at_a_terminal(study):
    class Terminal(io.BytesIO):
        def isatty(self):
            return True

    with pytest.raises(WrongUse, match="send it to a file"):
        query(study, "SELECT 1", "parquet", Terminal())


@pytest.mark.parametrize("format", ["json", "parquet"])
def test_columns_of_one_name_need_names_where_names_are_keys(ask, format):
    with pytest.raises(WrongUse, match="more than one column is called a; give them names with AS"):
        ask("SELECT 1 AS a, 2 AS a", format)
    assert ask("SELECT 1 AS a, 2 AS a") == "a,a\n1,2\n"


def test_table_is_cut_to_the_terminal_and_says_what_is_missing(ask, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = ask("SELECT * FROM night ORDER BY participant_id, night_date", "table")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split() == ["participant_id", "night_date", "wake_date", "study_day"]
    assert lines[2].split() == ["pa", "2026-03-01", "2026-03-02"]
    assert "5 rows" in lines
    columns = len(duckdb_columns(ask))
    assert f"{columns - 4} more columns: source, device," in text


def duckdb_columns(ask):
    return ask("SELECT column_name FROM duckdb_columns() WHERE table_name = 'night'").splitlines()[1:]


def test_table_shows_forty_rows_and_says_so(ask):
    lines = ask("SELECT n FROM range(1000) t(n)", "table").splitlines()
    assert lines[-1] == "first 40 rows; --format csv gives all"
    assert [line.strip() for line in lines[2:-1]] == [str(n) for n in range(40)]
    assert ask("SELECT n FROM range(40) t(n)", "table").splitlines()[-1] == "40 rows"
    assert ask("SELECT 1 AS n", "table").splitlines()[-1] == "1 row"


def test_table_cells_cannot_speak_to_the_terminal(ask):
    text = ask("SELECT chr(27) || '[2J' AS a, '[bold]x[/bold]' AS b, chr(8238) AS c, 2.0 / 3 AS d", "table")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]x[/bold]" in text
    assert "0.666667" in text


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT tst FROM night", 'column "tst" not found'),
        ("SELECT tst_mn FROM night", '"tst_min"'),
        ("SELECT * FROM nihgt", 'Did you mean "night"'),
        ("SELEC 1", "syntax error"),
        ("", "no statement"),
        ("-- only a comment", "no statement"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT 1; DROP TABLE night", "one statement at a time"),
        ("SELECT participant_id::INT FROM night", "Could not convert"),
        ("SELECT CASE WHEN n = 90000 THEN error('late') END FROM range(100000) t(n)", "late"),
    ],
)
def test_mistakes_are_told_in_a_line(ask, sql, words):
    with pytest.raises(WrongUse) as caught:
        ask(sql)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE x (a INT)",
        "CREATE TEMP TABLE x (a INT)",
        "INSERT INTO night SELECT * FROM night",
        "UPDATE night SET tst_min = 0",
        "DELETE FROM night",
        "DROP TABLE night",
        "EXPLAIN ANALYZE DELETE FROM night",
        "COPY night TO '/tmp/ingest-query-test.csv'",
        "EXPORT DATABASE '/tmp/ingest-query-test'",
        "ATTACH '/tmp/ingest-query-test.duckdb'",
        "SET TimeZone = 'Europe/Oslo'",
        "SET enable_external_access = true",
        "PRAGMA threads = 1",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CHECKPOINT",
        "BEGIN",
        "PREPARE a AS SELECT 1",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM 'https://example.org/x.parquet'",
        "SELECT * FROM connection",
        "SELECT * FROM module",
        "SELECT getenv('HOME')",
    ],
)
def test_nothing_is_written_and_nothing_else_is_read(study, ask, sql):
    before = study.warehouse.read_bytes()
    with pytest.raises(WrongUse):
        ask(sql)
    assert study.warehouse.read_bytes() == before
    assert not os.path.exists("/tmp/ingest-query-test.csv")


def test_an_opened_warehouse_cannot_be_opened_wider(study):
    with opened(study) as reader:
        connection = reader.connection
        for sql in ("SET enable_external_access = true", "SET TimeZone = 'Asia/Tokyo'"):
            with pytest.raises(duckdb.InvalidInputException, match="locked"):
                connection.execute(sql)
        with pytest.raises(duckdb.PermissionException):
            connection.execute("COPY night TO '/tmp/ingest-query-test.csv'")


@pytest.mark.parametrize(
    "sql",
    [
        "FROM night",
        "DESCRIBE night",
        "SHOW TABLES",
        "SUMMARIZE night",
        "EXPLAIN SELECT 1",
        "PRAGMA table_info('night')",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "PIVOT night ON source USING count(*)",
        "SELECT 1;",
    ],
)
def test_reading_in_other_words_is_fine(ask, sql):
    assert len(ask(sql).splitlines()) >= 2


def test_the_time_zone_of_the_machine_plays_no_part(ask, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert ask("SELECT TIMESTAMPTZ '2026-03-01 21:30:00'::DATE AS d") == "d\n2026-03-01\n"


def test_an_unknown_format_names_the_known_ones(ask):
    with pytest.raises(WrongUse, match="table, csv, json, parquet"):
        ask("SELECT 1", "xml")


def test_without_a_warehouse_it_says_how_to_make_one(tmp_path):
    with pytest.raises(WrongUse, match="`ingest run` makes it"):
        query(study_at(tmp_path), "SELECT 1", "csv", io.BytesIO())


def test_a_damaged_warehouse_is_named_as_such(tmp_path):
    study = study_at(tmp_path)
    study.warehouse.write_bytes(b"x" * 20_000)
    with pytest.raises(Terminal, match="warehouse is damaged"):
        query(study, "SELECT 1", "csv", io.BytesIO())


def test_a_warehouse_damaged_inside_is_named_as_such(study, tmp_path):
    other = study_at(tmp_path)
    data = bytearray(study.warehouse.read_bytes())
    for at in range(3 * 4096 + 100, len(data), 4096):
        data[at] ^= 0xFF
    other.warehouse.write_bytes(data)
    with pytest.raises(Terminal, match="warehouse is damaged"):
        query(other, "SELECT * FROM sleep_session", "csv", io.BytesIO())


def test_a_warehouse_that_is_written_by_another_program_is_tried_later(study, tmp_path):
    other = study_at(tmp_path)
    other.warehouse.write_bytes(study.warehouse.read_bytes())

    def asked_in_child():
        with pytest.raises(Transient, match="close it there"):
            query(other, "SELECT 1", "csv", io.BytesIO())

    held = os.pipe()
    done = os.pipe()
    child = os.fork()
    if child == 0:
        connection = duckdb.connect(str(other.warehouse))
        connection.execute("SELECT 1")
        os.write(held[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(held[0], 1)
    try:
        assert in_child(asked_in_child) == 0
    finally:
        os.write(done[1], b"x")
        os.waitpid(child, 0)


def test_what_the_stream_refuses_is_passed_on(study):
    class Closed(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        query(study, "SELECT 1", "csv", Closed())


def test_formats_are_those_of_the_module():
    assert tuple(module._WRITERS) == ("table", "csv", "json", "parquet")
