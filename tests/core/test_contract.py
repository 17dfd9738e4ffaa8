from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from ingest._core import contract
from ingest._core.contract import COHORT, LAKE, MART, OPS, PUBLISH, VIEW, arrow_schema, sqlalchemy_metadata, to_contract
from ingest._core.errors import Terminal

FOLDER = Path(__file__).resolve().parents[2] / "schemas"
SCHEMAS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
NAME = re.compile(r"([a-z]|\{(exposure|scale)\})[a-z0-9_]*")
PUBLISHED = [name for name, schema in SCHEMAS.items() if schema.get("published", True) and schema["stage"] != VIEW]
every_schema = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())


def test_there_are_schemas():
    assert len(SCHEMAS) >= 13
    assert contract.schemas() == SCHEMAS


@every_schema
def test_schema_is_a_frictionless_table_schema(schema):
    known = {"name", "title", "description", "stage", "published", "primaryKey", "missingValues", "fields"}
    names = [field["name"] for field in schema["fields"]]
    assert SCHEMAS[schema["name"]] is schema
    assert set(schema) <= known
    assert all(NAME.fullmatch(name) for name in [schema["name"], *names])
    assert len(set(names)) == len(names) > 0
    gaps = {field["name"]: re.findall(r"\{(\w+)\}", field["name"]) for field in schema["fields"]}
    assert gaps == {field["name"]: [field["each"]] if "each" in field else [] for field in schema["fields"]}
    assert schema["primaryKey"]
    assert set(schema["primaryKey"]) <= set(names)
    assert schema["missingValues"] == [""]
    assert schema["stage"] in (LAKE, MART, COHORT, PUBLISH, OPS, VIEW)
    assert schema["title"]
    assert schema["description"].endswith(".")


@every_schema
def test_every_field_is_described_and_bounded_in_a_way_that_fits_its_type(schema):
    known = {"name", "type", "basis", "unit", "description", "source", "addedBy", "published", "constraints", "each"}
    for field in schema["fields"]:
        limits = field.get("constraints", {})
        assert set(field) <= known, field["name"]
        assert field["type"] in ("string", "number", "integer", "boolean", "date", "datetime"), field["name"]
        assert field["description"].strip().endswith("."), field["name"]
        assert set(limits) <= {"required", "enum", "minimum", "maximum", "pattern"}, field["name"]
        assert ("basis" in field) == (field["type"] == "datetime"), field["name"]
        if "enum" in limits:
            assert field["type"] == "string"
            assert len(set(limits["enum"])) == len(limits["enum"]) > 1, field["name"]
        if "minimum" in limits or "maximum" in limits:
            assert field["type"] in ("number", "integer"), field["name"]
            assert limits.get("minimum", float("-inf")) < limits.get("maximum", float("inf")), field["name"]


@every_schema
def test_names_say_units_and_clocks(schema):
    units = {"_min": "min", "_pct": "%", "_mg": "mg", "_days": "d"}
    for field in schema["fields"]:
        name = field["name"]
        for ending, unit in units.items():
            if name.endswith(ending):
                assert field.get("unit") == unit, name
        if field["type"] == "datetime":
            local = name.endswith("_local")
            assert field["basis"] == ("local" if local else "utc"), name
            assert local or name.endswith(("_utc", "_at")), name


@every_schema
def test_key_fields_are_required_and_reach_the_warehouse(schema):
    fields = {field["name"]: field for field in schema["fields"]}
    for name in schema["primaryKey"]:
        assert fields[name].get("constraints", {}).get("required") is True, name
        assert fields[name].get("published", True), name
    if schema["stage"] == OPS:
        assert "participant_id" not in fields
        return
    assert fields["participant_id"]["constraints"]["required"] is True


def test_same_name_same_type_everywhere():
    types: dict[str, set[tuple[str, str | None]]] = {}
    for schema in SCHEMAS.values():
        for field in schema["fields"]:
            types.setdefault(field["name"], set()).add((field["type"], field.get("basis")))
    assert {name: found for name, found in types.items() if len(found) > 1} == {}


def test_stages_and_published_tables():
    assert contract.tables(LAKE) == [
        "quarantine", "scale_response", "sleep_diary", "sleep_session", "sleep_stage", "substance_use"
    ]  # fmt: skip
    assert {"night", "night_source", "night_exposure", "coverage"} <= set(contract.tables(MART))
    assert contract.tables(PUBLISH) == ["participant", "publication", "source_file"]
    assert contract.tables(OPS) == ["ops_run"]
    assert contract.published_tables() == PUBLISHED
    assert set(SCHEMAS) - set(PUBLISHED) - set(contract.tables(VIEW)) == {
        "session_version",
        "use_version",
        "diary_version",
        "response_version",
    }
    assert contract.primary_key("night") == ["participant_id", "night_date"]


def test_every_published_table_is_created_and_every_created_table_has_a_schema():
    assert sorted(sqlalchemy_metadata().tables) == PUBLISHED


def _as_arrow(kind: sa.types.TypeEngine[object]) -> pa.DataType:
    """The Arrow type that holds what the SQL type holds."""
    if isinstance(kind, sa.DateTime):
        return pa.timestamp("us", tz="UTC" if kind.timezone else None)
    pairs = [
        (sa.Text, pa.string()),
        (sa.Double, pa.float64()),
        (sa.BigInteger, pa.int64()),
        (sa.Boolean, pa.bool_()),
        (sa.Date, pa.date32()),
    ]
    return next(arrow for sql, arrow in pairs if isinstance(kind, sql))


@pytest.mark.parametrize("table", PUBLISHED)
def test_arrow_and_sql_agree(table):
    arrow = arrow_schema(table, PUBLISH)
    sql = sqlalchemy_metadata().tables[table]
    assert [(f.name, f.type, f.nullable) for f in arrow] == [
        (column.name, _as_arrow(column.type), column.nullable) for column in sql.columns
    ]
    assert sql.comment == SCHEMAS[table]["description"]
    described = {field["name"]: field["description"] for field in SCHEMAS[table]["fields"]}
    assert {column.name: column.comment for column in sql.columns}.items() <= described.items()


def test_lake_and_warehouse_differ_by_what_the_fields_say():
    lake, published = arrow_schema("sleep_session"), arrow_schema("sleep_session", PUBLISH)
    assert set(lake.names) - set(published.names) == {"content_hash"}
    assert set(published.names) - set(lake.names) == {"is_current", "superseded_reason"}
    assert published.names.index("is_current") == published.names.index("flags") - 2


def test_instants_and_clocks_have_their_types():
    night = arrow_schema("night")
    assert night.field("onset_utc").type == pa.timestamp("us", tz="UTC")
    assert night.field("onset_local").type == pa.timestamp("us")
    assert night.field("night_date").type == pa.date32()
    assert night.field("nawk").type == pa.int64()
    assert night.field("tst_min").type == pa.float64()


def version(**columns):
    whole = {
        "session_id": ["s"],
        "participant_id": ["p"],
        "source_file_id": ["f"],
        "is_current": [True],
    }
    return pa.table(whole | columns)


def test_to_contract_orders_casts_and_fills_with_null():
    data = version(is_current=pa.array([True]), superseded_reason=pa.nulls(1)).select(
        ["is_current", "session_id", "source_file_id", "participant_id"]
    )
    fitted = to_contract("session_version", data)
    assert fitted.schema == arrow_schema("session_version")
    assert fitted.to_pylist() == [
        {
            "session_id": "s",
            "participant_id": "p",
            "source_file_id": "f",
            "is_current": True,
            "superseded_reason": None,
        }
    ]
    shrunk = pa.table({"date": pa.array([1], pa.int32()), **{n: [True] for n in ("has_sleep", "has_log")}})
    full = shrunk.append_column("participant_id", [["p"]]).append_column("has_diary", [[False]])
    assert to_contract("coverage", full)["date"].to_pylist()[0].isoformat() == "1970-01-02"


def test_to_contract_takes_chunks_and_no_rows():
    twice = pa.concat_tables([version(), version()])
    assert len(to_contract("session_version", twice)) == 2
    assert to_contract("session_version", pa.table({})).num_rows == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (version(surprise=["x"]), r"table session_version: columns \['surprise'\] are not in its schema"),
        (version(session_id=pa.nulls(1)), "table session_version: 1 NULLs in session_id"),
        (version().drop_columns("is_current"), "table session_version: 1 NULLs in is_current"),
        (version(is_current=["Zolpidem"]), "column is_current is string, expected bool"),
        (version(is_current=[[True]]), "column is_current is list<.*>, expected bool"),
    ],
)
def test_to_contract_refuses_with_the_place_and_without_content(data, words):
    with pytest.raises(Terminal, match=words) as caught:
        to_contract("session_version", data)
    assert "Zolpidem" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_to_contract_does_not_round():
    data = pa.table({"night_date": [1.5]})
    with pytest.raises(Terminal):
        to_contract("night", data)
    row = {
        "source_file_id": ["f"],
        "participant_id": ["p"],
        "source": ["s"],
        "arrived_at": pa.array([0], pa.timestamp("us", tz="UTC")),
        "status": ["loaded"],
        "kept": [2.5],
    }
    with pytest.raises(Terminal, match="column kept is double, expected int64"):
        to_contract("source_file", pa.table(row), PUBLISH)


def test_an_unknown_type_is_an_error_not_a_guess():
    with pytest.raises(KeyError):
        contract.kind({"name": "x", "type": "datetime", "basis": "mars"})
