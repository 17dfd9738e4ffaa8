"""The audit: one entry before an action and one after it, chained, without names; what fails where none can be made."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from faults.small import Forked, copied
from ingest._core import audit_chain
from ingest._core.audit_chain import append, path_of, read
from ingest._core.audit_ids import audit_ids
from ingest._core.errors import Transient, WrongUse
from ingest._core.study import open_study
from ingest.erase import erase
from ingest.publish.audit import MUST_BE_WRITTEN, acting, audited, enter, login
from ingest.publish.query import query
from ingest.report.audit import audit
from ingest.report.pages.writing import write_one
from ingest.report.release import release
from ingest.serve.app import make_app
from ingest.withdraw import withdraw
from studies import as_json, change_settings, command, files, fitbit_nights, land, make_study, pid, run

ON = datetime(2026, 3, 8).date()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_study(tmp_path_factory.mktemp("audit") / "study", refs=("K01", "K02"))
    for number, ref in enumerate(("K01", "K02"), start=1):
        land(root, f"{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 10, 1000 * number)))
    run(root)
    return root


@pytest.fixture
def study(prepared: Path, tmp_path: Path) -> Path:
    """Two people with ten nights each, published; the test may change it."""
    return copied(prepared, tmp_path / "study")


def entries(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path_of(root).read_text().splitlines()]


def ask(root: Path, sql: str) -> None:
    with Path(os.devnull).open("wb") as out:
        query(open_study(root), sql, "csv", out)


def test_who_what_when_what_for_and_how_much(study: Path) -> None:
    done = command("--study", study, "query", "--purpose", "interim analysis", "SELECT * FROM night", "-f", "csv")
    assert len(done.stdout.splitlines()) == 21
    begun, ended = entries(study)[-2:]
    assert (begun["action"], begun["state"], ended["state"]) == ("query", "begun", "ended")
    assert begun["id"] == ended["id"]
    assert {each["who"] for each in (begun, ended)} == {login()}
    assert ended["purpose"] == "interim analysis"
    assert ended["tables"] == "night"
    assert ended["counts"] == {"rows": 20}
    assert datetime.fromisoformat(str(ended["at"])) >= datetime.fromisoformat(str(begun["at"]))


def test_a_run_is_entered_with_its_counts(study: Path) -> None:
    begun, ended = (each for each in entries(study) if each["action"] == "run")
    assert (begun["state"], ended["state"]) == ("begun", "ended")
    assert (study / "ops" / f"{ended['id']}.json").exists()
    counts = ended["counts"]
    assert isinstance(counts, dict)
    assert (counts["exports_loaded"], counts["participants_published"], counts["nights_rebuilt"]) == (2, 2, 20)


def test_no_entry_names_anybody(study: Path) -> None:
    k01 = pid(study)
    ask(study, f"SELECT count(*) AS \"Ada\" FROM night WHERE participant_id = '{k01}' AND 'K01' <> 'Ada Lovelace'")
    text = path_of(study).read_text()
    assert not {name for name in (k01, "K01", "Ada", "Lovelace") if name in text}
    last = entries(study)[-1]
    assert last["audit_id"] == audit_ids(study / "identity")[k01]
    assert last["counts"] == {"rows": 1, "participants_named": 1}


def test_withdrawal_and_erasure_stay_in_the_audit_and_their_link_goes(study: Path) -> None:
    k01 = pid(study)
    withdraw(open_study(study), k01, ON, keep=True)
    link = audit_ids(study / "identity")[k01]
    said = audit(open_study(study), "K01").rows
    assert [(each["action"], each["state"]) for each in said] == [("withdraw", "begun"), ("withdraw", "ended")]
    erase(open_study(study), k01)
    about = [(each["action"], each["state"]) for each in entries(study) if each.get("audit_id") == link]
    assert about == [("withdraw", "begun"), ("withdraw", "ended"), ("erase", "begun"), ("erase", "ended")]
    assert audit_ids(study / "identity") == {}
    everything = {name: data for name, data in files(study).items() if not name.startswith("audit/")}
    assert [name for name, data in everything.items() if link.encode() in data] == []
    assert re.fullmatch("a[0-9a-f]{20}", link)
    with pytest.raises(WrongUse, match="no link"):
        audit(open_study(study), k01)
    assert audit(open_study(study)).breaks == []


ACTIONS: dict[str, Callable[[Path], object]] = {
    "query": lambda root: ask(root, "SELECT 1"),
    "report": lambda root: write_one(open_study(root), "K01"),
    "release": lambda root: release(open_study(root), "r1"),
    "withdraw": lambda root: withdraw(open_study(root), "K01", ON, keep=True),
    "erase": lambda root: erase(open_study(root), "K01"),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_without_an_entry_nothing_is_done(study: Path, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of(study)
    path.rename(path.with_name("elsewhere"))
    path.mkdir()  # whoever runs this, root too, cannot write a folder
    before = {name: data for name, data in files(study).items() if not name.startswith("identity/audit")}
    with pytest.raises(Transient, match="audit's entry cannot be written"):
        ACTIONS[action](study)
    after = {name: data for name, data in files(study).items() if not name.startswith("identity/")}
    assert after == {name: data for name, data in before.items() if not name.startswith("identity/")}
    assert action in MUST_BE_WRITTEN


def test_the_command_says_so_and_ends_with_4(study: Path) -> None:
    path_of(study).unlink()
    path_of(study).mkdir()
    done = command("--study", study, "query", "SELECT count(*) FROM night")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.count("\n") == 1
    assert "without it `query` does nothing" in done.stderr


def test_a_run_goes_on_with_a_warning(study: Path, caplog: pytest.LogCaptureFixture) -> None:
    path_of(study).unlink()
    path_of(study).mkdir()
    land(study, "K01/more/sleep-2026-04-01.json", as_json(fitbit_nights(datetime(2026, 4, 1, 23), 1, 5000)))
    assert run(study).published.published == [pid(study)]
    assert "the audit's entry cannot be written" in caplog.text


def test_what_fails_is_entered_as_failed(study: Path) -> None:
    with pytest.raises(WrongUse):
        ask(study, "SELECT * FROM no_such_table")
    assert (entries(study)[-1]["state"], entries(study)[-1]["error"]) == ("failed", "WrongUse")


def test_purposes_of_the_study(study: Path) -> None:
    change_settings(study, audit={"purposes": ["monitoring", "analysis"]})
    with pytest.raises(WrongUse, match="asks for one of: monitoring, analysis"):
        ask(study, "SELECT 1")
    with acting(purpose="curiosity"), pytest.raises(WrongUse, match="asks for one of"):
        ask(study, "SELECT 1")
    with acting(purpose="analysis"):
        ask(study, "SELECT 1")
    run(study)
    assert [each.get("purpose") for each in entries(study)[-4:]] == ["analysis", "analysis", None, None]
    change_settings(study, audit={"purposes": ["monitoring"], "purpose": "monitoring"})
    ask(study, "SELECT 1")
    assert entries(study)[-1]["purpose"] == "monitoring"
    with acting(purpose="of Ada\nLovelace"), pytest.raises(WrongUse, match="name nobody"):
        enter(open_study(study), "serve")


def chain_of(folder: Path, count: int) -> Path:
    path = folder / "audit" / "audit.jsonl"
    for number in range(count):
        append(path, {"at": "2026-03-01T00:00:00Z", "action": "query", "number": number})
    return path


def test_each_line_has_the_hash_of_the_one_before(tmp_path: Path) -> None:
    path = chain_of(tmp_path, 3)
    lines = path.read_bytes().splitlines()
    assert json.loads(lines[0])["prev"] == "0" * 64
    for before, line in pairwise(lines):
        assert json.loads(line)["prev"] == sha256(before).hexdigest()
    assert read(path).head == sha256(lines[-1]).hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def changed(lines: list[bytes]) -> None:
    lines[2] = lines[2].replace(b'"number":2', b'"number":9')


def taken_out(lines: list[bytes]) -> None:
    del lines[2]


def put_in(lines: list[bytes]) -> None:
    lines.insert(3, lines[2])


def swapped(lines: list[bytes]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def first_gone(lines: list[bytes]) -> None:
    del lines[0]


def made_torn(lines: list[bytes]) -> None:
    lines[3] = lines[3][:30]


@pytest.mark.fault(74)
@pytest.mark.parametrize(
    ("change", "where"),
    [(changed, 4), (taken_out, 3), (put_in, 4), (swapped, 2), (first_gone, 1), (made_torn, 4)],
)
def test_any_change_is_found_with_its_line(tmp_path: Path, change: Callable[[list[bytes]], None], where: int) -> None:
    path = chain_of(tmp_path, 6)
    assert read(path).breaks == []
    lines = path.read_bytes().splitlines()
    change(lines)
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert read(path).breaks[0].startswith(f"line {where}:")


def test_a_shorter_chain_lacks_the_head_that_was_kept(study: Path) -> None:
    for _ in range(2):
        ask(study, "SELECT 1")
    head = read(path_of(study)).head
    ask(study, "SELECT 1")
    assert audit(open_study(study), head=head).breaks == []
    lines = path_of(study).read_bytes().splitlines(keepends=True)
    path_of(study).write_bytes(b"".join(lines[:-3]))
    assert audit(open_study(study)).breaks == []
    done = command("--study", study, "audit", "--head", head)
    assert done.returncode == 3
    assert "the head given is not in it" in done.stdout


@pytest.mark.parametrize("cut", [1, 2, 60])
def test_a_torn_last_line_is_told_and_the_chain_goes_on(tmp_path: Path, cut: int) -> None:
    path = chain_of(tmp_path, 4)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    torn = [] if cut == 1 else [4]  # without its line end alone, the entry is all there
    assert (read(path).breaks, read(path).torn) == ([], torn)
    append(path, {"at": "2026-03-01T00:00:00Z", "action": "query", "number": 4})
    append(path, {"at": "2026-03-01T00:00:00Z", "action": "query", "number": 5})
    found = read(path)
    assert (found.breaks, found.torn) == ([], torn)
    assert path.read_bytes().startswith(whole[:-cut])
    assert [entry["number"] for _, entry in found.entries][-2:] == [4, 5]


def _many(path: Path) -> None:
    for number in range(40):
        append(path, {"at": "2026-03-01T00:00:00Z", "action": "query", "number": number})


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit" / "audit.jsonl"
    writers = [Forked(lambda: _many(path)) for _ in range(4)]
    assert [each.wait() for each in writers] == [0] * 4
    found = read(path)
    assert (found.breaks, found.torn, found.count) == ([], [], 160)
    assert sorted(entry["number"] for _, entry in found.entries) == sorted([*range(40)] * 4)


def test_killed_while_writing_nothing_that_was_entered_is_lost(tmp_path: Path) -> None:
    """What `append` returned from is there, whoever was killed meanwhile, and at most one more of theirs."""
    path, said = tmp_path / "audit" / "audit.jsonl", tmp_path / "said"

    def write() -> None:
        with said.open("ab", buffering=0) as out:
            for number in range(1000):
                append(path, {"at": "2026-03-01T00:00:00Z", "action": "query", "number": number, "of": os.getpid()})
                out.write(f"{os.getpid()} {number}\n".encode())

    for _ in range(6):
        writer = Forked(write)
        before = said.stat().st_size if said.exists() else 0
        while not said.exists() or said.stat().st_size < before + 60:
            os.sched_yield()
        writer.kill()
        writer.wait()
    found = read(path)
    there = {f"{entry['of']} {entry['number']}" for _, entry in found.entries}
    entered = set(said.read_text().splitlines())
    assert found.breaks == []
    assert entered <= there
    assert len(there - entered) <= 6


def test_appending_reads_no_more_of_a_long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read_bytes = chain_of(tmp_path, 1), []
    line = path.read_bytes()
    pread = os.pread

    def counted(descriptor: int, size: int, at: int) -> bytes:
        read_bytes.append(size)
        return pread(descriptor, size, at)

    monkeypatch.setattr(audit_chain.os, "pread", counted)
    for times in (100, 20_000):
        path.write_bytes(line * times)
        append(path, {"at": "2026-03-01T00:00:00Z", "action": "query"})
    assert read_bytes == [4096, 4096]


def test_it_outlives_the_warehouse_and_shows_what_it_holds(study: Path) -> None:
    ask(study, "SELECT 1")
    before = path_of(study).read_bytes()
    (study / "warehouse.duckdb").unlink()
    run(study)
    assert path_of(study).read_bytes().startswith(before)
    done = command("--study", study, "audit", "--action", "query", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [(each["action"], each["state"]) for each in json.loads(done.stdout)] == [("query", "begun"),
                                                                                    ("query", "ended")]  # fmt: skip
    text = command("--study", study, "audit", "--last", "1").stdout.splitlines()
    assert text[0].split("  ")[1:4] == [login(), "run", "ended"]
    assert text[1].startswith("head       ")
    table = command("--study", study, "audit", "--format", "csv", "--last", "2").stdout.splitlines()
    assert (table[0].split(",")[:4], len(table)) == (["at", "who", "via", "action"], 3)


def test_a_line_put_in_ends_the_command_with_3(study: Path) -> None:
    lines = path_of(study).read_bytes().splitlines(keepends=True)
    path_of(study).write_bytes(b"".join([lines[0], b'{"at":"2026-01-01","action":"erase","prev":"0"}\n', *lines[1:]]))
    done = command("--study", study, "audit")
    assert done.returncode == 3
    assert "broken     audit/audit.jsonl line 2:" in done.stdout


def test_a_page_that_is_written_or_served_is_entered(study: Path) -> None:
    write_one(open_study(study), "K01")
    k01 = pid(study)
    asked = TestClient(make_app(study), base_url="http://localhost")
    assert asked.get(f"/participant/{k01}").status_code == 200
    assert asked.get("/participant/p00000000000000000000").status_code != 200
    said = [(each["action"], each["state"], each["via"], each["audit_id"]) for each in entries(study)[-3:]]
    link = audit_ids(study / "identity")[k01]
    assert said == [("report", "begun", "command", link), ("report", "ended", "command", link),
                    ("serve", "done", "serve", link)]  # fmt: skip
    path_of(study).unlink()
    path_of(study).mkdir()
    refused = asked.get(f"/participant/{k01}")
    assert refused.status_code >= 500
    assert k01 not in refused.text


def test_who_acts_is_whoever_a_scheduler_says(study: Path) -> None:
    with acting(who="ada", via="airflow", run="erase_participant manual__2026"), audited(open_study(study), "report"):
        pass
    assert {(each["who"], each["via"], each["run"]) for each in entries(study)[-2:]} == {
        ("ada", "airflow", "erase_participant manual__2026")
    }
