"""README and docs hold together with the code: commands run, tables are current, words are explained."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from ingest._core.settings import Settings
from ingest.cli import app
from ingest.decode.log.csv_log import DECODER
from ingest.decode.model import HEAD_BYTES, Decoded, ExportFacts, Head, Member
from ingest.demo.study import make_study
from ingest.harmonise.diaries import harmonise_diaries
from ingest.harmonise.person import Person
from ingest.harmonise.scales import harmonise_responses
from ingest.harmonise.uses import harmonise_uses
from ingest.report.formats import render, summary

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
RUN_ELSEWHERE = {
    "make demo": "tests/meta/test_docs.py",  # test_make_demo_prints_what_the_readme_shows
    "make test": ".ci/run",
}
PAGES_RUN_BY = {
    "audit.md": "tests/privacy/test_page.py",
    "encryption.md": "tests/privacy/test_encryption.py",
    "lake.md": "tests/report/test_outside.py",
    "object-storage.md": "tests/arrive/test_object_landing.py",
    "operations.md": "tests/cli/test_operations.py",
    "pages.md": "tests/report/pages/test_participant.py",
    "privacy.md": "tests/privacy/test_page.py",
    "serve.md": "tests/serve/test_page.py",
}


def blocks(page: Path, *kinds: str) -> Iterator[tuple[str, str]]:
    """Info string and body of the fenced blocks whose language is one of `kinds`."""
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        if match["info"].split(" ")[0] in kinds:
            yield match["info"], match["body"]


def commands(page: Path) -> list[str]:
    """The lines to type in, in their order: of console blocks those after `$`, of sh blocks all."""
    found = []
    for info, body in blocks(page, "console", "sh"):
        for line in body.splitlines():
            if info == "console" and line.startswith("$ "):
                found.append(line[2:])
            elif info == "sh" and line.strip() and not line.startswith("#"):
                found.append(line)
    return found


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_every_command_is_in_the_docs() -> None:
    registered = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    typed = set(re.findall(r"(?:`|^)ingest (?:--study [\w./-]+ )?([a-z]+)", text, re.MULTILINE))
    assert len(registered) > 5
    assert not registered - typed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [target for target in local if target and not (page.parent / target).exists()] == []


def test_the_tables_of_formats_are_current() -> None:
    assert (DOCS / "formats.md").read_text(encoding="utf-8").endswith("\n\n" + render())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    _, begin, rest = readme.partition("<!-- formats -->\n")
    table, end, _ = rest.partition("<!-- /formats -->\n")
    assert begin
    assert end
    assert table.strip("\n") + "\n" == summary()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a small synthetic study's folders and one participant's export among the downloads."""
    home = tmp_path_factory.mktemp("home")
    make_study(home / "source", 2, 20)
    downloads = home / "Downloads"
    downloads.mkdir()
    packed = sorted((home / "source" / "landing").glob("K*/*.zip"))[0]
    kept = downloads / packed.name
    kept.write_bytes(packed.read_bytes())
    (downloads / "kratom-log.csv").write_text(
        "substance,taken_at,amount,unit\nkratom,2026-01-06T21:30,3,g\n", encoding="utf-8"
    )
    for file in downloads.iterdir():
        os.utime(file, (1_770_000_000, 1_770_000_000))
    return home


def run_page(page: Path, home: Path, folder: Path) -> str:
    """Type in the page's commands, in order, in one shell; returns what they printed."""
    lines = [line for line in commands(page) if line not in RUN_ELSEWHERE]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["/bin/bash", "-eu"], input="\n".join(lines), env=environment, cwd=folder, text=True,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_readme_can_be_typed_in(demo: Path, tmp_path: Path) -> None:
    assert any(line.startswith("ingest ") for line in commands(ROOT / "README.md"))
    out = run_page(ROOT / "README.md", demo, tmp_path)
    assert re.search(r"rebuilt +1 participants, [1-9]\d* nights", out)
    assert "0 refused" in out
    assert "holds" in out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_commands_is_run_somewhere(page: Path) -> None:
    if page == ROOT / "README.md":
        assert [line for line in commands(page) if line.startswith(("make ", "airflow "))
                and line not in RUN_ELSEWHERE] == []  # fmt: skip
        for command, where in RUN_ELSEWHERE.items():
            assert command in (ROOT / where).read_text(encoding="utf-8")
    elif page.name in PAGES_RUN_BY:
        assert f"docs/{page.name}" in (ROOT / PAGES_RUN_BY[page.name]).read_text(encoding="utf-8")
    elif page.name == "backfills.md":
        assert "docs" in (ROOT / "tests/cli/test_backfills_page.py").read_text(encoding="utf-8")
    else:
        assert commands(page) == []


def shown_output(command: str) -> list[str]:
    """Lines that the README shows below `$ command`, those left out (`...`) aside."""
    (body,) = [body for _, body in blocks(ROOT / "README.md", "console") if f"$ {command}\n" in body]
    below = body.partition(f"$ {command}\n")[2].partition("\n$ ")[0]
    return [line.strip() for line in below.splitlines() if line != "..."]


def recipe(target: str) -> str:
    """The make target's last line, with BIN filled in."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}: setup[ a-z]*\n(?:\t.*\n)*?\t@?(.*)\n(?!\t)", text, re.MULTILINE)
    assert found
    return found[1].replace("$(BIN)", ".venv/bin")


@pytest.mark.xdist_group("airflow")
def test_make_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    assert recipe("demo") == ".venv/bin/python scripts/demo.py $(DEMO)"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo.py", "demo-study"], cwd=tmp_path, text=True, timeout=300,
        capture_output=True, check=False, env=os.environ | {"LANG": "C.UTF-8", "COLUMNS": "120"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    # The key of a new study is random, so the participants' ids and their order are its own.
    ids = re.compile(r"\bp[0-9a-f]{20}\b")
    printed = [line.strip() for line in done.stdout.splitlines()]
    whole = [line for line in shown_output("make demo") if not ids.search(line)]
    assert len(whole) > 10
    assert [line for line in whole if not any(each.startswith(line.removesuffix(" ...")) for each in printed)] == []


def test_make_test_is_what_the_readme_shows() -> None:
    assert shown_output("make test")[0] == recipe("test")


PEOPLE = {"P01": Person("p" + "0" * 20, "P01", "Europe/Oslo", "roster", "5ec1")}
FACTS = ExportFacts("f" * 64, "csv_log", datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 4, 30, tzinfo=UTC))


HARMONISERS = {"uses": harmonise_uses, "diaries": harmonise_diaries, "responses": harmonise_responses}


def examples() -> list[tuple[str, dict[str, Any] | None, str, str]]:
    """Of docs/logs.md: name, mapping (None for the canonical log), the log, the rows it gives."""
    found: list[tuple[str, dict[str, Any] | None, str, str]] = []
    mapping: dict[str, Any] | None = None
    log = ""
    for info, body in blocks(DOCS / "logs.md", "yaml", "csv"):
        if info == "yaml":
            mapping = yaml.safe_load(body)
        elif info == "csv rows":
            found.append((mapping["name"] if mapping else "canonical", mapping, log, body))
            mapping = None
        else:
            log = body
    return found


def decode(log: str, mapping: dict[str, Any] | None) -> Decoded:
    settings = Settings.model_validate({"study": "docs", "logs": [mapping] if mapping else []})
    data = log.encode()
    role = DECODER.claim(Head("log.csv", len(data), data[:HEAD_BYTES]), settings)
    assert role is not None
    return DECODER.decode([Member(1, "log.csv", role, lambda: io.BytesIO(data))], settings)


@pytest.mark.parametrize("example", examples(), ids=lambda example: example[0])
def test_the_logs_of_the_docs_give_the_rows_beside_them(
    example: tuple[str, dict[str, Any] | None, str, str],
) -> None:
    _, mapping, log, rows = example
    decoded = decode(log, mapping)
    ((table, harmonise),) = [(getattr(decoded, name), harmonise) for name, harmonise in HARMONISERS.items()
                             if getattr(decoded, name) is not None and len(getattr(decoded, name))]  # fmt: skip
    shares = harmonise(table, decoded.tally, FACTS, PEOPLE, "P01")
    given = pa.concat_tables(shares.values()).sort_by([("source_row", "ascending")]).to_pylist()
    expected = list(csv.DictReader(io.StringIO(rows)))
    found = [{name: in_words(row[name]) for name in expected[0]} for row in given]
    assert sorted(found, key=lambda row: sorted(row.items())) == sorted(expected, key=lambda row: sorted(row.items()))


def in_words(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M")
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_there_is_an_example_of_every_layout() -> None:
    layouts = {mapping["layout"] if mapping else "canonical" for _, mapping, _, _ in examples()}
    assert layouts == {"canonical", "long", "daily", "wide", "calendar", "diary", "scale"}
