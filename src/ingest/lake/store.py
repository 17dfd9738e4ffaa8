"""Immutable Parquet and the manifest that commits it. What has no manifest does not exist."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ingest._core.contract import LAKE, arrow_schema, tables
from ingest._core.errors import Terminal
from ingest._core.files import digest, inside, remove, write_bytes

MANIFESTS = "_manifest"
_JSON = msgspec.json.Encoder(order="sorted")


class TableFile(msgspec.Struct, frozen=True):
    """One Parquet file of an export."""

    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """The commit of one export for one participant.

    `counts` reconciles: read = kept + duplicate + ignored + quarantined; None for a refused export. `ignored`
    gives the reasons, `classes` what else the export held. `members` are the SHA-256 of its files, sorted.
    `covers` is the first and last local date of its records. `rows_hash` is that of a study-wide log's rows for
    this participant. `reason` says why an export was refused.
    """

    source_file_id: str
    participant_id: str
    source: str
    format: str
    decoder_version: str
    arrived_at: str
    exported_at: str
    status: str
    inputs_hash: str
    counts: dict[str, int] | None = None
    ignored: dict[str, int] = {}
    classes: dict[str, int] = {}
    files: dict[str, TableFile] = {}
    members: list[str] = []
    covers: list[str] | None = None
    rows_hash: str | None = None
    reason: str | None = None


class Commit(msgspec.Struct, frozen=True):
    """What of a manifest tells whether anything changed; reading no more takes a part of the time."""

    source_file_id: str
    inputs_hash: str
    status: str


_DECODER = msgspec.json.Decoder(Manifest)
_COMMIT_DECODER = msgspec.json.Decoder(Commit)


def participants(lake: Path) -> list[str]:
    """Every participant_id with a manifest, `_study` included, sorted."""
    folder = lake / MANIFESTS
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(name.removeprefix("participant_id=") for name in names if not name.startswith("."))


def manifests(lake: Path, participant_id: str) -> list[Manifest]:
    """A participant's manifests, oldest export first; raises Terminal where one is damaged."""
    found = _read_each(_manifest_files(lake, participant_id), _DECODER)
    return sorted(found, key=lambda m: (m.exported_at, m.source_file_id))


def manifest(lake: Path, participant_id: str, source_file_id: str) -> Manifest | None:
    """One manifest, or None."""
    path = manifest_path(lake, participant_id, source_file_id)
    return _read(str(path), _DECODER) if path.exists() else None


def commits(lake: Path, participant_id: str) -> list[Commit]:
    """A participant's manifests in short, by source_file_id; raises Terminal where one is damaged."""
    return list(_read_each(_manifest_files(lake, participant_id), _COMMIT_DECODER))


def commit_names(of: Iterable[Manifest | Commit]) -> list[str]:
    """`<source_file_id>.<inputs_hash>.<status>` of each, sorted: other names where an export differs."""
    return sorted(f"{each.source_file_id}.{each.inputs_hash}.{each.status}" for each in of)


def manifest_path(lake: Path, participant_id: str, source_file_id: str) -> Path:
    """Where an export's manifest stands."""
    return inside(lake, MANIFESTS, _manifest_name(participant_id), f"{source_file_id}.json")


def parquet_path(lake: Path, table: str, participant_id: str, of: Manifest) -> Path:
    """Where an export's rows of a table stand."""
    name = f"{of.source_file_id}.{of.inputs_hash}.parquet"
    return inside(lake, table, f"participant_id={participant_id}", name)


def commit(lake: Path, of: Manifest, rows: Mapping[str, pa.Table]) -> Manifest:
    """Write the tables, then the manifest; returns it with the files' hashes. Tables without rows have no file.

    Files of an earlier manifest of the same export go once the new one stands.
    """
    return commit_files(lake, of, {table: to_parquet(found) for table, found in rows.items() if len(found)})


def commit_files(lake: Path, of: Manifest, parquet: Mapping[str, bytes]) -> Manifest:
    """As `commit`, of tables that are Parquet already."""
    before = manifest(lake, of.participant_id, of.source_file_id)
    files = {}
    for table, data in sorted(parquet.items()):
        write_bytes(parquet_path(lake, table, of.participant_id, of), data)
        files[table] = TableFile(pq.read_metadata(pa.BufferReader(data)).num_rows, sha256(data).hexdigest())
    after = msgspec.structs.replace(of, files=files)
    write_bytes(manifest_path(lake, of.participant_id, of.source_file_id), _JSON.encode(after))
    if before is not None:
        for table in before.files:
            old = parquet_path(lake, table, of.participant_id, before)
            if before.inputs_hash != after.inputs_hash or table not in files:
                remove(old)
    return after


def retire(lake: Path, of: Manifest) -> None:
    """Take an export out of the lake: its manifest first, so that its files no longer exist."""
    remove(manifest_path(lake, of.participant_id, of.source_file_id))
    for table in of.files:
        remove(parquet_path(lake, table, of.participant_id, of))


_DIFFERENT_IN_EACH_ROW = {"use_id", "diary_id", "response_id", "content_hash"}


def to_parquet(table: pa.Table) -> bytes:
    """The table as Parquet, zstd; the same rows give the same bytes. Text that comes as a dictionary is read as text.

    Instants, dates and whole numbers are stored as differences, a fifth of their size; a dictionary of them, or of
    ids that each row has of its own, would only cost time. So would the least and greatest text of a column.
    """
    differences = [field.name for field in table.schema if _steps(field.type)]
    texts = [field.name for field in table.schema if _is_text(field.type)]
    others = [name for name in table.column_names if name not in {*differences, *_DIFFERENT_IN_EACH_ROW}]
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=others, store_schema=False,
                   write_statistics=[name for name in table.column_names if name not in texts],
                   column_encoding=dict.fromkeys(differences, "DELTA_BINARY_PACKED"))  # fmt: skip
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _steps(of: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(of) or pa.types.is_date(of) or pa.types.is_integer(of))


def _is_text(of: pa.DataType) -> bool:
    return bool(pa.types.is_string(of) or pa.types.is_dictionary(of))


def columns_hash(parquet: bytes, without: Collection[str]) -> str:
    """Hash of the columns of a table that to_parquet gave, some left out: the same for the same rows."""
    found: list[str | bytes] = []
    metadata = pq.read_metadata(pa.BufferReader(parquet))
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            if chunk.path_in_schema not in without:
                begin = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
                found += [chunk.path_in_schema, parquet[begin : begin + chunk.total_compressed_size]]
    return digest(*found)


def read(lake: Path, table: str, of: Iterable[Manifest]) -> pa.Table:
    """All rows of a lake table that the manifests name, in the order given, with the contract's schema.

    Raises Terminal where a file's bytes are not those its manifest names; `ingest verify` says which.
    """
    parts = [_read_file(lake, table, each) for each in of if table in each.files]
    return pa.concat_tables(parts) if parts else arrow_schema(table).empty_table()


def read_all(lake: Path, of: Sequence[Manifest]) -> dict[str, pa.Table]:
    """All lake tables of the manifests."""
    return {table: read(lake, table, of) for table in tables(LAKE)}


def _read_file(lake: Path, table: str, of: Manifest) -> pa.Table:
    path = parquet_path(lake, table, of.participant_id, of)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise _not_as_committed(table, of) from error
    if sha256(data).hexdigest() != of.files[table].sha256:
        raise _not_as_committed(table, of)
    return pq.ParquetFile(pa.BufferReader(data)).read()


def _not_as_committed(table: str, of: Manifest) -> Terminal:
    return Terminal(
        f"lake/{table} of export {of.source_file_id[:12]} is not what its manifest names; "
        "`ingest verify` lists such files, `ingest verify --repair` decodes them again from landing"
    )


_Read = TypeVar("_Read")


def _read(path: str, decoder: msgspec.json.Decoder[_Read]) -> _Read:
    try:
        with open(path, "rb", buffering=0) as stream:
            return decoder.decode(stream.read())
    except msgspec.DecodeError as error:
        name = os.path.basename(path)[:12]
        raise Terminal(f"lake/{MANIFESTS}: manifest {name} is damaged; remove it and run again") from error


def _read_each(paths: Iterable[str], decoder: msgspec.json.Decoder[_Read]) -> Iterator[_Read]:
    for path in paths:
        try:
            yield _read(path, decoder)
        except FileNotFoundError:
            continue  # Another run took the export out of the lake after it was listed.


def _manifest_files(lake: Path, participant_id: str) -> list[str]:
    """Paths as text: pathlib would cost more than reading what stands there."""
    return json_files(inside(lake, MANIFESTS, _manifest_name(participant_id)))


def json_files(folder: Path) -> list[str]:
    """Paths of the committed `*.json` of a folder, sorted; none where there is no such folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [f"{folder}/{name}" for name in sorted(names) if name.endswith(".json") and not name.startswith(".")]


def _manifest_name(participant_id: str) -> str:
    return participant_id if participant_id.startswith("_") else f"participant_id={participant_id}"


def part_path(lake: Path, table: str, participant_id: str) -> Path:
    """Where a mart table of one participant stands."""
    return inside(lake, table, f"participant_id={participant_id}", "part.parquet")


def read_part(lake: Path, table: str, participant_id: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A mart table of one participant (some `columns` of it), as last written; empty where there is none."""
    try:
        data = part_path(lake, table, participant_id).read_bytes()
    except FileNotFoundError:
        empty = arrow_schema(table).empty_table()
        return empty if columns is None else empty.select(columns)
    return pq.ParquetFile(pa.BufferReader(data)).read(columns)


def write_part(lake: Path, table: str, participant_id: str, rows: pa.Table) -> None:
    """A mart table of one participant, atomically."""
    path = part_path(lake, table, participant_id)
    data = to_parquet(rows)
    if not path.exists() or path.read_bytes() != data:
        write_bytes(path, data)
