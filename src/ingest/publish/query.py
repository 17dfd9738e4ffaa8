"""Reading the warehouse: one statement in, a table, CSV, JSON or Parquet out."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest._core.errors import IngestError, Terminal, Transient, WrongUse
from ingest._core.study import Study

TABLE_ROWS = 40
CELL_WIDTH = 40
_DAMAGED = "the warehouse is damaged; remove its file, `ingest run` makes it again"
_BATCH_ROWS = 20_000
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


@dataclass(frozen=True)
class _Result:
    """Column names and types, and the rows in batches as they come."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def query(study: Study, sql: str, format: str, stream: IO[bytes]) -> None:
    """Run one reading statement on the study's warehouse and write its rows to `stream`, in UTF-8.

    `format` is `table` (the first 40 rows, cut to the terminal), `csv`, `json` (a list, an object a line)
    or `parquet`. Instants end in Z, local clocks do not; intervals are ISO 8601 durations; NULL is empty in
    CSV, null in JSON, where NaN and infinity are null too.
    Raises WrongUse for a statement that is wrong, writes, or reads outside the warehouse, and passes on what
    `stream` raises.
    """
    if format not in _WRITERS:
        raise WrongUse(f"a result can be had as {', '.join(_WRITERS)}")
    with opened(study.warehouse) as connection:
        _check(connection, sql)
        try:
            reader = connection.execute(sql).to_arrow_reader(_BATCH_ROWS)
        except duckdb.Error as error:
            raise _failure(error) from None
        _WRITERS[format](_plain(_Result(reader.schema, _batches(reader))), stream)


@contextmanager
def opened(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse, read-only, in UTC, closed to files, network and other settings.

    Raises WrongUse where there is none, Transient where another program holds it for writing, Terminal where
    it is damaged.
    """
    if not warehouse.is_file():
        raise WrongUse("this study has no warehouse yet; `ingest run` makes it")
    try:
        connection = duckdb.connect(str(warehouse), read_only=True)
    except duckdb.Error as error:
        if "Could not set lock" in str(error):
            raise Transient("another program has the warehouse open for writing; close it there") from None
        raise Terminal(_DAMAGED) from None
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise _failure(error) from None
    if not statements:
        raise WrongUse('no statement was given; try "SELECT * FROM night LIMIT 5"')
    # A PIVOT becomes several statements, which have no text of their own.
    stated = [statement for statement in statements if statement.query.strip()]
    if len(stated) > 1:
        raise WrongUse("one statement at a time, please")
    for statement in stated:
        if statement.type not in _READING:
            raise WrongUse(f"`query` only reads, and this is {statement.type.name}; begin with SELECT")


def _failure(error: Exception) -> IngestError:
    message = str(error).split("\n\nLINE ")[0]
    words = " ".join(message.split())
    if isinstance(error, duckdb.FatalException | duckdb.InternalException) or words.startswith("IO Error"):
        return Terminal(_DAMAGED)
    if "disabled by configuration" in words:
        words += " (`query` reads nothing but the warehouse)"
    return WrongUse(words)


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (OSError, pa.ArrowInvalid) as error:
            # DuckDB's errors after the first rows come through Arrow.
            raise _failure(error) from None
        yield batch


def _plain(result: _Result) -> _Result:
    """The result with its intervals as text, which neither JSON nor Parquet can hold."""
    if not any(pa.types.is_interval(kind) for kind in result.schema.types):
        return result
    fields = [pa.field(each.name, pa.string()) if pa.types.is_interval(each.type) else each for each in result.schema]
    schema = pa.schema(fields)
    return _Result(schema, (_without_intervals(batch, schema) for batch in result.batches))


def _without_intervals(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.array(map(_duration, column.to_pylist()), pa.string()) if pa.types.is_interval(column.type) else column
        for column in batch.columns
    ]
    return pa.record_batch(columns, schema=schema)


def _duration(value: pa.MonthDayNano | None) -> str | None:
    if value is None:
        return None
    seconds = Decimal(value.nanoseconds).scaleb(-9).normalize()
    return f"P{value.months}M{value.days}DT{seconds:f}S"


def _write_table(result: _Result, stream: IO[bytes]) -> None:
    rows, more = _first_rows(result)
    width = shutil.get_terminal_size((100, 24)).columns
    columns = [_display(rows.column(i)) for i in range(rows.num_columns)]
    shown = _fitting(rows.column_names, columns, width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for field in list(rows.schema)[:shown]:
        table.add_column(
            Text(_printable(field.name)),
            justify="right" if _is_number(field.type) else "left",
            no_wrap=True,
            overflow="ellipsis",
            max_width=CELL_WIDTH,
        )
    for cells in zip(*columns[:shown], strict=True):
        table.add_row(*map(Text, cells))
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
        for note in _notes(rows, more, shown):
            console.print(note, markup=False, highlight=False)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    stream.write("".join(f"{line}\n" for line in lines if line).encode())


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _first_rows(result: _Result) -> tuple[pa.Table, bool]:
    taken, count = [], 0
    for batch in result.batches:
        taken.append(batch)
        count += batch.num_rows
        if count > TABLE_ROWS:
            break
    return pa.Table.from_batches(taken, result.schema).slice(0, TABLE_ROWS), count > TABLE_ROWS


def _notes(rows: pa.Table, more: bool, shown: int) -> list[str]:
    count = f"{rows.num_rows} row{'s' * (rows.num_rows != 1)}"
    notes = [f"first {count}; --format csv gives all" if more else count]
    left_out = rows.column_names[shown:]
    if left_out:
        notes.append(f"{len(left_out)} more columns: {', '.join(map(_printable, left_out))}")
    return notes


def _fitting(names: list[str], columns: list[list[str]], width: int) -> int:
    used = 0
    for i, (name, cells) in enumerate(zip(names, columns, strict=True)):
        used += min(CELL_WIDTH, max(map(cell_len, [name, *cells]))) + 3
        if used > width and i:
            return i
    return len(names)


def _display(column: pa.ChunkedArray) -> list[str]:
    if pa.types.is_floating(column.type):
        return ["" if value is None else _number(value) for value in column.to_pylist()]
    return ["" if text is None else _printable(text) for text in _texts(column)]


def _number(value: float) -> str:
    rounded = f"{value:.6g}"
    return repr(value) if "e" in rounded else rounded


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _write_csv(result: _Result, stream: IO[bytes]) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.schema.names)
    for batch in result.batches:
        writer.writerows(zip(*(_texts(column) for column in batch.columns), strict=True))
        stream.write(out.getvalue().encode())
        out.seek(0)
        out.truncate()
    stream.write(out.getvalue().encode())


def _texts(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    types, kind = pa.types, column.type
    if types.is_nested(kind) or types.is_binary(kind) or types.is_duration(kind):
        encoded = (None if value is None else _ENCODER.encode(value) for value in column.to_pylist())
        return [None if text is None else text.decode().strip('"') for text in encoded]
    texts = column.cast(pa.string())
    if types.is_timestamp(kind):
        texts = pc.replace_substring(texts, " ", "T")
        texts = pc.replace_substring_regex(texts, r"\.0+(Z?)$", r"\1")
    return list(texts.to_pylist())


def _write_json(result: _Result, stream: IO[bytes]) -> None:
    _refuse_twins(result.schema.names)
    before = b"[\n"
    for batch in result.batches:
        for row in batch.to_pylist():
            stream.write(before + _ENCODER.encode(row))
            before = b",\n"
    stream.write(b"[]\n" if before == b"[\n" else b"\n]\n")


_ENCODER = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def _write_parquet(result: _Result, stream: IO[bytes]) -> None:
    _refuse_twins(result.schema.names)
    if stream.isatty():
        raise WrongUse("Parquet is no text; send it to a file: --format parquet > nights.parquet")
    with pq.ParquetWriter(stream, result.schema, compression="zstd") as writer:
        for batch in result.batches:
            writer.write_batch(batch)


def _refuse_twins(names: list[str]) -> None:
    twins = sorted(name for name, count in Counter(names).items() if count > 1)
    if twins:
        raise WrongUse(f"more than one column is called {', '.join(twins)}; give them names with AS")


_WRITERS: dict[str, Callable[[_Result, IO[bytes]], None]] = {
    "table": _write_table,
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}
