"""A withdrawal, written down by another process while rows are on their way, keeps them out on both engines; and an
erasure leaves no byte in a server's files.
"""

from __future__ import annotations

import os
import signal
from datetime import date, datetime
from pathlib import Path

import pytest

from ingest._core.errors import Transient
from ingest._core.study import consent_lock, open_study
from ingest.erase import erase, tables_of_participants
from ingest.lake.load import load_batch
from ingest.lake.plan import plan
from ingest.mart.rebuild import rebuild, stale
from ingest.publish import warehouse as module
from ingest.publish.reading import opened
from ingest.publish.warehouse import publish_study
from ingest.report.verify import verify
from ingest.withdraw import withdraw, write_down
from servers import Postgres
from studies import as_json, change_settings, command, fitbit_nights, land, make_study, pid, run

FIRST, NEXT, ON = datetime(2026, 3, 1, 23), datetime(2026, 3, 11, 23), date(2026, 3, 8)


@pytest.fixture(params=["duckdb", "postgresql"])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two people with ten nights each, published."""
    root = make_study(tmp_path / "study", refs=("K01", "K02"))
    if request.param == "postgresql":
        change_settings(root, warehouse=request.getfixturevalue("postgres"))
    for number, ref in enumerate(("K01", "K02"), start=1):
        land(root, f"{ref}/old/sleep-2026-03-01.json", as_json(fitbit_nights(FIRST, 10, 1000 * number)))
    run(root)
    return root


def nights(root: Path, ref: str) -> list[date]:
    with opened(open_study(root)) as reader:
        sql = f"select night_date from night where participant_id = '{pid(root, ref)}' order by 1"
        return [day for (day,) in reader.rows(sql)]


@pytest.mark.fault(63)
def test_a_withdrawal_between_stage_and_commit(study: Path) -> None:
    before = nights(study, "K01")
    for number, ref in enumerate(("K01", "K02"), start=1):
        land(study, f"{ref}/new/sleep-2026-03-11.json", as_json(fitbit_nights(NEXT, 2, 1000 * number + 500)))
    opened_study, said = open_study(study), []
    load_batch(opened_study, [each.token for each in plan(opened_study).wanted])
    rebuild(opened_study, stale(opened_study))

    def meanwhile(_done: int, _total: int) -> None:
        if not said:
            said.append(command("--study", study, "withdraw", "K01", "--on", str(ON), "--keep"))

    publish_study(opened_study, meanwhile)
    # It is written down, but publishing it has to wait for the publication that is under way, which sees it.
    assert said[0].returncode == Transient.exit_code, said[0].stderr
    assert nights(study, "K01") == [day for day in before if day < ON]
    assert len(nights(study, "K02")) == 12
    assert not withdraw(open_study(study), "K01", ON, keep=True).published
    assert verify(open_study(study)) == []


def test_marts_of_before_a_withdrawal_wait(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", refs=("K01", "K02"))
    for number, ref in enumerate(("K01", "K02"), start=1):
        land(root, f"{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(FIRST, 10, 1000 * number)))
    opened_study = open_study(root)
    load_batch(opened_study, [each.token for each in plan(opened_study).wanted])
    rebuild(opened_study, stale(opened_study))
    done = publish_study(opened_study, lambda _done, _total: write_down(opened_study, pid(root, "K01"), ON))
    assert (done.published, done.waiting) == ([pid(root, "K02")], [pid(root, "K01")])
    assert nights(root, "K01") == []
    run(root)
    assert max(nights(root, "K01")) < ON


@pytest.mark.fault(63)
def test_whoever_withdraws_waits_for_a_commit_under_way(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last look at the roster and the commit nobody else can write it."""
    land(study, "K01/new/sleep-2026-03-11.json", as_json(fitbit_nights(NEXT, 2, 1500)))
    free = []
    look = module._check_marts

    def while_looking(*given: object) -> None:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(1)
            with consent_lock(study):
                os._exit(0)
        free.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
        look(*given)

    monkeypatch.setattr(module, "_check_marts", while_looking)
    run(study)
    assert free == [False]


def test_no_byte_stays_in_a_servers_files(tmp_path: Path, postgres_server: Postgres) -> None:
    database = postgres_server.database()
    root = make_study(tmp_path / "study", refs=("K01", "K02"), warehouse=postgres_server.url(database))
    for number, ref in enumerate(("K01", "K02"), start=1):
        land(root, f"{ref}/old/sleep-2026-03-01.json", as_json(fitbit_nights(FIRST, 10, 1000 * number)))
    run(root)
    k01, k02 = pid(root, "K01"), pid(root, "K02")
    sessions = f"select session_id from sleep_session where participant_id = '{k01}'"
    with opened(open_study(root)) as reader:
        words = {k01, *(found for (found,) in reader.rows(sessions))}
    assert len(words) == 11
    assert _naming(postgres_server, database, words)
    erase(open_study(root), k01)
    with opened(open_study(root)) as reader:
        for table in tables_of_participants():
            found = {each for (each,) in reader.rows(f"select distinct participant_id from {table}")}
            assert found <= {k02, "_study", "_cohort"}, table
        assert reader.rows("select count(*) from night") == [(10,)]
    assert _naming(postgres_server, database, words) == []


def _naming(server: Postgres, database: str, words: set[str]) -> list[str]:
    """Files of a database that hold one of the words."""
    with server.connect(database) as connection:
        connection.execute("CHECKPOINT")
        ((oid,),) = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchall()
    folder = server.data / "base" / str(oid)
    return [path.name for path in folder.iterdir() if any(word.encode() in path.read_bytes() for word in words)]
