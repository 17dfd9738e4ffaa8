"""identity/audit_ids.csv: under which ids the audit speaks of participants. A link goes with its participant's erasure,
and then nobody can tell of whom the audit speaks.
"""

from __future__ import annotations

import csv
import io
import secrets
from pathlib import Path

from ingest._core.errors import Terminal
from ingest._core.files import locked, write_bytes

_COLUMNS = ("audit_id", "participant_id")


def audit_id_of(identity: Path, participant_id: str) -> str | None:
    """The participant's audit_id, `a` and 20 random hexadecimal digits, made where there is none yet.

    None where the study's key does not stand in `identity`: an analyst's folder is not the study's, and a link in it
    would outlive an erasure.
    """
    if not (identity / "key").is_file():
        return None
    with locked(identity / ".audit.lock", "the list of audit ids", wait=True):
        links = audit_ids(identity)
        if participant_id not in links:
            links[participant_id] = f"a{secrets.token_hex(10)}"
            _write(identity, links)
    return links[participant_id]


def audit_ids(identity: Path) -> dict[str, str]:
    """audit_ids by participant_id; raises Terminal where the file is damaged."""
    path = identity / "audit_ids.csv"
    if not path.exists():
        return {}
    try:
        header, *rows = csv.reader(io.StringIO(path.read_bytes().decode()))
        if tuple(header) != _COLUMNS:
            raise ValueError("another header")
        return {participant_id: audit_id for audit_id, participant_id in rows}
    except ValueError as error:
        raise Terminal("identity/audit_ids.csv is damaged; restore it from your backup") from error


def forget_audit_id(identity: Path, participant_id: str) -> bool:
    """Take the link of a participant away; True where there was one."""
    with locked(identity / ".audit.lock", "the list of audit ids", wait=True):
        links = audit_ids(identity)
        gone = links.pop(participant_id, None) is not None
        if gone:
            _write(identity, links)
    return gone


def _write(identity: Path, links: dict[str, str]) -> None:
    lines = [",".join(_COLUMNS), *sorted(f"{audit_id},{participant_id}" for participant_id, audit_id in links.items())]
    write_bytes(identity / "audit_ids.csv", ("\n".join(lines) + "\n").encode(), 0o600)
