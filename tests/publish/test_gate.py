"""Whose rows are open, from consents.csv, roster.csv and clinicians.csv to what logins of a real server see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from ingest._core.clinicians import read_clinicians
from ingest._core.errors import WrongUse
from ingest._core.study import open_study
from ingest.erase import erase, tables_beside
from ingest.lake.cohort_store import read_cohort_state
from ingest.lake.load import load_batch
from ingest.lake.plan import plan
from ingest.mart.cohort import associate
from ingest.mart.rebuild import rebuild, stale
from ingest.publish.audit import login
from ingest.publish.migrations.private import ASSIGNMENT, CONSENT
from ingest.publish.reading import opened
from ingest.publish.warehouse import publish_study
from ingest.report.audit import audit
from ingest.withdraw import write_down
from servers import Postgres
from studies import as_json, command, fitbit_nights, land, make_study, pid, run

REFS = ("K01", "K02", "K03")


@pytest.fixture(scope="module")
def logins(postgres_server: Postgres) -> Iterator[Postgres]:
    """An analyst and a clinician of the server; roles are the server's, so they go with these tests."""
    with postgres_server.connect() as connection:
        for role in ("loader", "analyst", "clinician", "auditor"):
            connection.execute(f"DO $$ BEGIN CREATE ROLE ingest_{role} NOLOGIN; EXCEPTION WHEN duplicate_object THEN "
                               "NULL; END $$")  # fmt: skip
        connection.execute("CREATE ROLE gate_ana LOGIN IN ROLE ingest_analyst")
        connection.execute("CREATE ROLE gate_clio LOGIN IN ROLE ingest_clinician")
    yield postgres_server
    with postgres_server.connect() as connection:
        connection.execute("DROP ROLE gate_ana")
        connection.execute("DROP ROLE gate_clio")


@pytest.fixture
def database(postgres_server: Postgres) -> str:
    return postgres_server.database()


@pytest.fixture
def study(tmp_path: Path, logins: Postgres, database: str) -> Path:
    """Three people with ten nights each; K02 is assigned to gate_clio."""
    root = make_study(tmp_path / "study", refs=REFS, warehouse=logins.url(database))
    for number, ref in enumerate(REFS, start=1):
        land(root, f"{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 10, 1000 * number)))
    (root / "clinicians.csv").write_text("clinician,participant_ref\ngate_clio,K02\n")
    run(root)
    return root


def sees(server: Postgres, database: str, user: str, table: str = "night") -> set[str]:
    with server.connect(database, user) as connection:
        found = connection.execute(f"SELECT DISTINCT participant_id FROM {table}").fetchall()
    return {who for (who,) in found} - {"_study", "_cohort"}


def ids(root: Path, *refs: str) -> set[str]:
    return {pid(root, ref) for ref in refs}


def test_rows_are_closed_at_once_where_a_consent_was_narrowed(study: Path, logins: Postgres, database: str) -> None:
    k01, k02, k03 = ({pid(study, ref)} for ref in REFS)
    assert sees(logins, database, "gate_ana") == k01 | k02 | k03
    assert sees(logins, database, "gate_clio") == k02
    (study / "consents.csv").write_text(
        "participant_ref,scope,from_on,until_on\nK01,substance_use,,\nK02,sleep,,2026-03-05\n"
    )
    done = publish_study(open_study(study))  # their nights are not rebuilt yet, and their former rows stand
    assert (done.published, done.removed) == ([], [])
    assert sees(logins, database, "ingest") == k01 | k02 | k03
    assert sees(logins, database, "gate_ana") == k03
    assert sees(logins, database, "gate_ana", "participant") == k03
    assert sees(logins, database, "gate_clio") == set()
    run(study)
    assert sees(logins, database, "gate_ana") == k02 | k03
    assert sees(logins, database, "gate_ana", "participant") == k01 | k02 | k03
    with logins.connect(database, "gate_clio") as connection:
        assert connection.execute("SELECT max(night_date) FROM night").fetchall() == [(date(2026, 3, 5),)]


def test_clinicians_are_assigned_and_taken_off_with_the_next_publication(
    study: Path, logins: Postgres, database: str
) -> None:
    (study / "clinicians.csv").write_text(
        "clinician,participant_ref\ngate_clio,K01\ngate_clio,K03\nsomebody,K02\ngate_clio,K99\n,K02\n"
    )
    done = command("--study", study, "run")
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stderr.splitlines() if line.startswith("clinicians.csv")] == [
        "clinicians.csv line 5", "clinicians.csv line 6"
    ]  # fmt: skip
    assert sees(logins, database, "gate_clio") == ids(study, "K01", "K03")
    (study / "clinicians.csv").unlink()
    run(study)
    assert sees(logins, database, "gate_clio") == set()


def test_an_erasure_takes_the_participant_out_of_what_it_rests_on(study: Path) -> None:
    k02 = pid(study, "K02")
    erase(open_study(study), "K02")
    assert (study / "clinicians.csv").read_text() == "clinician,participant_ref\n"
    with opened(open_study(study)) as reader:
        assert tables_beside(reader) == [CONSENT, ASSIGNMENT]
        for table in tables_beside(reader):
            assert reader.rows(f"select count(*) from {table} where participant_id = '{k02}'") == [(0,)]


def test_the_audit_of_a_server_is_its_table(study: Path, logins: Postgres, database: str) -> None:
    done = command("--study", study, "query", "SELECT count(*) AS n FROM night", "-f", "csv", "--purpose", "a check")
    assert done.stdout == "n\n30\n"
    rows = [row for row in audit(open_study(study)).rows if row["action"] == "query"]
    assert [(row["state"], row["login"], row["who"], row["purpose"], row["counts"]) for row in rows] == [
        ("begun", "ingest", login(), "a check", {}), ("ended", "ingest", login(), "a check", {"rows": 1}),
    ]  # fmt: skip
    first, *_ = audit(open_study(study)).rows
    assert (first["action"], first["state"], "login" in first) == ("run", "begun", False)  # before there was a table
    with logins.connect(database) as connection:
        connection.execute("ALTER TABLE ingest_audit DISABLE TRIGGER ingest_audit_keep")
        connection.execute("GRANT DELETE ON ingest_audit TO gate_ana")
    shown = command("--study", study, "audit", "--last", "1")
    assert shown.returncode == 3
    assert "trigger ingest_audit_keep is gone or switched off" in shown.stdout
    assert "role gate_ana has DELETE" in shown.stdout
    with logins.connect(database) as connection:
        connection.execute("REVOKE DELETE ON ingest_audit FROM gate_ana")
        connection.execute("DELETE FROM ingest_audit")
        connection.execute("REVOKE INSERT ON ingest_audit FROM ingest_analyst")


def test_a_query_of_an_analyst_on_their_own_account(
    study: Path, logins: Postgres, database: str, tmp_path: Path
) -> None:
    """In a folder of their own, which has a study.yaml and neither identity nor lake."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "study.yaml").write_text(f"study: s\nwarehouse: {logins.url(database, 'gate_ana')}\n")
    (own / "roster.csv").write_text("participant_ref,time_zone,enrolled_on\n")
    one = pid(study, "K01")
    asked = f"SELECT count(*) AS n FROM night WHERE participant_id = '{one}'"
    done = command("--study", own, "query", asked, "-f", "csv")
    assert (done.returncode, done.stdout) == (0, "n\n10\n"), done.stderr
    assert sorted(path.name for path in own.iterdir()) == ["roster.csv", "study.yaml"]
    last = [row for row in audit(open_study(study)).rows if row["action"] == "query"][-1]
    assert (last["login"], last["audit_id"], last["counts"]) == ("gate_ana", None, {"participants_named": 1, "rows": 1})
    shown = command("--study", own, "audit")
    assert shown.returncode == 3
    assert "permission denied for table ingest_audit" in shown.stderr
    with logins.connect(database) as connection:
        connection.execute("REVOKE INSERT ON ingest_audit FROM ingest_analyst")
        connection.execute("REVOKE INSERT (entry_id) ON ingest_audit FROM ingest_analyst")
    refused = command("--study", own, "query", asked)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "without it `query` does nothing" in refused.stderr


@pytest.mark.fault(63)
@pytest.mark.parametrize("engine", ["duckdb", "postgresql"])
def test_cohort_tables_of_before_a_withdrawal_stay_out(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    more = {} if engine == "duckdb" else {"warehouse": request.getfixturevalue("postgres")}
    root = make_study(tmp_path / "study", refs=REFS[:2], **more)
    for number, ref in enumerate(REFS[:2], start=1):
        land(root, f"{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 10, 1000 * number)))
    run(root)

    def flow() -> list[tuple[object, ...]]:
        with opened(open_study(root)) as reader:
            return reader.rows("SELECT n_participants FROM flow WHERE step = 'enrolled'")

    opened_study = open_study(root)
    associate(opened_study)
    write_down(opened_study, pid(root), date(2026, 3, 5))
    publish_study(opened_study)
    assert flow() == []
    assert read_cohort_state(opened_study.lake) is not None
    run(root)
    assert flow() == []
    land(root, "K01/more/sleep-2026-03-02.json", as_json(fitbit_nights(datetime(2026, 3, 2, 23), 1, 9000)))
    now = open_study(root)
    load_batch(now, [each.token for each in plan(now).wanted])
    rebuild(now, stale(now))
    associate(now)
    said: list[int] = []

    def meanwhile(done: int, _total: int) -> None:
        said.append(done)
        write_down(open_study(root), pid(root, "K02"), date(2026, 3, 6))

    publish_study(now, meanwhile)
    assert said
    assert flow() == []
    associate(open_study(root))
    publish_study(open_study(root))
    assert flow() == [(2,)]


def test_a_file_that_is_no_such_table(tmp_path: Path) -> None:
    (tmp_path / "clinicians.csv").write_text("participant_ref,clinician\nK01,x\n")
    with pytest.raises(WrongUse, match="expected the header clinician,participant_ref"):
        read_clinicians(tmp_path, {"K01"})
    (tmp_path / "clinicians.csv").write_text("")
    with pytest.raises(WrongUse, match="expected the header"):
        read_clinicians(tmp_path, {"K01"})
    (tmp_path / "clinicians.csv").write_text("clinician,participant_ref\n\n x , K01 \n")
    assert read_clinicians(tmp_path, {"K01"}).pairs == {("x", "K01")}


def test_the_warehouse_file_is_its_owners_and_keeps_what_was_opened(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study")
    land(root, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 2, 1000)))
    run(root)
    file = root / "warehouse.duckdb"
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    land(root, "K01/more/sleep-2026-03-05.json", as_json(fitbit_nights(datetime(2026, 3, 5, 23), 2, 2000)))
    assert run(root).published.published
    assert file.stat().st_mode & 0o777 == 0o640
