"""The files of a release: each table as Parquet and as CSV, and the sums of all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ingest._core.files import sha256_of
from ingest.report.spreadsheet import as_text

SUMS = "SHA256SUMS"
_ONE_TIME_S = 315_532_800  # 1980-01-01, the first that a zip can hold
ROWS = 100_000
"""Rows of one row group."""


def write_table(folder: Path, table: str, schema: pa.Schema, pieces: Iterable[pa.Table]) -> tuple[int, set[str]]:
    """`parquet/<table>.parquet` and `csv/<table>.csv` below `folder`; returns how many rows, and the columns that may
    not be NULL and hold an empty text.

    `pieces` are of even size, so that the same rows are the same bytes.
    """
    rows, empty = 0, set()
    required = [field.name for field in schema if pa.types.is_string(field.type) and not field.nullable]
    texts = as_text(schema.empty_table()).schema
    for kind in ("parquet", "csv"):
        (folder / kind).mkdir(exist_ok=True)
    with (
        (folder / "parquet" / f"{table}.parquet").open("wb") as for_parquet,
        (folder / "csv" / f"{table}.csv").open("wb") as for_csv,
        pq.ParquetWriter(for_parquet, schema, compression="zstd") as parquet,
        pa.csv.CSVWriter(for_csv, texts) as csv,
    ):
        for piece in pieces:
            parquet.write_table(piece, row_group_size=ROWS)
            csv.write_table(as_text(piece))
            rows += piece.num_rows
            empty |= {name for name in required if pc.any(pc.equal(piece[name], "")).as_py()}
    return rows, empty


def write_sums(folder: Path) -> None:
    """SHA256SUMS of every file below `folder`, as sha256sum reads it."""
    lines = [f"{hexadecimal}  {name}\n" for name, hexadecimal in sums(folder).items() if name != SUMS]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def settle_times(folder: Path) -> None:
    """Give all files and folders below `folder` one time of change, so that it tells of no day."""
    for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
        os.utime(path, (_ONE_TIME_S, _ONE_TIME_S))


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by its path there, sorted."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            found[path.relative_to(folder).as_posix()] = sha256_of(stream)
    return dict(sorted(found.items()))
