"""Frozen: what migration 0004 makes on PostgreSQL beside the tables of schemas/: who granted and is assigned what, and
the audit. None of it holds rows of the study's, and no DuckDB file has it.
"""

from __future__ import annotations

AUDIT, CONSENT, ASSIGNMENT = "ingest_audit", "ingest_consent", "ingest_assignment"

STATEMENTS: tuple[str, ...] = (
    f"CREATE TABLE {CONSENT} (participant_id text COLLATE \"C\" NOT NULL, scope text COLLATE \"C\" NOT NULL, "
    "PRIMARY KEY (scope, participant_id))",
    f"COMMENT ON TABLE {CONSENT} IS 'Which scopes a participant has granted whose published rows rest on the consent "
    "that stands; who is not in it is shown to no analyst and no clinician.'",
    f"CREATE TABLE {ASSIGNMENT} (clinician text COLLATE \"C\" NOT NULL, participant_id text COLLATE \"C\" NOT NULL, "
    "PRIMARY KEY (clinician, participant_id))",
    f"COMMENT ON TABLE {ASSIGNMENT} IS 'Which participants a clinician, by login of the server, may see; from "
    "clinicians.csv of the study.'",
    f"CREATE TABLE {AUDIT} (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamp with time zone NOT NULL, "
    "login text NOT NULL, entry_id text NOT NULL, action text NOT NULL, state text NOT NULL, who text NOT NULL, "
    "via text NOT NULL, run text, purpose text, audit_id text, tables text, counts text, error text)",
    f"COMMENT ON TABLE {AUDIT} IS 'Who did what with the study, when and what for; entries are only ever added.'",
    f"CREATE FUNCTION {AUDIT}_stamp() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS "
    "$$ BEGIN NEW.at = clock_timestamp(); NEW.login = session_user; RETURN NEW; END $$",
    f"CREATE FUNCTION {AUDIT}_refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS "
    "$$ BEGIN RAISE EXCEPTION 'entries of the audit are only ever added' USING ERRCODE = '42501'; END $$",
    f"REVOKE ALL ON FUNCTION {AUDIT}_stamp(), {AUDIT}_refuse() FROM PUBLIC",
    f"CREATE TRIGGER {AUDIT}_stamp BEFORE INSERT ON {AUDIT} FOR EACH ROW EXECUTE FUNCTION {AUDIT}_stamp()",
    f"CREATE TRIGGER {AUDIT}_keep BEFORE UPDATE OR DELETE ON {AUDIT} FOR EACH STATEMENT "
    f"EXECUTE FUNCTION {AUDIT}_refuse()",
    f"CREATE TRIGGER {AUDIT}_whole BEFORE TRUNCATE ON {AUDIT} FOR EACH STATEMENT EXECUTE FUNCTION {AUDIT}_refuse()",
)  # fmt: skip
