"""What the audit says, and whether anybody changed it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ingest._core.audit_chain import BEGIN, Chain, path_of, read
from ingest._core.audit_ids import audit_ids
from ingest._core.errors import Transient, WrongUse
from ingest._core.pseudonyms import participant_id, read_key
from ingest._core.study import Study

COLUMNS = ("at", "who", "via", "action", "state", "purpose", "audit_id", "tables", "counts", "error", "run", "login",
           "id")  # fmt: skip
FORMATS = ("text", "csv", "json")
Row = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """The entries, the oldest first; `breaks` say where the audit was changed, `notes` what else is to be known."""

    rows: list[Row]
    breaks: list[str]
    notes: list[str] = field(default_factory=list)


def audit(study: Study, participant: str | None = None, action: str | None = None, head: str | None = None) -> Said:
    """The entries about a participant (ref or participant_id) or of an action, and what verifying found.

    `head` is one that was printed before: it must still be in the chain. Raises WrongUse for a participant the audit
    does not speak of, Transient where the file cannot be read, and for a server's table what reading it raises.
    """
    try:
        chain = read(path_of(study.root))
    except OSError as error:
        raise Transient(f"audit/audit.jsonl cannot be read ({error.strerror})") from error
    rows = [{**entry, "at": _instant(entry["at"])} for _, entry in chain.entries]
    breaks = [f"audit/audit.jsonl {each}" for each in chain.breaks]
    notes = _notes(chain)
    if head is not None and head != chain.head and head not in chain.hashes | {BEGIN}:
        breaks.append("audit/audit.jsonl: the head given is not in it: entries after it or before it were taken out")
    if study.warehouse_url is not None:
        from ingest.publish.postgres_audit import guards_missing
        from ingest.publish.postgres_audit import read as read_table

        found = read_table(study.warehouse_url)
        breaks += [f"ingest_audit: {each}" for each in guards_missing(study.warehouse_url)]
        notes.append(f"ingest_audit: {len(found)} entries of the server")
        rows = sorted([*rows, *found], key=lambda row: row["at"])
    return Said(_chosen(study, rows, participant, action), breaks, notes)


def lines(said: Said, format: str, last: int) -> Iterator[str]:
    """The last rows as text, csv or json, without what verifying found."""
    rows = said.rows[-last:] if last else said.rows
    shown = [{name: _cell(row.get(name)) for name in COLUMNS} for row in rows]
    if format == "json":
        yield json.dumps([{**row, "at": _cell(row["at"])} for row in rows], indent=1, ensure_ascii=False)
    elif format == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(shown)
        yield out.getvalue().rstrip("\n")
    else:
        for row in shown:
            told = [row["at"], row["who"], row["action"], row["state"]]
            told += [f"{name}={row[name]}" for name in COLUMNS[5:10] if row[name]]
            told += [f"via={row['via']}"] if row["via"] != "command" else []
            yield "  ".join(told)


def _notes(chain: Chain) -> list[str]:
    torn = [f"audit/audit.jsonl line {number}: cut off by a crash; the chain goes on" for number in chain.torn]
    return [*torn, f"head       {chain.head} of {chain.count} lines; keep it elsewhere, `--head` looks for it"]


def _chosen(study: Study, rows: list[Row], participant: str | None, action: str | None) -> list[Row]:
    if participant is not None:
        links = audit_ids(study.identity)
        pid = participant if participant in links else participant_id(read_key(study.identity / "key"), participant)
        if pid not in links:
            raise WrongUse("the audit has no link to this participant: nothing was done about them alone, or they were "
                           "erased")  # fmt: skip
        rows = [row for row in rows if links[pid] in (row.get("audit_id") or "").split(",")]
    return [row for row in rows if action in (None, row["action"])]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, dict):
        return " ".join(f"{name}:{count}" for name, count in sorted(value.items()))
    return "" if value is None else str(value)
