"""Immutable Parquet and the manifest that commits it. What has no manifest does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.contract import LAKE, arrow_schema, tables
from ingest._core.errors import Terminal
from ingest._core.object_files import Version
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


class Piece(msgspec.Struct, frozen=True):
    """Rows of an export in a packed file: `rows` of its `of_rows`, from row `at` on."""

    file: str
    sha256: str
    at: int
    rows: int
    of_rows: int


class Manifest(msgspec.Struct, frozen=True):
    """The commit of one export for one participant.

    `counts` reconciles: read = kept + duplicate + ignored + quarantined; None for a refused export. `ignored`
    gives the reasons, `classes` what else the export held. `members` are the SHA-256 of its files, sorted.
    `covers` is the first and last local date of its records. `rows_hash` is that of a study-wide log's rows for
    this participant. `reason` says why an export was refused. `packed` gives, of tables whose rows stand in packed
    files, these rows in their order; `files` tells the file they were decoded to.
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
    packed: dict[str, list[Piece]] | msgspec.UnsetType = msgspec.UNSET


class PackedFile(msgspec.Struct, frozen=True):
    """Of a `Piece` the file's name."""

    file: str


class Commit(msgspec.Struct, frozen=True):
    """What of a manifest tells whether anything changed; reading no more takes a part of the time."""

    source_file_id: str
    inputs_hash: str
    status: str
    packed: dict[str, list[PackedFile]] = {}


class _PackedManifest(msgspec.Struct, frozen=True):
    """A manifest as it was, and where its rows went. A program that knows of no packed files takes it for damaged,
    and so never for one whose files may be swept.
    """

    manifest: Manifest
    packed: dict[str, list[Piece]]


class _PackedCommit(msgspec.Struct, frozen=True):
    manifest: Commit
    packed: dict[str, list[PackedFile]]


_PACKED = b'{"manifest":'
_DECODER = msgspec.json.Decoder(Manifest), msgspec.json.Decoder(_PackedManifest)
_COMMIT_DECODER = msgspec.json.Decoder(Commit), msgspec.json.Decoder(_PackedCommit)


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


def manifest_bytes(of: Manifest) -> bytes:
    """A manifest as it is written; the same gives the same bytes."""
    if not of.packed:
        return _JSON.encode(of)
    return _JSON.encode(_PackedManifest(msgspec.structs.replace(of, packed=msgspec.UNSET), of.packed))


def parquet_path(lake: Place, table: str, participant_id: str, of: Manifest) -> Place:
    """Where an export's rows of a table stand while they are not packed."""
    name = f"{of.source_file_id}.{of.inputs_hash}.parquet"
    return inside(lake, table, f"participant_id={participant_id}", name)


class Stretch(NamedTuple):
    """Rows of a file: `rows` from row `at` on; the file is the one of this hash."""

    path: Place
    sha256: str
    at: int
    rows: int


def stretches(lake: Place, table: str, of: Manifest) -> list[Stretch]:
    """Where an export's rows of a table that it has stand, in their order: a whole file, or parts of packed ones."""
    packed = of.packed.get(table) if of.packed else None
    if packed is None:
        whole = of.files[table]
        return [Stretch(parquet_path(lake, table, of.participant_id, of), whole.sha256, 0, whole.rows)]
    folder = table_folder(lake, table, of.participant_id)
    return [Stretch(folder / each.file, each.sha256, each.at, each.rows) for each in packed]


def table_folder(lake: Place, table: str, participant_id: str) -> Place:
    """Where the participant's files of a table stand."""
    return inside(lake, table, f"participant_id={participant_id}")


def commit(
    lake: Place, of: Manifest, rows: Mapping[str, pa.Table], plain: Mapping[str, bytes] | None = None
) -> Manifest:
    """Write the tables, then the manifest; returns it with the files' hashes. Tables without rows have no file.

    `plain` is what `parquet.to_parquet` gives of them, where it is there already. Files of an earlier manifest of the
    same export go once the new one stands, packed ones where no other export has rows in them. A manifest
    whose files fit the new one already is replaced first: else files that are encrypted from now on would stand under
    the hash of what they were.
    """
    path = manifest_path(lake, of.participant_id, of.source_file_id)
    held = read_file(path)
    before = None if held.data is None else _decoded(of.source_file_id, held.data, _DECODER)
    paths = {table: parquet_path(lake, table, of.participant_id, of) for table in sorted(rows) if len(rows[table])}
    stands = _standing(lake, paths)
    data = {table: parquet.coded(lake, table, rows[table], stands.get(table), (plain or {}).get(table))
            for table in paths}  # fmt: skip
    files = {table: TableFile(len(rows[table]), parquet.named(rows[table], each)) for table, each in data.items()}
    after = msgspec.structs.replace(of, files=files, packed=msgspec.UNSET)
    changed = {paths[table]: each for table, each in data.items() if stands.get(table) != each}
    fits = all(table in stands and parquet.is_named(lake, table, stands[table], each.sha256)
               for table, each in files.items())  # fmt: skip
    _write(path, after, held, changed, manifest_first=before is not None and fits)
    if before is not None:
        _remove_files(lake, before, after)
    return after


def _write(path: Place, of: Manifest, held: Version, files: Mapping[Place, bytes], manifest_first: bool) -> None:
    if manifest_first:
        write(path, manifest_bytes(of), held)
    write_each(files)
    if not manifest_first:
        write(path, manifest_bytes(of), held)


def _standing(lake: Place, paths: Mapping[str, Place]) -> dict[str, bytes]:
    """What stands in a lake that is encrypted, by table: there it need not be what would be written, and still fit."""
    if not parquet.encrypts(lake):
        return {}
    found = zip(paths, read_each(list(paths.values())), strict=True)
    return {table: each.data for table, each in found if each.data is not None}


def settle(lake: Place, of: Manifest) -> int:
    """Have an export's own files be as the lake has them, encrypted or plain; returns how many were not.

    The manifest fits its files at every moment: a hash of rows, which it has first, or keeps until the end, fits both.
    Raises Terminal where a file is not the one that the manifest names.
    """
    path = manifest_path(lake, of.participant_id, of.source_file_id)
    held, on = read_file(path), parquet.encrypts(lake)
    own = [table for table in of.files if not (of.packed and table in of.packed)]
    paths = {table: parquet_path(lake, table, of.participant_id, of) for table in own}
    stands = dict(zip(own, read_each(list(paths.values())), strict=True))
    other = [table for table, each in stands.items() if each.data is not None and parquet.is_encrypted(each.data) != on]
    if not other and all(parquet.names_rows(of.files[table].sha256) == on for table in own):
        return 0
    rows = {table: open_files(lake, [(table, of, stretches(lake, table, of)[0])])[paths[table]] for table in own}
    data = {table: parquet.coded(lake, table, rows[table], stands[table].data) for table in own}
    files = {table: TableFile(len(rows[table]), parquet.named(rows[table], data[table])) for table in own}
    after = msgspec.structs.replace(of, files={**of.files, **files})
    _write(path, after, held, {paths[table]: data[table] for table in other}, manifest_first=on)
    return len(other)


def retire(lake: Place, of: Manifest) -> None:
    """Take an export out of the lake: its manifest first, so that its files no longer exist."""
    remove(manifest_path(lake, of.participant_id, of.source_file_id))
    _remove_files(lake, of)


def _remove_files(lake: Place, before: Manifest, after: Manifest | None = None) -> None:
    """Remove the files of a manifest that is no more, but those that another one names."""
    gone = _paths(lake, before) - (set() if after is None else _paths(lake, after))
    if gone and before.packed:
        gone -= {path for each in manifests(lake, before.participant_id) for path in _paths(lake, each)}
    remove(*sorted(gone, key=str))


def _paths(lake: Place, of: Manifest) -> set[Place]:
    return {each.path for table in of.files for each in stretches(lake, table, of)}


def read(lake: Place, table: str, of: Iterable[Manifest]) -> pa.Table:
    """All rows of a lake table that the manifests name, in the order given, with the contract's schema.

    Raises Terminal where a file's bytes are not those its manifest names; `ingest verify` says which.
    """
    return _read_tables(lake, [table], of)[table]


def read_all(lake: Place, of: Sequence[Manifest]) -> dict[str, pa.Table]:
    """All lake tables of the manifests."""
    return _read_tables(lake, tables(LAKE), of)


def _read_tables(lake: Place, wanted: Iterable[str], of: Iterable[Manifest]) -> dict[str, pa.Table]:
    """The tables, each from the files of all manifests that have one; where rows were packed meanwhile, from there."""
    names_, now = list(wanted), list(of)
    while True:
        try:
            return _read_now(lake, names_, now)
        except Terminal:
            later = [manifest(lake, each.participant_id, each.source_file_id) for each in now]
            if later == now or not _same_rows(now, later):
                raise
            now = [each for each in later if each is not None]


def _same_rows(of: Sequence[Manifest], later: Sequence[Manifest | None]) -> bool:
    return all(b is not None and (a.inputs_hash, a.files) == (b.inputs_hash, b.files)
               for a, b in zip(of, later, strict=True))  # fmt: skip


def _read_now(lake: Place, wanted: Sequence[str], of: Sequence[Manifest]) -> dict[str, pa.Table]:
    chosen = {table: [(each, part) for each in of if table in each.files for part in stretches(lake, table, each)]
              for table in wanted}  # fmt: skip
    opened = open_files(lake, [(table, each, part) for table, found in chosen.items() for each, part in found])
    return {table: _joined(table, [part for _, part in found], opened) for table, found in chosen.items()}


def open_files(lake: Place, wanted: Sequence[tuple[str, Manifest, Stretch]]) -> dict[Place, pa.Table]:
    """All rows of each of the files in which these stretches of tables of exports are; each is read once.

    Raises Terminal where a file is not the one that a manifest names.
    """
    files = {part.path: (table, each, part) for table, each, part in wanted}
    opened = {}
    for (path, (table, each, part)), came in zip(files.items(), read_each(list(files)), strict=True):
        rows = None if came.data is None else parquet.decoded_if_named(lake, table, came.data, part.sha256)
        if rows is None or len(rows) < part.at + part.rows:
            raise _not_as_committed(table, each)
        opened[path] = rows
    return opened


def _joined(table: str, parts: Sequence[Stretch], opened: Mapping[Place, pa.Table]) -> pa.Table:
    """The rows of the stretches; those that follow each other in a file are taken at once."""
    runs: list[Stretch] = []
    for part in parts:
        last = runs[-1] if runs else None
        if last is not None and (last.path, last.at + last.rows) == (part.path, part.at):
            runs[-1] = last._replace(rows=last.rows + part.rows)
        else:
            runs.append(part)
    found = [opened[run.path].slice(run.at, run.rows) for run in runs]
    return pa.concat_tables(found) if found else arrow_schema(table).empty_table()


def damaged(lake: Place, of: Sequence[Manifest]) -> list[tuple[str, Manifest]]:
    """Tables of exports whose file is missing or not the one named, or holds other exports' rows in their place."""
    files: dict[Place, list[tuple[str, Manifest, Stretch]]] = {}
    for each in of:
        for table in each.files:
            for part in stretches(lake, table, each):
                files.setdefault(part.path, []).append((table, each, part))
    found: dict[tuple[str, str], tuple[str, Manifest]] = {}
    for users, came in zip(files.values(), read_each(list(files)), strict=True):
        for table, each, _ in _wronged(lake, users, came.data):
            found[each.source_file_id, table] = (table, each)
    return list(found.values())


def _wronged(
    lake: Place, users: Sequence[tuple[str, Manifest, Stretch]], data: bytes | None
) -> Iterator[tuple[str, Manifest, Stretch]]:
    """Whose rows are not in a file that holds these bytes."""
    table = users[0][0]
    good = {named for named in {part.sha256 for _, _, part in users}
            if data is not None and parquet.is_named(lake, table, data, named)}  # fmt: skip
    ids = parquet.decoded(lake, table, data, ["source_file_id"])["source_file_id"] if good and data else None
    for each in users:
        _, of, part = each
        rows = None if ids is None or part.sha256 not in good else ids.slice(part.at, part.rows)
        if rows is None or len(rows) != part.rows or pc.unique(rows).to_pylist() != [of.source_file_id]:
            yield each


def _not_as_committed(table: str, of: Manifest) -> Terminal:
    return Terminal(
        f"lake/{table} of export {of.source_file_id[:12]} is not what its manifest names; "
        "`ingest verify` lists such files, `ingest verify --repair` decodes them again from landing"
    )


_Read = TypeVar("_Read", Manifest, Commit)


def _decoded(name: str, data: bytes, decoder: tuple[msgspec.json.Decoder[_Read], msgspec.json.Decoder[Any]]) -> _Read:
    try:
        if data.startswith(_PACKED):
            found = decoder[1].decode(data)
            whole: _Read = msgspec.structs.replace(found.manifest, packed=found.packed)
            return whole
        return decoder[0].decode(data)
    except msgspec.DecodeError as error:
        raise Terminal(f"lake/{MANIFESTS}: manifest {name[:12]} is damaged; remove it and run again") from error


def _read_each(
    lake: Place, participant_id: str, decoder: tuple[msgspec.json.Decoder[_Read], msgspec.json.Decoder[Any]]
) -> Iterator[_Read]:
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
    paths = {table: part_path(lake, table, participant_id) for table in rows}
    held = dict(zip(rows, read_each(list(paths.values())), strict=True))
    data = {table: parquet.coded(lake, table, each, held[table].data) for table, each in rows.items()}
    write_each({paths[table]: each for table, each in data.items() if held[table].data != each},
               {paths[table]: held[table] for table in data})  # fmt: skip
