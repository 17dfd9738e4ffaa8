"""Releases: a frozen set of tables to hand out, the same bytes for the same data, settings and program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest._core import contract
from ingest._core.contract import COHORT
from ingest._core.files import building, locked
from ingest._core.study import Study
from ingest.lake.cohort_store import COHORT_ID
from ingest.publish import contents, views
from ingest.publish.audit import audited
from ingest.publish.query import even
from ingest.publish.reading import Reader, opened
from ingest.publish.shape import clustered_key
from ingest.report._release_choice import (
    Chosen,
    check_name,
    chosen_people,
    chosen_tables,
    refuse_behind,
    stage,
)
from ingest.report._release_consents import CONSENTS, consents_csv
from ingest.report._release_disguise import Disguise, check_shown
from ingest.report._release_files import ROWS, settle_times, write_sums, write_table
from ingest.report._release_package import Contents, write_beside
from ingest.report._release_places import folder_for
from ingest.report._release_placing import STOOD, WAITS, built_in, placed


@dataclass(frozen=True)
class Released:
    """Where the release stands, rows by table, who was left out, whether it stood there already, and whether it waits
    for an approval.
    """

    folder: Path
    rows: dict[str, int]
    people: Chosen
    stood: bool
    waits: bool = False


def release(study: Study, name: str, tables: str | None = None, to: Path | None = None) -> Released:
    """Write the release `name` into `to` (`releases/` of the study), whole or not at all; where the study asks for an
    approval, to where it waits.

    `tables` are names separated by commas, `default` among them for those that are taken without it. A release of
    the same name and bytes is left as it is. Raises WrongUse for a name that cannot be, a table that is none, a
    warehouse behind the lake, and where a release of that name has other bytes; Transient where another process
    writes releases there or the storage refuses, and nothing is visible then.
    """
    check_name(name)
    chosen = chosen_tables(study, tables)
    folder = folder_for(study, to)
    built = built_in(study, folder)
    with (
        audited(study, "release", tables=chosen) as entry,
        locked(built / ".lock", "the folder of releases"),
        opened(study) as reader,
        building(built) as tmp,
    ):
        refuse_behind(study, reader, chosen)
        people = chosen_people(study, reader)
        disguise = Disguise(study, name, people.ids)
        check_shown(disguise, chosen)
        made = _write(study, reader, chosen, people, disguise, name, tmp)
        where, state = placed(study, tmp, folder, name, entry, people.ids)
        entry.counts = {"rows": sum(made.rows.values()), "participants": len(people.ids),
                        STOOD: int(state == STOOD), WAITS: int(state == WAITS)}  # fmt: skip
        return Released(where, made.rows, people, state == STOOD, state == WAITS)


def _write(
    study: Study, reader: Reader, tables: list[str], people: Chosen, disguise: Disguise, name: str, folder: Path
) -> Contents:
    fields, rows, empty = {}, {}, {}
    for table in tables:
        given = contents.fields(reader, study.settings, table)
        fields[table] = disguise.shown(table, given)
        schema = contract.arrow_schema_of(fields[table])
        pieces = _pieces(reader, table, given, people, disguise)
        rows[table], empty[table] = write_table(folder, table, schema, pieces)
    made = Contents(name, fields, rows, empty, people, _definitions(reader, people), _decoders(reader, people))
    write_beside(folder, study.settings, views.columns_of(study.settings, reader.rows), made)
    (folder / CONSENTS).write_text(consents_csv(study, disguise), encoding="utf-8", newline="")
    write_sums(folder)
    settle_times(folder)
    return made


def _pieces(
    reader: Reader, table: str, fields: list[contents.Field], people: Chosen, disguise: Disguise
) -> Iterator[pa.Table]:
    if stage(table) == COHORT:
        yield _cohort_rows(reader, table, fields, people, disguise)
        return
    schema, batches = contents.rows(reader, fields, table, disguise.ids)
    for piece in even(schema, batches, ROWS):
        yield disguise.apply(table, fields, piece)


def _cohort_rows(
    reader: Reader, table: str, fields: list[contents.Field], people: Chosen, disguise: Disguise
) -> pa.Table:
    """Rows of the released participants, and those of the whole cohort if nobody is left out of it."""
    schema, batches = contents.rows(reader, fields, table)
    found = pa.Table.from_batches(batches, schema)
    shown = [*people.ids, *([] if people.left_out else [COHORT_ID])]
    found = found.filter(pc.is_in(found["participant_id"], value_set=pa.array(shown, pa.string())))
    order = [(name, "ascending") for name in clustered_key(table)]
    return disguise.apply(table, fields, found).sort_by(order).combine_chunks()


def _definitions(reader: Reader, people: Chosen) -> list[str]:
    found = reader.rows("SELECT participant_id, definitions_version FROM publication")
    return sorted({version for pid, version in found if pid in set(people.ids)})


def _decoders(reader: Reader, people: Chosen) -> list[dict[str, Any]]:
    """What read the exports behind the released rows, and how many of them."""
    rows = reader.rows("SELECT participant_id, source, format, decoder_version FROM source_file")
    counts: dict[tuple[str, str, str], int] = {}
    ids = set(people.ids)
    for pid, source, format, version in rows:
        if pid in ids and version is not None:
            key = (source, format or "", version)
            counts[key] = counts.get(key, 0) + 1
    names = ("source", "format", "decoder_version")
    return [{**dict(zip(names, key, strict=True)), "exports": count} for key, count in sorted(counts.items())]


def said(released: Released) -> list[str]:
    """What the command says of a release, line by line."""
    total = len(released.people.ids) + sum(released.people.left_out.values())
    lines = [f"participants  {total} in the warehouse"]
    lines += [f"              {count} left out: {reason}" for reason, count in released.people.left_out.items()]
    lines.append(f"released      {len(released.people.ids)} participants, {sum(released.rows.values()):,} rows in "
                 f"{len(released.rows)} tables")  # fmt: skip
    lines += [f"  {table:<18}{rows:>12,}" for table, rows in released.rows.items()]
    lines.append(f"{released.folder} {stands(released.stood, released.waits)}; README.txt says how to open it")
    return lines


def stands(stood: bool, waits: bool) -> str:
    """How a release is there, in words."""
    if waits:
        return "waits until somebody else says `ingest release --approve`"
    return "stands already, with the same bytes" if stood else "stands, closed to others than you"
