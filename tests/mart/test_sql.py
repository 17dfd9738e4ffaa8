"""Marts in SQL: how their files are run, and that the docs show them as they are."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from ingest._core.contract import MART, arrow_schema, schemas, tables
from ingest._core.errors import Terminal
from ingest._core.settings_insomnia import Insomnia
from ingest.mart.sql import run_sql, statements
from studies import PROJECT

NAMES = sorted(statements())
NIGHT = {"participant_id": "p0000000000000000000a", "night_date": date(2026, 1, 5)}
GIVEN = {"night": arrow_schema("night").empty_table(), "night_diary": arrow_schema("night_diary").empty_table()}
CHOSEN = {"diary": "a", "wearable": "b", **Insomnia().criteria()}
DOCUMENT = (PROJECT / "docs" / "sql.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_first_what_a_row_is(name: str) -> None:
    assert statements()[name].startswith("-- One row ")
    assert name in schemas()


@pytest.mark.parametrize("name", NAMES)
def test_the_docs_show_the_file_as_it_is(name: str) -> None:
    shown = re.search(rf"^## {name}\n.*?^```sql\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert shown[1] == statements()[name]


def test_the_docs_say_of_every_mart_how_it_is_made() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \| (\w+)", DOCUMENT, re.MULTILINE)
    said = {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(tables(MART)) <= set(said)
    assert {name for name, kind in said.items() if kind == "SQL"} == set(NAMES)


def test_text_of_the_study_is_a_value_and_never_a_part_of_the_statement() -> None:
    night = pa.Table.from_pylist([NIGHT], schema=arrow_schema("night_diary"))
    sly = "x' AS preset, 1 / 0 AS boom FROM night; DROP TABLE night; --"
    (row,) = run_sql("insomnia_night", {**GIVEN, "night_diary": night}, {**CHOSEN, "diary": sly}).to_pylist()
    assert row["preset"] == sly


@pytest.mark.parametrize(
    "changed", [{key: value for key, value in CHOSEN.items() if key != "sol_min"}, {**CHOSEN, "more": 1}]
)
def test_parameters_are_those_of_the_file(changed: dict[str, object]) -> None:
    with pytest.raises(Terminal, match=r"mart/insomnia_night.sql: .*do not fit"):
        run_sql("insomnia_night", GIVEN, changed)


def test_a_message_does_not_quote_values() -> None:
    with pytest.raises(Terminal) as caught:
        run_sql("insomnia_night", GIVEN, {**CHOSEN, "sol_min": "Zebrowski"})
    assert "Zebrowski" not in str(caught.value)


def test_tables_must_be_given_and_are_gone_afterwards() -> None:
    run_sql("insomnia_night", GIVEN, CHOSEN)
    with pytest.raises(Terminal):
        run_sql("insomnia_night", {"night": GIVEN["night"]}, CHOSEN)


def test_the_statement_reaches_no_file_and_no_variable_and_runs_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ingest.mart.sql as module

    (tmp_path / "x.csv").write_text("a\n1\n")
    (tmp_path / "reads.sql").write_text(f"SELECT * FROM read_csv('{tmp_path}/x.csv')")
    (tmp_path / "says.sql").write_text(
        "SELECT current_setting('threads')::VARCHAR || current_setting('TimeZone') AS participant_id"
    )
    (tmp_path / "guesses.sql").write_text("SELECT * FROM GIVEN")
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    for name in ("reads", "guesses"):
        with pytest.raises(Terminal):
            run_sql(name, {}, {}, "night")
    with pytest.raises(Terminal, match="NULLs in night_date"):
        run_sql("says", {}, {}, "night")
    monkeypatch.setattr(module, "to_contract", lambda _table, found: found)
    assert run_sql("says", {}, {}).to_pydict() == {"participant_id": ["1UTC"]}
