"""What the server answers, without a browser: who may look, under which names, and what it says where it cannot."""

from __future__ import annotations

import csv
import html
import io
import os
import shutil
import stat
import urllib.request
from pathlib import Path

import duckdb
import pytest
from starlette.testclient import TestClient

from ingest._core.errors import WrongUse
from ingest.publish.reading import NO_WAREHOUSE
from ingest.serve.access import SESSION_S, Access, token_of
from ingest.serve.app import make_app
from ingest.serve.run import Listening, serve
from serve.hostile import TOKEN, Server
from studies import pid, rows


def client(root: Path, host: str = "localhost", **options: object) -> TestClient:
    return TestClient(make_app(root, **options), base_url=f"http://{host}", follow_redirects=False)  # type: ignore[arg-type]


def test_without_the_token_nothing_is_shown(spoilt: Path) -> None:
    of = client(spoilt, token=TOKEN)
    person = f"/participant/{pid(spoilt, 'K01')}"
    for path in ("/", "/participants", "/cohort", "/intake", person, "/cohort/states.csv", "/nope"):
        answer = of.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        browser = of.get(path, headers={"Accept": "text/html"})
        assert (browser.status_code, browser.headers["location"]) == (303, f"/login?next={path}")
        assert of.get(path, headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 401
        assert of.get(f"{path}?token={TOKEN}").status_code == 401
        assert of.get(path, headers={"Cookie": f"ingest_session={TOKEN}"}).status_code == 401


def test_the_header_opens_what_the_login_does(spoilt: Path) -> None:
    of = client(spoilt, token=TOKEN)
    assert of.get("/cohort/states.csv", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("goes_to", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: y", "evil"])
def test_a_login_never_leads_elsewhere(spoilt: Path, goes_to: str) -> None:
    answer = client(spoilt, token=TOKEN).post("/login", data={"token": TOKEN, "next": goes_to})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_session_ends() -> None:
    now = [0.0]
    access = Access(TOKEN, clock=lambda: now[0])
    session = access.begin()
    assert access.allows(None, session)
    now[0] = SESSION_S - 1
    assert access.allows(None, session)
    now[0] = SESSION_S
    assert not access.allows(None, session)
    other = access.begin()
    access.end(other)
    assert not access.allows(None, other)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:80", "a b", "127.0.0.2"])
def test_another_name_is_not_answered(spoilt: Path, host: str) -> None:
    of = client(spoilt, hosts=Listening().hosts)
    assert of.get("/", headers={"Host": host}).status_code == 400
    for name in ("localhost:8321", "127.0.0.1:8321", "[::1]:8321"):
        assert of.get("/", headers={"Host": name}).status_code == 200


def test_every_answer_forbids_frames_caches_and_foreign_scripts(spoilt: Path) -> None:
    of = client(spoilt)
    for path, status in (("/", 200), ("/nope", 404), ("/intake?from=x", 400), ("/intake/files.csv", 200)):
        answer = of.get(path)
        assert answer.status_code == status
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.headers["content-type"].startswith("text/html"):
            assert "default-src 'none'; script-src 'none'" in html.unescape(answer.text)


@pytest.mark.parametrize(
    ("query", "words"), [("from=yesterday", "2026-03-01"), ("from=2026-03-02&to=2026-03-01", "after")]
)
def test_dates_that_cannot_be_are_told(spoilt: Path, query: str, words: str) -> None:
    answer = client(spoilt).get(f"/cohort?{query}")
    assert answer.status_code == 400
    assert words in answer.text


def test_only_looking_is_possible(spoilt: Path) -> None:
    of = client(spoilt)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert of.request(method, "/cohort").status_code == 405
    assert of.post("/participants", content=b"search=" + b"a" * 5000).status_code == 413


def test_a_ref_is_found_only_where_that_is_wanted(spoilt: Path) -> None:
    found = client(spoilt, refs=True).post("/participants", data={"search": "K01"})
    assert found.headers["location"] == f"/participant/{pid(spoilt, 'K01')}"
    assert "Nobody is found" in client(spoilt).post("/participants", data={"search": "K01"}).text


def test_a_missing_or_broken_warehouse_is_told_and_a_new_one_is_seen(spoilt: Path, tmp_path: Path) -> None:
    shutil.copytree(spoilt, tmp_path / "study")
    of, warehouse = client(tmp_path / "study"), tmp_path / "study" / "warehouse.duckdb"
    assert of.get("/participants").text.count("/participant/p") == 5
    kept = warehouse.rename(tmp_path / "kept.duckdb")
    answer = of.get("/participants")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert NO_WAREHOUSE.replace("`", "") in answer.text.replace("`", "")
    warehouse.write_bytes(b"no database" * 1000)
    answer = of.get("/participants")
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text
    warehouse.unlink()
    shutil.copy(kept, tmp_path / "new.duckdb")
    with duckdb.connect(str(tmp_path / "new.duckdb")) as connection:
        first = "(SELECT min(participant_id) FROM participant)"
        connection.execute(f"DELETE FROM participant WHERE participant_id <> {first}")
    os.replace(tmp_path / "new.duckdb", warehouse)
    assert of.get("/participants").text.count("/participant/p") == 1


def test_a_server_serves_what_is_published_while_it_runs(server: Server, spoilt: Path) -> None:
    warehouse = spoilt / "warehouse.duckdb"
    request = urllib.request.Request(f"{server.url}/intake/refusals.csv", headers={"Authorization": f"Bearer {TOKEN}"})

    def reasons() -> set[str]:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return {row["reason"] for row in csv.DictReader(io.StringIO(answer.read().decode()))}

    before = reasons()
    assert before == {reason for (reason,) in rows(spoilt, "select distinct reason from quarantine")}
    kept, new = spoilt / "kept.duckdb", spoilt / "new.duckdb"
    shutil.copy(warehouse, kept)
    shutil.copy(warehouse, new)
    with duckdb.connect(str(new)) as connection:
        connection.execute("UPDATE quarantine SET reason = 'another_reason'")
    os.replace(new, warehouse)
    try:
        assert reasons() == {"another_reason"}
    finally:
        os.replace(kept, warehouse)
    assert reasons() == before


def test_a_token_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "token"
    made = token_of(None, path)
    assert made == path.read_text().strip() == token_of(None, path)
    assert len(made) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(WrongUse, match="others may read"):
        token_of(None, path)
    short = tmp_path / "short"
    short.write_text("1234\n")
    short.chmod(0o600)
    with pytest.raises(WrongUse, match="20 characters"):
        token_of(None, short)
    with pytest.raises(WrongUse, match="20 characters"):
        token_of("1234", None)
    assert token_of("", None) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "a-name.example"])
def test_others_are_served_with_a_token_only(tmp_path: Path, host: str) -> None:
    assert not Listening(host).is_loopback
    with pytest.raises(WrongUse, match="--token-file"):
        serve(tmp_path, None, False, Listening(host), print)
    assert Listening("127.0.0.1").is_loopback
    assert Listening("::1").is_loopback


def test_a_port_that_is_taken_is_told(server: Server, spoilt: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(WrongUse, match="--port takes another"):
        serve(spoilt, None, False, Listening(port=port), print)
