"""Reading the warehouse: one statement in, a table, CSV, JSON or Parquet out."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import IO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest._core.errors import WrongUse
from ingest._core.study import Study
from ingest.publish.audit import audited
from ingest.publish.contents import relations
from ingest.publish.reading import BATCH_ROWS, opened

TABLE_ROWS = 40
CELL_WIDTH = 40


@dataclass(frozen=True)
class _Result:
    """Column names and types, and the rows in batches as they come.

    Numbers of PostgreSQL that have no fixed scale (`numeric`) are texts; `numeric` names their columns.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    numeric: frozenset[str] = frozenset()


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
    tables, people, named = _asked_for(sql)
    with audited(study, "query", people, tables=tables) as entry, opened(study) as reader:
        result = _plain(_Result(*reader.stream(sql)))
        entry.counts = {"rows": 0, **({"participants_named": named} if named else {})}
        _WRITERS[format](replace(result, batches=_counted(result.batches, entry.counts)), stream)


def _asked_for(sql: str) -> tuple[list[str], list[str], int]:
    """What the audit says of a statement: the tables and views it names, and how many participants; never its text,
    in which anything may stand.
    """
    words = set(re.findall(r"\w+", sql.lower()))
    people = sorted(word for word in words if re.fullmatch("p[0-9a-f]{20}", word))
    return sorted(words & set(relations())), people, len(people)


def _counted(batches: Iterator[pa.RecordBatch], counts: dict[str, int]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        counts["rows"] += batch.num_rows
        yield batch


def answer(study: Study, sql: str) -> pa.Table:
    """What one reading statement gives, with the types that Parquet has; raises WrongUse as `query` does."""
    with opened(study) as reader:
        result = _plain(_Result(*reader.stream(sql)))
        _refuse_twins(result.schema.names)
        return pa.Table.from_batches(result.batches, result.schema).cast(_with_doubles(result))


def _plain(result: _Result) -> _Result:
    """The result with its intervals as text, which neither JSON nor Parquet can hold, and without an engine's own
    types and notes.
    """
    numeric = frozenset(each.name for each in result.schema if getattr(each.type, "type_name", "") == "numeric")
    schema = pa.schema([pa.field(each.name, _plain_type(each.type)) for each in result.schema])
    return _Result(schema, (_plain_batch(batch, schema) for batch in result.batches), numeric)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    return pa.string() if pa.types.is_interval(kind) else kind


def _plain_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for column, kind in zip(batch.columns, schema.types, strict=True):
        if pa.types.is_interval(column.type):
            columns.append(pa.array(map(_duration, column.to_pylist()), pa.string()))
        elif isinstance(column.type, pa.BaseExtensionType):
            columns.append(column.storage)
        else:
            columns.append(column.cast(kind))
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
            justify="right" if _is_number(field.type) or field.name in result.numeric else "left",
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
    texts = iso_texts(column) if types.is_timestamp(kind) else column.cast(pa.string())
    return list(texts.to_pylist())


def iso_texts(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Time stamps as text: ISO 8601, an instant with Z at its end, fractions of a second only where there are any."""
    texts = pc.replace_substring(column.cast(pa.string()), " ", "T")
    return pc.replace_substring_regex(texts, r"\.0+(Z?)$", r"\1")


def _write_json(result: _Result, stream: IO[bytes]) -> None:
    _refuse_twins(result.schema.names)
    before = b"[\n"
    for batch in result.batches:
        for row in batch.to_pylist():
            for name in result.numeric:
                row[name] = None if row[name] is None else Decimal(row[name])
            stream.write(before + _ENCODER.encode(row))
            before = b",\n"
    stream.write(b"[]\n" if before == b"[\n" else b"\n]\n")


_ENCODER = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def _write_parquet(result: _Result, stream: IO[bytes]) -> None:
    _refuse_twins(result.schema.names)
    if stream.isatty():
        raise WrongUse("Parquet is no text; send it to a file: --format parquet > nights.parquet")
    schema = _with_doubles(result)
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for rows in even(result.schema, result.batches, BATCH_ROWS):
            writer.write_table(rows.cast(schema))


def _with_doubles(result: _Result) -> pa.Schema:
    return pa.schema([pa.field(of.name, pa.float64()) if of.name in result.numeric else of for of in result.schema])


def even(schema: pa.Schema, batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """The rows in tables of `size`, however an engine cut them, so that the same rows are the same file."""
    waiting = pa.Table.from_batches([], schema)
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
        while len(waiting) >= size:
            yield waiting.slice(0, size).combine_chunks()
            waiting = waiting.slice(size)
    if len(waiting):
        yield waiting.combine_chunks()


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
