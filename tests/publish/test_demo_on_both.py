"""The demo study on DuckDB and PostgreSQL: the same rows and views, and docs/queries.md as both answer it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from datetime import date

import pytest

from ingest._core.contract import VIEW, published_tables, tables
from ingest._core.study import Study
from ingest.publish.reading import opened
from ingest.publish.warehouse import publish_study
from ingest.report.cohort_numbers import cohort_numbers
from ingest.report.explain import explain
from ingest.report.intake import intake
from ingest.report.safe_tables import Limits
from ingest.report.verify import verify
from publish.test_both_engines import asked, content
from publish.test_postgres import on
from studies import PROJECT, SAY_WHEN

_SPEC = importlib.util.spec_from_file_location("queries", PROJECT / "scripts" / "queries.py")
page = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(page)
QUESTIONS = page.answers(page.PAGE.read_text(encoding="utf-8"))


@dataclass
class Demo:
    """The demo study as `ingest demo` makes it, with its associations, in a warehouse of each engine."""

    duckdb: Study
    postgresql: Study


@pytest.fixture(scope="module")
def demo(tmp_path_factory, postgres_server):
    here = page.make_demo(tmp_path_factory.mktemp("demo") / "study")
    there = on(here, postgres_server.url(postgres_server.database()))
    publish_study(there)
    return Demo(here, there)


def test_the_page_asks_a_dozen_questions_and_more():
    text = page.PAGE.read_text(encoding="utf-8")
    assert len(QUESTIONS) == text.count("```sql") == text.count("\n## ") >= 12
    assert all(answer.rstrip().endswith(("rows", "row")) for answer in QUESTIONS.values())


@pytest.mark.parametrize("engine", ["duckdb", "postgresql"])
@pytest.mark.parametrize("sql", QUESTIONS, ids=range(len(QUESTIONS)))
def test_the_page_shows_what_either_engine_answers(demo, engine, sql):
    assert page.ask(getattr(demo, engine), sql) == QUESTIONS[sql]


def test_answers_are_written_below_their_questions(demo):
    (sql, answer), *_ = QUESTIONS.items()
    old = "# Page\n\n```sql\n{}```\n\n```text\nold\n```\n\nthe end\n"
    assert page.filled(old.format(sql), demo.duckdb) == old.format(sql).replace("old\n", answer)


QUERIES = [
    "SELECT * FROM night ORDER BY participant_id, night_date",
    "SELECT * FROM substance_use ORDER BY use_id, source_file_id",
    "SELECT * FROM participant ORDER BY participant_id",
    "SELECT source, count(*) AS n, avg(tst_min) AS tst, max(bed_end_utc) AS last FROM night GROUP BY source ORDER BY 1",
    "SELECT sum(n_sources) AS n FROM night",
    "SELECT night_date FROM night WHERE participant_id = 'nobody'",
]


def test_all_rows_and_views_are_the_same_on_both(demo):
    here, there = content(demo.duckdb), content(demo.postgresql)
    for table in (*published_tables(), *tables(VIEW)):
        assert len(here[table]) > (table in tables(VIEW)), table  # of a view the names of its columns, too
        if table not in SAY_WHEN:
            assert there[table] == here[table], table


def test_answers_reports_and_checks_are_the_same_on_both(demo):
    for sql in QUERIES:
        for format in ("csv", "json", "table"):
            assert asked(demo.postgresql, sql, format) == asked(demo.duckdb, sql, format), (sql, format)
    assert asked(demo.postgresql, QUERIES[0], "parquet") == asked(demo.duckdb, QUERIES[0], "parquet")
    assert verify(demo.postgresql) == verify(demo.duckdb) == []
    with opened(demo.duckdb) as reader:
        participant, night = reader.rows("SELECT participant_id, night_date FROM night ORDER BY 1, 2 LIMIT 1")[0]
    assert explain(demo.postgresql, participant, night) == explain(demo.duckdb, participant, night)


def test_the_pages_rest_on_the_same_numbers(demo):
    def numbers(study):
        with opened(study) as reader:
            cohort = vars(cohort_numbers(reader, Limits(2), date(2026, 1, 12), date(2026, 4, 1)))
            came = vars(intake(study, reader, date(2026, 6, 1)))
        # When something was published is the one thing that two warehouses of one study differ in.
        told = {**cohort, **came}
        return {name: value if isinstance(value, dict) else value.to_pylist() for name, value in told.items()
                if name not in ("publication", "last_run")}  # fmt: skip

    here, there = numbers(demo.duckdb), numbers(demo.postgresql)
    assert [name for name, value in here.items() if not value] == ["substances", "columns"]
    assert here == there
