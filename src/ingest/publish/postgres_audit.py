"""Table ingest_audit of a PostgreSQL warehouse. When, and under which login, the server itself writes down."""

from __future__ import annotations

import json
from typing import Any

from ingest.publish.migrations.private import AUDIT
from ingest.publish.postgres import clear_errors, connected, rows, run

GIVEN = ("entry_id", "action", "state", "who", "via", "run", "purpose", "audit_id", "tables", "counts", "error")
"""The columns that come from the program."""
_HAS = f"SELECT to_regclass(quote_ident(current_schema()) || '.{AUDIT}') IS NOT NULL"

_TABLE = "to_regclass(quote_ident(current_schema()) || '.' || $1)"
_TRIGGERS = (
    f"SELECT tgname::text FROM pg_trigger WHERE tgrelid = {_TABLE} "  # noqa: S608 - a constant
    "AND tgenabled IN ('O', 'A') AND NOT tgisinternal"
)
_WRITERS = f"""
SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END, a.privilege_type::text
FROM pg_class c, aclexplode(c.relacl) a
WHERE c.oid = {_TABLE} AND a.grantee <> c.relowner AND a.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')
ORDER BY 1, 2
"""  # noqa: S608 - a constant


def append(url: str, entry: dict[str, Any]) -> bool:
    """Add an entry; False where the database has no such table yet. Raises what `connected` does, and Terminal where
    the role may not add any.
    """
    values = {**entry, "entry_id": entry["id"], "counts": _text(entry.get("counts"))}
    named = [name for name in GIVEN if values.get(name) is not None]
    places = ", ".join(f"${number}" for number in range(1, len(named) + 1))
    with connected(url) as connection, clear_errors("the audit"):
        if not rows(connection, _HAS)[0][0]:
            return False
        run(connection, f"INSERT INTO {AUDIT} ({', '.join(named)}) VALUES ({places})",  # noqa: S608 - constants
            *(values[name] for name in named))  # fmt: skip
        connection.commit()
        return True


def read(url: str) -> list[dict[str, Any]]:
    """All entries, the oldest first; raises Terminal where the role may not read them."""
    with connected(url) as connection, clear_errors("the audit"):
        if not rows(connection, _HAS)[0][0]:
            return []
        listed = f"SELECT n, at, login, {', '.join(GIVEN)} FROM {AUDIT} ORDER BY n"  # noqa: S608 - constants
        names = ("n", "at", "login", "id", *GIVEN[1:])
        found = [dict(zip(names, row, strict=True)) for row in rows(connection, listed)]
    return [{**each, "counts": json.loads(each["counts"] or "{}")} for each in found]


def guards_missing(url: str) -> list[str]:
    """What no longer keeps entries from being changed; empty where all of it stands."""
    with connected(url) as connection, clear_errors("the audit"):
        found = {name for (name,) in rows(connection, _TRIGGERS, AUDIT)}
        granted = rows(connection, _WRITERS, AUDIT)
        if not rows(connection, _HAS)[0][0]:
            return []
    wanted = (f"{AUDIT}_stamp", f"{AUDIT}_keep", f"{AUDIT}_whole")
    missing = [f"trigger {name} is gone or switched off" for name in wanted if name not in found]
    return [*missing, *(f"role {role} has {verb}" for role, verb in granted)]


def _text(counts: object) -> str | None:
    return json.dumps(counts, sort_keys=True) if counts else None
