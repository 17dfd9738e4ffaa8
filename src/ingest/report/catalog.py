"""The lake's tables as other engines know them: their DDL, and which files hold what is committed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest._core.contract import LAKE, MART, fields, kind, schemas, tables
from ingest._core.errors import WrongUse
from ingest._core.roster import NOBODY
from ingest._core.study import Study
from ingest.lake.store import MANIFESTS, STATES, manifests, part_path, participants, stretches
from ingest.mart.rebuild import mart_states

_PARTITION = "participant_id"
_MANIFEST, _STATE, _FILES = "export_manifest", "mart_state", "committed_file"
_COMMITTED = "_committed"


@dataclass(frozen=True)
class Dialect:
    """How an engine writes DDL: its types, the marks around its names, and what a table says of its files."""

    types: dict[str, str]
    mark: str
    view_mark: str
    escape: str
    create: str
    head: str


_SPARK = Dialect(
    {"string": "STRING", "number": "DOUBLE", "integer": "BIGINT", "boolean": "BOOLEAN", "date": "DATE",
     "instant": "TIMESTAMP", "clock": "TIMESTAMP_NTZ"}, "`", "`", "\\'", "CREATE TABLE IF NOT EXISTS",
    "-- Spark SQL. Instants are shown in spark.sql.session.timeZone, which should be UTC.",
)  # fmt: skip
_TRINO = Dialect(
    {"string": "varchar", "number": "double", "integer": "bigint", "boolean": "boolean", "date": "date",
     "instant": "timestamp(6)", "clock": "timestamp(6)"}, '"', '"', "''", "CREATE TABLE IF NOT EXISTS",
    "-- Trino's Hive connector, in the session's catalog, with hive.timestamp-precision=MICROSECONDS. Instants are in "
    "UTC.",
)  # fmt: skip
_ATHENA = Dialect(
    {"string": "string", "number": "double", "integer": "bigint", "boolean": "boolean", "date": "date",
     "instant": "timestamp", "clock": "timestamp"}, "`", '"', "\\'", "CREATE EXTERNAL TABLE IF NOT EXISTS",
    "-- Athena, engine version 3; each statement by itself. Instants are in UTC, to the millisecond.",
)  # fmt: skip
DIALECTS = {"spark": _SPARK, "trino": _TRINO, "athena": _ATHENA}


def ddl(engine: str, location: str, database: str) -> list[str]:
    """Statements that make the lake's tables known to an engine; `location` is the lake's URL.

    Columns are those of `schemas/`, with their texts, the partition last. `<table>_committed` are views of the rows
    that manifests and states name, with columns in the order of `schemas/`. Raises WrongUse for an unknown engine.
    """
    if engine not in DIALECTS:
        raise WrongUse(f"--for: expected one of {', '.join(DIALECTS)}")
    return list(_Ddl(engine, location.rstrip("/"), database).statements())


def rendered(engine: str, location: str, database: str) -> str:
    """`ddl` as a script."""
    return f"{DIALECTS.get(engine, _SPARK).head}\n\n" + "".join(
        f"{each};\n\n" for each in ddl(engine, location, database)
    )


def location_of(study: Study) -> str:
    """The URL of a study's lake."""
    return study.lake.absolute().as_uri() if isinstance(study.lake, Path) else study.lake.url


def committed_files(study: Study) -> str:
    """CSV of what is committed: table, participant_id, source_file_id (empty for marts), file below the lake.

    Of a table of records, a row counts where its source_file_id and the file it stands in are a line of it.
    """
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["table", "participant_id", "source_file_id", "file"])
    root = f"{study.lake}/"
    of = [each for person in participants(study.lake) for each in manifests(study.lake, person)]
    states = sorted(mart_states(study.lake))
    for table in sorted((*tables(LAKE), *tables(MART))):
        if table in tables(MART):
            found = {(person, "", str(part_path(study.lake, table, person))) for person in states}
        else:
            found = {(each.participant_id, each.source_file_id, str(part.path)) for each in of if table in each.files
                     for part in stretches(study.lake, table, each)}  # fmt: skip
        lines.writerows([table, person, export, path.removeprefix(root)] for person, export, path in sorted(found))
    return out.getvalue()


class _Ddl:
    def __init__(self, engine: str, location: str, database: str) -> None:
        self._engine, self._location, self._database = engine, location, database
        self._as = DIALECTS[engine]

    def statements(self) -> Iterator[str]:
        yield self._make_database()
        known = sorted((*tables(LAKE), *tables(MART)))
        for table in known:
            yield self._table(table)
            yield self._find_partitions(table)
        yield self._json(_MANIFEST, MANIFESTS, self._manifest_columns(), "Manifests: what commits an export's rows.")
        string = self._as.types["string"]
        yield self._json(_STATE, STATES, [("participant_id", string), ("mart_hash", string)],
                         "States: what commits a participant's marts.")  # fmt: skip
        yield self._committed_file()
        for table in known:
            yield self._committed(table)

    def _make_database(self) -> str:
        if self._engine == "trino":
            return f"CREATE SCHEMA IF NOT EXISTS {self._quoted(self._database)}"
        return f"CREATE DATABASE IF NOT EXISTS {self._quoted(self._database)}"

    def _table(self, table: str) -> str:
        of = fields(table, LAKE)
        partition = [each for each in of if each["name"] == _PARTITION]
        columns = [self._column(each) for each in of if each["name"] != _PARTITION]
        text = self._literal(str(schemas()[table]["description"]))
        place = self._literal(f"{self._location}/{table}")
        if self._engine == "athena":
            return (f"{self._begin(table, columns)} COMMENT {text}\nPARTITIONED BY ({self._column(partition[0])})\n"
                    f"STORED AS PARQUET\nLOCATION {self._literal(f'{self._location}/{table}/')}")  # fmt: skip
        begun = self._begin(table, [*columns, self._column(partition[0])])
        if self._engine == "spark":
            by = f"PARTITIONED BY ({self._quoted(_PARTITION)})"
            return f"{begun} USING PARQUET\n{by}\nCOMMENT {text}\nLOCATION {place}"
        return (f"{begun} COMMENT {text}\nWITH (external_location = {place}, format = 'PARQUET', "
                f"partitioned_by = ARRAY['{_PARTITION}'])")  # fmt: skip

    def _find_partitions(self, table: str) -> str:
        if self._engine == "trino":
            names = ", ".join(self._literal(name) for name in (self._database, table, "FULL"))
            return f"CALL system.sync_partition_metadata({names})"
        return f"MSCK REPAIR TABLE {self._name(table)}"

    def _json(self, table: str, folder: str, columns: list[tuple[str, str]], text: str) -> str:
        begun = self._begin(table, [f"{self._quoted(name)} {of}" for name, of in columns])
        place = f"{self._location}/{folder}"
        if self._engine == "athena":
            return (f"{begun} COMMENT {self._literal(text)}\nROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'\n"
                    f"LOCATION {self._literal(f'{place}/')}")  # fmt: skip
        if self._engine == "spark":
            return (f"{begun} USING JSON\nOPTIONS (path {self._literal(place)}, recursiveFileLookup 'true')\n"
                    f"COMMENT {self._literal(text)}")  # fmt: skip
        return (f"{begun} COMMENT {self._literal(text)}\n"
                f"WITH (external_location = {self._literal(place)}, format = 'JSON')")  # fmt: skip

    def _manifest_columns(self) -> list[tuple[str, str]]:
        string = self._as.types["string"]
        names = ("source_file_id", "participant_id", "inputs_hash")
        if self._engine == "trino":
            files, packed = (f"map({string}, row(sha256 {string}))", f"map({string}, array(row(file {string})))")
            whole = f"row({', '.join(f'{name} {string}' for name in names)}, files {files})"
        else:
            files = f"map<{string}, struct<sha256: {string}>>"
            packed = f"map<{string}, array<struct<file: {string}>>>"
            whole = f"struct<{', '.join(f'{name}: {string}' for name in names)}, files: {files}>"
        return [*((name, string) for name in names), ("files", files), ("manifest", whole), ("packed", packed)]

    def _committed_file(self) -> str:
        names = ("source_file_id", "participant_id", "inputs_hash", "files")
        either = ", ".join(f"coalesce(m.manifest.{name}, m.{name}) AS {name}" for name in names)
        whole = "concat(e.source_file_id, '.', e.inputs_hash, '.parquet')"
        if self._engine == "spark":
            each = ("LATERAL VIEW explode(map_keys(e.files)) t AS table_name\n"
                    "LATERAL VIEW OUTER explode(e.packed[table_name]) p AS part")  # fmt: skip
            file = f"coalesce(part.file, {whole})"
        else:
            each = ("CROSS JOIN UNNEST(map_keys(e.files)) AS t (table_name)\n"
                    "LEFT JOIN UNNEST(element_at(e.packed, table_name)) AS p (packed_file) ON TRUE")  # fmt: skip
            file = f"coalesce(packed_file, {whole})"
        select = f"SELECT DISTINCT table_name, e.participant_id, e.source_file_id, {file} AS file_name\n"
        of = f"(SELECT {either}, m.packed FROM {self._in_view(_MANIFEST)} m) e"  # noqa: S608 - names of this module
        return self._view(_FILES, f"{select}FROM {of}\n{each}")

    def _committed(self, table: str) -> str:
        columns = ", ".join(f"t.{self._in_view_quoted(each['name'])}" for each in fields(table, LAKE))
        whole = self._in_view(table)
        if table in tables(MART):
            select = f"SELECT {columns} FROM {whole} t\n"  # noqa: S608 - names of schemas/
            known = f"SELECT participant_id FROM {self._in_view(_STATE)}"  # noqa: S608 - as above
            return self._view(f"{table}{_COMMITTED}", f"{select}WHERE t.participant_id IN ({known})")
        file = "_metadata.file_name" if self._engine == "spark" else "regexp_extract(\"$path\", '[^/]+$')"
        select = f"SELECT {columns} FROM (SELECT *, {file} AS in_file FROM {whole}) t\n"  # noqa: S608 - as above
        known = (f"SELECT f.participant_id, f.source_file_id, f.file_name FROM {self._in_view(_FILES)} f "  # noqa: S608 - as above
                 f"WHERE f.table_name = '{table}'")  # fmt: skip
        nobody = f" OR t.participant_id = '{NOBODY}'" if table == "quarantine" else ""
        where = f"WHERE (t.participant_id, t.source_file_id, t.in_file) IN ({known}){nobody}"
        return self._view(f"{table}{_COMMITTED}", select + where)

    def _begin(self, table: str, columns: list[str]) -> str:
        return f"{self._as.create} {self._name(table)} (\n  " + ",\n  ".join(columns) + "\n)"

    def _view(self, name: str, select: str) -> str:
        return f"CREATE OR REPLACE VIEW {self._in_view(name)} AS\n{select}"

    def _column(self, field: dict[str, Any]) -> str:
        unit = f" Unit: {field['unit']}." if "unit" in field else ""
        text = self._literal(f"{field['description']}{unit}")
        return f"{self._quoted(field['name'])} {self._as.types[kind(field)]} COMMENT {text}"

    def _name(self, table: str) -> str:
        return f"{self._quoted(self._database)}.{self._quoted(table)}"

    def _in_view(self, name: str) -> str:
        return f"{self._in_view_quoted(self._database)}.{self._in_view_quoted(name)}"

    def _quoted(self, name: str) -> str:
        return self._as.mark + name.replace(self._as.mark, self._as.mark * 2) + self._as.mark

    def _in_view_quoted(self, name: str) -> str:
        return self._as.view_mark + name.replace(self._as.view_mark, self._as.view_mark * 2) + self._as.view_mark

    def _literal(self, text: str) -> str:
        plain = text.replace("\\", "\\\\") if self._as.escape == "\\'" else text
        return "'" + plain.replace("'", self._as.escape) + "'"
