from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ingest._core.dictionary import render
from ingest._core.errors import WrongUse

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "schemas").glob("*.json"))
}
COLUMNS = [(name, field) for name, schema in SCHEMAS.items() for field in schema["fields"]]


def test_the_written_dictionary_is_the_rendered_one():
    written = (ROOT / "docs" / "dictionary.md").read_text(encoding="utf-8")
    assert written == render("md"), "run: ingest dictionary --format md > docs/dictionary.md"


def test_markdown_has_a_section_and_a_link_for_each_table():
    text = render("md")
    assert re.findall(r"^## (.+)$", text, re.M) == list(SCHEMAS)
    assert re.findall(r"^- \[(\w+)\]\(#(\w+)\)", text, re.M) == [(name, name) for name in SCHEMAS]
    for name, schema in SCHEMAS.items():
        section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert schema["description"] in section
        assert f"- Key: {', '.join(schema['primaryKey'])}\n" in section
        assert f"- Stage: {schema['stage']}; " in section
        assert ("not in the warehouse" in section) == (not schema.get("published", True))


def test_markdown_tables_have_six_cells_a_row():
    rows = [line for line in render("md").splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {8}
    columns = [match[1] for row in rows if (match := re.match(r"\| `([\w{}]+)` \|", row))]
    assert columns == [field["name"] for _, field in COLUMNS]


@pytest.mark.parametrize(
    "row",
    [
        "| `tst_min` | double | min | Total sleep time: time in sleep stages within the sleep period; naps "
        "not added. | AASM |  |",
        "| `bed_start_utc` | timestamptz, not NULL |  | Start of time in bed: of the first stretch in bed where "
        "tib_basis is `in_bed`, else of the main record. |  |  |",
        "| `onset_local` | timestamp |  | Local clock of the onset. |  |  |",
        "| `utc_offset_min` | bigint | min | Offset of the local clock at the start of the record. |  | "
        "-1080 to 1080 |",
        "| `superseded_reason` | text |  | Why this version does not count. (In the warehouse only.) |  | "
        "newer_export, more_complete, overlap |",
        "| `content_hash` | text, not NULL |  | Hash of all that the record says; equal copies have equal "
        "hashes. (In the lake only.) |  |  |",
        "| `kept` | bigint | records | Records that became rows of the lake. |  | 0 or more |",
    ],
)
def test_markdown_rows_say_type_unit_definition_source_and_values(row):
    assert row in render("md").splitlines()


def test_csv_has_a_row_per_column():
    rows = list(csv.DictReader(io.StringIO(render("csv"))))
    assert [(row["table"], row["column"], row["definition"]) for row in rows] == [
        (name, field["name"], field["description"]) for name, field in COLUMNS
    ]
    by_name = {(row["table"], row["column"]): row for row in rows}
    assert by_name["night", "night_date"] | {"definition": "", "source": ""} == {
        "table": "night",
        "column": "night_date",
        "type": "date",
        "not_null": "true",
        "in_key": "true",
        "unit": "",
        "definition": "",
        "source": "",
        "allowed_values": "",
        "in_lake": "true",
        "in_warehouse": "true",
    }
    places = {
        ("sleep_session", "content_hash"): ("true", "false"),
        ("sleep_session", "is_current"): ("false", "true"),
        ("session_version", "is_current"): ("true", "false"),
        ("publication", "mart_hash"): ("false", "true"),
    }
    assert {key: (by_name[key]["in_lake"], by_name[key]["in_warehouse"]) for key in places} == places
    assert "\r" not in render("csv")


def test_json_is_the_schemas_themselves():
    assert json.loads(render("json")) == list(SCHEMAS.values())


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.headings, self.tables, self.names, self.links = [], [], 0, [], []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)
        if tag == "h2":
            self.headings.append(dict(attrs)["id"])
        self.tables += tag == "table"
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-2:] == ["th", "code"]:
            self.names.append(data)


def test_html_is_one_page_that_needs_nothing_else():
    page = _Page()
    page.feed(render("html"))
    assert page.open == []
    assert page.headings == list(SCHEMAS)
    assert page.tables == len(SCHEMAS)
    assert page.names == [field["name"] for _, field in COLUMNS]
    assert page.links == [f"#{name}" for name in SCHEMAS]


def test_html_escapes_what_schemas_say(monkeypatch):
    from ingest._core import dictionary

    schema = SCHEMAS["coverage"] | {"title": "a < b & c", "description": "One `<i>` row | here."}
    monkeypatch.setattr(dictionary, "schemas", lambda: {"coverage": schema})
    assert "a &lt; b &amp; c" in render("html")
    assert "One <code>&lt;i&gt;</code> row | here." in render("html")


def test_an_unknown_form_names_the_known_ones():
    with pytest.raises(WrongUse, match="md, csv, json, html"):
        render("pdf")
