"""Roles of a PostgreSQL warehouse: what each may do with every table and view, and whose rows it sees.

All of it is brought about with each publication, by comparing the server's catalog with what should be: so a table
that a migration adds, or a view that is made anew, has its rights in the transaction that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ingest._core import contract
from ingest._core.contract import OPS, VIEW
from ingest._core.files import digest
from ingest._core.roster import NOBODY
from ingest.lake.cohort_store import COHORT_ID
from ingest.publish.migrate import VERSION_TABLE
from ingest.publish.migrations.private import ASSIGNMENT, AUDIT, CONSENT
from ingest.publish.postgres_audit import GIVEN
from ingest.publish.shape import quoted

Ask = Callable[..., list[tuple[Any, ...]]]
Token = tuple[str, ...]
PRIVATE = (CONSENT, ASSIGNMENT)
"""Tables beside those of schemas/ that hold participant_ids."""
SCOPES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("night", "night_source", "trend", "insomnia_night", "insomnia_week", "night_diary", "sleep_diary",
         "sleep_session", "sleep_stage"),
        ("sleep",),
    ),
    "substance_use": ("substance_use",),
    "night_exposure": ("sleep", "substance_use"),
    "association": ("sleep", "substance_use"),
    "dose_sleep": ("sleep", "substance_use"),
    "scale_response": ("scales",),
    **dict.fromkeys(("participant", "phase", "coverage", "publication", "source_file", "quarantine", "flow"), ()),
}  # fmt: skip
"""The scopes a participant must have granted so that an analyst sees their rows of a table; none: any of them."""
_ANSWERS = "rule IN ('severe_withdrawal', 'safety_item')"
WITHHELD = {"sleep_session": ("source_record_id",), "safety_signal": ("acknowledged_by",)}
"""Columns no analyst has: a vendor's own number of a record, and who of the staff has seen a signal."""
_SERVER = """
SELECT rolname::text FROM pg_roles WHERE rolname = ANY(string_to_array($1, ','))
"""
_FOUND = """
WITH ours AS (SELECT c.* FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace
              AND c.relname = ANY(string_to_array($1, ',')))
SELECT 'owner', relname::text, pg_get_userbyid(relowner)::text, '', '' FROM ours
UNION ALL SELECT 'rls', relname::text, '', '', '' FROM ours WHERE relrowsecurity
UNION ALL SELECT 'invoker', relname::text, '', '', '' FROM ours
    WHERE 'security_invoker=true' = ANY(coalesce(reloptions, '{}'))
UNION ALL SELECT 'grant', relname::text, pg_get_userbyid(a.grantee)::text, a.privilege_type::text, ''
    FROM ours, aclexplode(relacl) a WHERE a.grantee <> relowner AND a.grantee <> 0
UNION ALL SELECT 'grant', relname::text, pg_get_userbyid(a.grantee)::text, a.privilege_type::text, attname::text
    FROM ours JOIN pg_attribute t ON t.attrelid = ours.oid AND NOT t.attisdropped, aclexplode(t.attacl) a
    WHERE a.grantee <> 0
UNION ALL SELECT 'policy', relname::text, polname::text, coalesce(obj_description(p.oid, 'pg_policy'), ''), ''
    FROM ours JOIN pg_policy p ON p.polrelid = ours.oid
UNION ALL SELECT 'schema', quote_ident(current_schema()), r.rolname::text, v.verb, ''
    FROM pg_roles r, (VALUES ('USAGE'), ('CREATE')) AS v(verb)
    WHERE r.rolname = ANY(string_to_array($2, ',')) AND has_schema_privilege(r.oid, current_schema(), v.verb)
"""


def roles_there(ask: Ask, names: Mapping[str, str]) -> dict[str, str]:
    """Those of the roles that the server has, by kind."""
    there = {name for (name,) in ask(_SERVER, ",".join(names.values()))}
    return {kind: name for kind, name in names.items() if name in there}


def role_statements(missing: Iterable[str], loader: str) -> list[str]:
    """Statements that make roles which nobody can log in as, whoever else makes them at the same time; whoever makes
    the loader's becomes a member of it.
    """
    made = [
        f"DO $$ BEGIN CREATE ROLE {name} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        for name in missing
    ]
    member = (
        f"DO $$ BEGIN IF NOT pg_has_role(current_user, '{loader}', 'MEMBER') THEN EXECUTE format('GRANT {loader} TO "
        "%I', current_user); END IF; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
    )
    return [*made, member] if made else []


def relations() -> list[str]:
    """The warehouse's tables and views, and those beside them."""
    return [*contract.published_tables(), *contract.tables(VIEW), *PRIVATE, AUDIT, VERSION_TABLE]


def differences(ask: Ask, there: Mapping[str, str]) -> list[str]:
    """Statements that give the roles `there` exactly their rights; empty where nothing differs.

    What the role of this session may not do is left out: `not_possible` says it.
    """
    if not there:
        return []
    found = _found(ask, there)
    wanted = _wanted(ask, there, found)
    ours = set(there.values())
    mine = _ours_to_change(ask, found)
    extra = {token for token in found - wanted if (token[0] == "grant" and token[2] in ours) or token[0] == "policy"}
    gone = [_undone(token) for token in sorted(extra) if token[1] in mine]
    new = [token for token in sorted(wanted - found, key=_order) if token[0] == "schema" or token[1] in mine]
    return [*gone, *(statement for token in new for statement in _done(token, there))]


def not_possible(ask: Ask, names: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """What whoever runs the server still has to do, as statements of SQL."""
    made = [f"CREATE ROLE {name} NOLOGIN" for kind, name in names.items() if kind not in there]
    found = _found(ask, there) if there else set()
    ((schema,),) = ask("SELECT quote_ident(current_schema())")
    loader = there.get("loader")
    if loader and not _may(ask, f"pg_has_role(current_user, '{loader}', 'USAGE')"):
        ((me,),) = ask("SELECT quote_ident(current_user)")
        made.append(f"GRANT {loader} TO {me}")
    for kind, role in there.items():
        held = {token[3] for token in found if token[0] == "schema" and token[2] == role}
        verbs = ("USAGE", "CREATE") if kind == "loader" else ("USAGE",)
        made += [f"GRANT {verb} ON SCHEMA {schema} TO {role}" for verb in verbs if verb not in held]
    return made


def condition(kind: str, table: str) -> str | None:
    """The condition a row must meet so that an analyst or a clinician sees it; None where all or none are seen."""
    if table == ASSIGNMENT:
        return "clinician = current_user" if kind == "clinician" else None
    if table == CONSENT:
        return "true" if kind == "analyst" else _mine()
    if contract.schemas()[table]["stage"] == OPS:
        return None
    if kind == "clinician":
        return f"{_mine()} AND ({_consented(table)})"
    common = f"participant_id IN ('{NOBODY}', '{COHORT_ID}')"
    return f"{common} OR ({_consented(table)})"


def _mine() -> str:
    return f"participant_id IN (SELECT a.participant_id FROM {ASSIGNMENT} a WHERE a.clinician = current_user)"  # noqa: S608 - constants


def _consented(table: str) -> str:
    if table == "safety_signal":
        answers, uses = _granted("scales"), _granted("substance_use")
        return f"CASE WHEN {_ANSWERS} THEN {answers} ELSE {uses} END"
    scopes = SCOPES[table]
    if not scopes:
        return f"participant_id IN (SELECT c.participant_id FROM {CONSENT} c)"  # noqa: S608 - constants
    return " AND ".join(map(_granted, scopes))


def _granted(scope: str) -> str:
    return f"participant_id IN (SELECT c.participant_id FROM {CONSENT} c WHERE c.scope = '{scope}')"  # noqa: S608 - constants


def rights(kind: str, relation: str) -> list[tuple[str, str]]:
    """What a kind of role may do with a table or view: privileges, each with a column or '' for all of them."""
    if relation == AUDIT:
        given = [("INSERT", column) for column in GIVEN]
        return [*given, ("SELECT", "")] if kind == "auditor" else given
    sees = {
        "loader": False,  # it owns them
        "auditor": relation in contract.tables(OPS),
        "clinician": relation not in (*contract.tables(OPS), VERSION_TABLE),
        "analyst": relation not in (ASSIGNMENT, VERSION_TABLE),
    }
    if kind == "analyst" and relation in WITHHELD:
        names = [field["name"] for field in contract.fields(relation, contract.PUBLISH)]
        return [("SELECT", name) for name in names if name not in WITHHELD[relation]]
    return [("SELECT", "")] if sees[kind] else []


def _found(ask: Ask, there: Mapping[str, str]) -> set[Token]:
    return {tuple(row) for row in ask(_FOUND, ",".join(relations()), ",".join(there.values()))}


def _wanted(ask: Ask, there: Mapping[str, str], found: set[Token]) -> set[Token]:
    tables = [*contract.published_tables(), *PRIVATE]
    wanted: set[Token] = {("invoker", view, "", "", "") for view in contract.tables(VIEW)}
    wanted |= {("rls", table, "", "", "") for table in tables if contract.schemas().get(table, {}).get("stage") != OPS}
    for kind, role in there.items():
        for relation in relations():
            wanted |= {("grant", relation, role, verb, column) for verb, column in rights(kind, relation)}
        if kind in ("analyst", "clinician"):
            wanted |= {("policy", table, f"{role}_rows", _mark(kind, table), "") for table in tables
                       if condition(kind, table) is not None}  # fmt: skip
    wanted |= _schema_rights(ask, there, found)
    return wanted | _owned(ask, there, found)


def _schema_rights(ask: Ask, there: Mapping[str, str], found: set[Token]) -> set[Token]:
    """Rights on the schema that are missing and that this session may give."""
    ((schema,),) = ask("SELECT quote_ident(current_schema())")
    wanted = {("schema", schema, role, "USAGE", "") for role in there.values()}
    if "loader" in there:
        wanted.add(("schema", schema, there["loader"], "CREATE", ""))
    return {token for token in wanted - found
            if _may(ask, f"has_schema_privilege(current_schema(), '{token[3]} WITH GRANT OPTION')")}  # fmt: skip


def _ours_to_change(ask: Ask, found: set[Token]) -> set[str]:
    """The tables and views whose owner this session is, or acts for."""
    owners = {token[1]: token[2] for token in found if token[0] == "owner"}
    acts = {owner for owner in owners.values() if _may(ask, f"pg_has_role(current_user, {_text(owner)}, 'USAGE')")}
    return {relation for relation, owner in owners.items() if owner in acts}


def _owned(ask: Ask, there: Mapping[str, str], found: set[Token]) -> set[Token]:
    """The tables and views that the loader's role is to own, where this session can give them to it."""
    loader = there.get("loader")
    if loader is None or not _may(ask, f"pg_has_role(current_user, '{loader}', 'USAGE')"):
        return set()
    if not _may(ask, f"has_schema_privilege('{loader}', current_schema(), 'CREATE') OR "
                     "has_schema_privilege(current_schema(), 'CREATE WITH GRANT OPTION')"):  # fmt: skip
        return set()
    # Not the audit: whoever owns a table can switch its triggers off.
    return {("owner", token[1], loader, "", "") for token in found if token[0] == "owner" and token[1] != AUDIT}


def _done(token: Token, there: Mapping[str, str]) -> list[str]:
    what, relation, role, verb, column = token
    if what == "policy":
        kind = next(kind for kind, name in there.items() if role == f"{name}_rows")
        return [
            f"CREATE POLICY {role} ON {relation} FOR SELECT TO {there[kind]} USING ({condition(kind, relation)})",
            f"COMMENT ON POLICY {role} ON {relation} IS '{verb}'",
        ]
    return [{
        "owner": f"ALTER TABLE {relation} OWNER TO {role}",
        "rls": f"ALTER TABLE {relation} ENABLE ROW LEVEL SECURITY",
        "invoker": f"ALTER VIEW {relation} SET (security_invoker = true)",
        "schema": f"GRANT {verb} ON SCHEMA {relation} TO {role}",
        "grant": f"GRANT {verb}{f' ({quoted(column)})' if column else ''} ON {relation} TO {role}",
    }[what]]  # fmt: skip


def _undone(token: Token) -> str:
    what, relation, role, verb, column = token
    if what == "policy":
        return f"DROP POLICY {quoted(role)} ON {relation}"
    return f"REVOKE {verb}{f' ({quoted(column)})' if column else ''} ON {relation} FROM {role}"


def _order(token: Token) -> tuple[int, Token]:
    # Rights on the schema before owners, who need them; owners last of a table, for they alone may give its rights.
    return ("schema", "invoker", "grant", "policy", "rls", "owner").index(token[0]), token


def _mark(kind: str, table: str) -> str:
    return digest(str(condition(kind, table)))[:16]


def _may(ask: Ask, condition: str) -> bool:
    return bool(ask(f"SELECT {condition}")[0][0])


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
