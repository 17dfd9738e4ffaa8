"""Immutable Parquet and the manifest that commits it. What has no manifest does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec
import pyarrow as pa

from ingest._core.contract import LAKE, arrow_schema, tables
from ingest._core.errors import Terminal
from ingest._core.places import Place, committed, committed_below, inside, names, read_each, remove, write, write_each
from ingest._core.places import read as read_file
from ingest.lake import parquet

MANIFESTS = "_manifest"
STATES = "_mart"
_PERSON = "participant_id="
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


def participants(lake: Place) -> list[str]:
    """Every participant_id with a manifest, `_study` included, sorted."""
    return sorted(name.removeprefix(_PERSON) for name in names(lake / MANIFESTS))


def manifests(lake: Place, participant_id: str) -> list[Manifest]:
    """A participant's manifests, oldest export first; raises Terminal where one is damaged."""
    found = _read_each(lake, participant_id, _DECODER)
    return sorted(found, key=lambda m: (m.exported_at, m.source_file_id))


def manifest(lake: Place, participant_id: str, source_file_id: str) -> Manifest | None:
    """One manifest, or None."""
    data = read_file(manifest_path(lake, participant_id, source_file_id)).data
    return None if data is None else _decoded(source_file_id, data, _DECODER)


def commits(lake: Place, participant_id: str) -> list[Commit]:
    """A participant's manifests in short, by source_file_id; raises Terminal where one is damaged."""
    return list(_read_each(lake, participant_id, _COMMIT_DECODER))


def every_commit(lake: Place) -> Iterator[tuple[str, list[Commit]]]:
    """`commits` of everybody who has some, by participant_id; raises Terminal where one is damaged."""
    for name, found in committed_below(lake / MANIFESTS):
        yield name.removeprefix(_PERSON), [_decoded(name, data, _COMMIT_DECODER) for data in found]


def commit_names(of: Iterable[Manifest | Commit]) -> list[str]:
    """`<source_file_id>.<inputs_hash>.<status>` of each, sorted: other names where an export differs."""
    return sorted(f"{each.source_file_id}.{each.inputs_hash}.{each.status}" for each in of)


def manifest_path(lake: Place, participant_id: str, source_file_id: str) -> Place:
    """Where an export's manifest stands."""
    return inside(lake, MANIFESTS, _manifest_name(participant_id), f"{source_file_id}.json")


def parquet_path(lake: Place, table: str, participant_id: str, of: Manifest) -> Place:
    """Where an export's rows of a table stand."""
    name = f"{of.source_file_id}.{of.inputs_hash}.parquet"
    return inside(lake, table, f"participant_id={participant_id}", name)


def commit(
    lake: Place, of: Manifest, rows: Mapping[str, pa.Table], plain: Mapping[str, bytes] | None = None
) -> Manifest:
    """Write the tables, then the manifest; returns it with the files' hashes. Tables without rows have no file.

    `plain` is what `parquet.to_parquet` gives of them, where it is there already. Files of an earlier manifest of the
    same export go once the new one stands.
    """
    path = manifest_path(lake, of.participant_id, of.source_file_id)
    held = read_file(path)
    data = {table: parquet.coded(lake, table, found, (plain or {}).get(table))
            for table, found in sorted(rows.items()) if len(found)}  # fmt: skip
    write_each({parquet_path(lake, table, of.participant_id, of): each for table, each in data.items()})
    files = {table: TableFile(len(rows[table]), parquet.hash_of(lake, table, each)) for table, each in data.items()}
    after = msgspec.structs.replace(of, files=files)
    write(path, _JSON.encode(after), held)
    if held.data is not None:
        before = _decoded(of.source_file_id, held.data, _DECODER)
        remove(*(parquet_path(lake, table, of.participant_id, before) for table in before.files
                 if before.inputs_hash != after.inputs_hash or table not in files))  # fmt: skip
    return after


def retire(lake: Place, of: Manifest) -> None:
    """Take an export out of the lake: its manifest first, so that its files no longer exist."""
    remove(manifest_path(lake, of.participant_id, of.source_file_id))
    remove(*(parquet_path(lake, table, of.participant_id, of) for table in of.files))


def read(lake: Place, table: str, of: Iterable[Manifest]) -> pa.Table:
    """All rows of a lake table that the manifests name, in the order given, with the contract's schema.

    Raises Terminal where a file's bytes are not those its manifest names; `ingest verify` says which.
    """
    return _read_tables(lake, [table], of)[table]


def read_all(lake: Place, of: Sequence[Manifest]) -> dict[str, pa.Table]:
    """All lake tables of the manifests."""
    return _read_tables(lake, tables(LAKE), of)


def _read_tables(lake: Place, wanted: Iterable[str], of: Iterable[Manifest]) -> dict[str, pa.Table]:
    """The tables, each from the files of all manifests that have one."""
    found: dict[str, list[pa.Table]] = {table: [] for table in wanted}
    files = [(table, each) for each in of for table in found if table in each.files]
    paths = [parquet_path(lake, table, each.participant_id, each) for table, each in files]
    for (table, each), came in zip(files, read_each(paths), strict=True):
        found[table].append(_opened(lake, table, each, came.data))
    return {table: pa.concat_tables(parts) if parts else arrow_schema(table).empty_table()
            for table, parts in found.items()}  # fmt: skip


def _opened(lake: Place, table: str, of: Manifest, data: bytes | None) -> pa.Table:
    rows = None if data is None else parquet.decoded_if_named(lake, table, data, of.files[table].sha256)
    if rows is None:
        raise _not_as_committed(table, of)
    return rows


def _not_as_committed(table: str, of: Manifest) -> Terminal:
    return Terminal(
        f"lake/{table} of export {of.source_file_id[:12]} is not what its manifest names; "
        "`ingest verify` lists such files, `ingest verify --repair` decodes them again from landing"
    )


_Read = TypeVar("_Read")


def _decoded(name: str, data: bytes, decoder: msgspec.json.Decoder[_Read]) -> _Read:
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Terminal(f"lake/{MANIFESTS}: manifest {name[:12]} is damaged; remove it and run again") from error


def _read_each(lake: Place, participant_id: str, decoder: msgspec.json.Decoder[_Read]) -> Iterator[_Read]:
    for name, data in committed(inside(lake, MANIFESTS, _manifest_name(participant_id))):
        yield _decoded(name, data, decoder)


def _manifest_name(participant_id: str) -> str:
    return participant_id if participant_id.startswith("_") else f"participant_id={participant_id}"


def part_path(lake: Place, table: str, participant_id: str) -> Place:
    """Where a mart table of one participant stands."""
    return inside(lake, table, f"participant_id={participant_id}", "part.parquet")


def read_part(lake: Place, table: str, participant_id: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A mart table of one participant (some `columns` of it), as last written; empty where there is none."""
    data = read_file(part_path(lake, table, participant_id)).data
    if data is None:
        empty = arrow_schema(table).empty_table()
        return empty if columns is None else empty.select(columns)
    return parquet.decoded(lake, table, data, columns)


def write_part(lake: Place, table: str, participant_id: str, rows: pa.Table) -> None:
    """A mart table of one participant, atomically."""
    write_parts(lake, participant_id, {table: rows})


def write_parts(lake: Place, participant_id: str, rows: Mapping[str, pa.Table]) -> None:
    """Mart tables of one participant, each atomically; what stands there with the same bytes is left."""
    data = {part_path(lake, table, participant_id): (table, parquet.coded(lake, table, each))
            for table, each in rows.items()}  # fmt: skip
    held = dict(zip(data, read_each(list(data)), strict=True))
    write_each({path: each for path, (table, each) in data.items()
                if not parquet.same(lake, table, held[path].data, each)}, held)  # fmt: skip
