"""Status as JSON, log lines, and the page that describes both: complete, parseable, and without personal content."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from ingest._core import clock
from ingest._core.settings import Settings
from ingest._core.study import open_study
from ingest.cli import app
from ingest.publish.reading import opened
from ingest.report.expectations import expectations
from studies import PROJECT, as_json, command, fitbit_nights, land, make_study, pid

DOCS = PROJECT / "docs"
REF, CANARY = "Alma-Zebrowski", "zebrowski"
HEAD = "participant_ref,substance,taken_at,amount,unit\n"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of export, each with the canary in its name or its content; not run yet."""
    root = make_study(tmp_path_factory.mktemp("watching") / "study", refs=(REF, "K02"))
    night = datetime(2026, 3, 1, 23)
    land(root, f"{REF}/Zebrowski/sleep-2026-03-01.json", as_json(fitbit_nights(night, 3)))
    land(root, f"{REF}/bad Zebrowski/sleep-2026-03-02.json", b'[{"logId": "Zebrowski"')
    land(root, f"{REF}/Zebrowski.txt", "Zebrowski was here")
    land(root, "_logs/Zebrowski.csv", HEAD + f"{REF},Zebrowski,2026-03-01T21:00,3,g\nnobody-Zebrowski,kratom,x,3,g\n")
    land(root, "nobody-Zebrowski/sleep-2026-03-01.json", as_json(fitbit_nights(night, 1)))
    return root


@pytest.fixture(scope="module")
def lines(study: Path) -> dict[str, list[dict[str, Any]]]:
    """What a run, and then a backfill of everything, log; the run as JSON, the backfill as text."""
    first = command("--study", study, "--log-format", "json", "run")
    again = command("--study", study, "--log-format", "text", "backfill", "--arrived", "2020-01-01", "2100-01-01")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert CANARY not in (first.stderr + again.stderr).lower()
    return {"json": [json.loads(line) for line in first.stderr.splitlines()],
            "text": [parsed(line) for line in again.stderr.splitlines()]}  # fmt: skip


def parsed(line: str) -> dict[str, Any]:
    """A key=value line; a value in quotes is a JSON string."""
    found = {}
    for key, value in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"]+)(?: |$)', line):
        found[key] = json.loads(value) if value.startswith('"') else value
    again = " ".join(f"{key}={value if re.fullmatch(r'[^ =]+', value) else json.dumps(value)}"
                     for key, value in found.items())  # fmt: skip
    assert again == line
    return found


@pytest.mark.parametrize("format", ["json", "text"])
def test_there_is_a_line_for_each_export_participant_and_run(
    study: Path, lines: dict[str, list[dict[str, Any]]], format: str
) -> None:
    found = lines[format]
    assert all({"time", "level", "event"} <= line.keys() for line in found)
    exports = [line for line in found if line["event"] == "export"]
    with opened(open_study(study)) as reader:
        held = reader.rows("SELECT DISTINCT left(source_file_id, 12), participant_id, status FROM source_file "
                           "WHERE NOT (participant_id <> '_study' AND source = 'csv_log')")  # fmt: skip
    said = sorted((line["export"], line["participant_id"], line["status"]) for line in exports)
    assert said == sorted(held)
    assert len(said) == 5
    loaded = [line for line in exports if line["status"] == "loaded"]
    assert [(line["source"], int(line["read"]), int(line["kept"])) for line in loaded] == [("fitbit", 3, 3)]
    assert all(float(line["seconds"]) >= 0 for line in exports)
    assert {line["reason"] for line in exports if line["status"] == "refused"} >= {"unknown_participant"}
    assert [line["kind"] for line in found if line["event"] == "run"] == [
        "run" if format == "json" else "backfill_arrived"]  # fmt: skip
    if format == "json":
        people = [line["participant_id"] for line in found if line["event"] == "participant"]
        assert sorted(people) == sorted(["_study", pid(study, REF), pid(study, "K02")])


def test_without_being_asked_only_warnings_are_logged(study: Path, lines: object) -> None:
    quiet = command("--study", study, "run")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    wrong = command("--study", study, "--log-format", "xml", "run")
    assert wrong.returncode == 2
    assert "text or json" in wrong.stderr


def test_the_status_as_json_has_the_keys_of_its_schema(study: Path, lines: object) -> None:
    schema = json.loads((DOCS / "status.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    done = CliRunner().invoke(app, ["--study", str(study), "status", "--format", "json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    jsonschema.validate(found, schema, format_checker=jsonschema.FormatChecker())
    assert CANARY not in done.stdout.lower()
    assert found["sources"]["fitbit"]["exports"] == {"loaded": 1, "partial": 0, "ignored": 0, "refused": 2}
    assert found["nights"] == 3
    assert sum(found["arrivals_per_day"].values()) == 5
    assert found["participants"]["in_roster"] == 2
    assert {each["participant_id"] for each in found["participants"]["silent"]} == {pid(study, REF), pid(study, "K02")}
    assert found["unpublished"] == {"count": 0, "oldest_at": None, "oldest_age_s": None}
    assert found["last_run"]["outcome"] == "ended"
    broken = {each["expectation"] for each in found["broken_expectations"]}
    assert broken == {each.expectation for each in expectations(open_study(study))}
    assert {"silent_participants", "many_refused"} <= broken
    assert {"unknown_participant"} <= {each["reason"] for each in found["refusals"]}


def test_the_status_for_people_says_the_same(study: Path, lines: object) -> None:
    out = CliRunner().invoke(app, ["--study", str(study), "status"], catch_exceptions=False).stdout
    assert f"silent: {pid(study, 'K02')}, nothing ever came" in out
    assert f"silent: {pid(study, REF)}, last on 2026-03-03, " in out
    assert f"exports that arrived, last 14 days: {clock.now():%m-%d}: 5" in out
    assert "expected otherwise: many_refused: " in out
    assert "last run: " in out


def test_a_study_without_a_run_has_a_status(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", str(tmp_path / "new")], catch_exceptions=False)
    assert done.exit_code == 0
    out = CliRunner().invoke(app, ["--study", str(tmp_path / "new"), "status", "-f", "json"], catch_exceptions=False)
    found = json.loads(out.stdout)
    jsonschema.validate(found, json.loads((DOCS / "status.schema.json").read_text(encoding="utf-8")))
    assert (found["last_run"], found["nights"], found["warehouse"]["usable"]) == (None, 0, False)


def test_what_the_page_shows_is_so(study: Path, lines: dict[str, list[dict[str, Any]]]) -> None:
    page = (DOCS / "watching.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert yaml.safe_load(shown) == {"monitor": Settings(study="s").monitor.model_dump()}
    (sql,) = re.findall(r"```sql runs\n(.*?)```", page, re.DOTALL)
    with opened(open_study(study)) as reader:
        assert [row[1:3] for row in reader.rows(sql)][-1] == ("run", "ended")
    (line,) = [each for each in page.splitlines() if each.startswith("time=")]
    loaded = next(each for each in lines["text"] if each.get("status") == "loaded")
    assert list(parsed(line)) == list(loaded)
    events = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert {each["event"] for found in lines.values() for each in found} <= set(events)
