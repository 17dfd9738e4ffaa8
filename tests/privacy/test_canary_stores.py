"""A study full of planted names, and of everything that goes wrong: no store and no message holds one of them."""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from exports import Export, exports
from faults.small import Forked, copied, dies_at, run_frozen
from fixtures import make
from ingest._core.logs import log, to_stderr
from ingest._core.study import open_study
from ingest.decode.registry import decoder, decoders
from ingest.publish.warehouse import publish_study
from plants import places
from publish.test_postgres import on
from serve.running import all_answers, running
from studies import change_settings, command, land, make_study, pid, rows
from unpacked import naming, of_database

WORD = "Zebrowskaxyq"
REF, OTHER = f"Alma-{WORD}", f"Bo.{WORD}"
MAIL, SERIAL, PLACE, BORN = "alma.zq@example.org", "SN-7Q4Z-99817", "59.91387341", "1911-11-23"
WORDS = {WORD, MAIL, SERIAL, PLACE, BORN}
PRIVATE = ("landing/", "identity/", "roster.csv", "time_zones.csv", "phases.csv", "consents.csv")
CRASHING = "misfit"


def _whole(source: str) -> Export:
    """The fixture of a source that has most files and is read without settings of its own."""
    own = [each for each in exports() if each.source == source and not each.settings.get("logs")]
    return max(own, key=lambda each: (each.situation in ("whole-zip", "whole_export"), len(each.files), each.situation))


def _planted(export: Export) -> dict[str, bytes]:
    """Its files with every kind of word in the fields that a vendor may add."""
    made = {}
    for name, data in export.files.items():
        added = [plant for place, plant in places(name, data) if place.endswith(("holds more", "one more"))]
        made[name] = added[0](f"{WORD} {MAIL} {SERIAL} {PLACE} {BORN}") if added else data
    return made


def _land_all(root: Path) -> None:
    for each in decoders():
        export = _whole(each.source)
        for name, data in _planted(export).items():
            land(root, f"{REF}/{WORD} {each.source}/{name}", data)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"../{WORD}.json", "[]")
    land(root, f"{REF}/{WORD} bad/{WORD}.zip", packed.getvalue())
    land(root, f"{REF}/{WORD} cut/{WORD}.zip", packed.getvalue()[:40])
    land(root, f"{REF}/{WORD} gz/{WORD}.csv.gz", gzip.compress(bytes(3_000_000)))
    land(root, f"{REF}/{WORD} text/{WORD}.csv", f"{WORD},{MAIL}\n{SERIAL},{PLACE}\n")
    land(root, f"{REF}/{WORD} json/{WORD}.json", f'{{"{WORD}": "{MAIL}", "x": [')
    land(root, f"Unknown-{WORD}/sleep.json", f'[{{"{WORD}": 1}}]')
    land(root, "_logs/all.csv", f"participant_ref,substance,taken_at,amount,unit\n{REF},kratom,2026-03-01T21:00,2,g\n"
         f"Gone-{WORD},kratom,2026-03-01T22:00,2,g\n{OTHER},{WORD},{WORD},{WORD},{WORD}\n")  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The study after a run that was killed and one that met a decoder with a fault; what was printed, by command."""
    root = make_study(tmp_path_factory.mktemp("canary") / "study", refs=(REF, OTHER))
    _land_all(root)
    with (root / "roster.csv").open("a") as roster:
        roster.write(f"{WORD} {MAIL},Nowhere/{WORD}\nThird-{WORD},{BORN}\n")
    (root / "phases.csv").write_text(
        f"participant_ref,phase,start_on\n{OTHER},{WORD},{WORD}\n{WORD},taper,2026-01-01\n"
    )
    (root / "consents.csv").write_text(f"participant_ref,scope\n{OTHER},{WORD}\n")
    said = {}
    process = Forked(lambda: (dies_at(60), run_frozen(root)))
    assert process.wait() == -9
    said["a killed run"] = process.said

    def with_a_fault() -> None:
        def crash(*given: Any) -> None:
            raise ValueError(f"{WORD} {MAIL} in {SERIAL}") from KeyError(WORD)

        sys.stderr = os.fdopen(os.dup(2), "w")  # pytest has put another in its place
        log.handlers.clear()
        to_stderr(verbose=True)
        type(decoder(CRASHING)).decode = crash  # type: ignore[method-assign]
        run_frozen(root)

    process = Forked(with_a_fault)
    assert process.wait() == 0, process.said[-2000:]
    said["a run with a fault"] = process.said
    change_settings(root, publish={"stages": True})
    for words in (("--log-format", "json", "--verbose", "run"), ("run", "--explain"), ("status",), ("associate",),
                  ("status", "--format", "json"), ("verify",), ("query", "select * from night_wide"),
                  ("query", "select * from quarantine"), ("release", "--as", "first"), ("rekey",), ("report", "--all"),
                  ("audit", "--last", "0"), ("audit", "--format", "json")):  # fmt: skip
        done = command("--study", root, *words)
        assert done.returncode in (0, 1), (words, done.stderr[-2000:])
        said[" ".join(words)] = done.stdout + done.stderr
    with running(root, root.parent / "serve.log") as server:
        for path, body in all_answers(server, pid(root, REF)).items():
            said[f"served {path}"] = body.decode()
    said["the server's log"] = (root.parent / "serve.log").read_text()
    return root, said


@pytest.mark.fault(67)
def test_no_store_holds_a_planted_word(ran: tuple[Path, dict[str, str]]) -> None:
    root, _ = ran
    landed = b"".join(path.read_bytes() for path in (root / "landing").rglob("*") if path.is_file())
    assert all(landed.count(word.encode()) > 30 for word in WORDS)
    assert naming(root, WORDS, PRIVATE) == {}
    assert {path.name for path in (root / "reports").rglob("*.html")} > {"cohort.html", "intake.html"}
    assert (root / "audit" / "audit.jsonl").read_text().count('"action":"serve"') > 10
    assert rows(root, "select count(*) > 0 from night") == [(True,)]
    found = dict(rows(root, "select source, sum(coalesce(kept, 0)) from source_file group by 1"))
    assert found.keys() >= {each.source for each in decoders()}
    assert sum(kept > 0 for kept in found.values()) >= 10


@pytest.mark.fault(67)
def test_no_message_holds_a_planted_word(ran: tuple[Path, dict[str, str]]) -> None:
    """But the names that `run` and `status` tell whoever keeps the roster: its own lines, by their number."""
    _, said = ran
    assert "event" in said["--log-format json --verbose run"]
    assert f"decoder {CRASHING} failed on export" in said["a run with a fault"]
    assert said["audit --last 0"].count(" serve  done") == 0  # it was asked before
    assert "path=/intake" in said["the server's log"]
    assert sum(words.startswith("served ") and words.endswith(".csv") for words in said) > 10
    for words, text in said.items():
        assert [word for word in WORDS if word.lower() in text.lower()] == [], (words, re.findall(f".*{WORD}.*", text))


@pytest.mark.fault(67)
def test_no_table_of_postgresql_holds_one(ran: tuple[Path, dict[str, str]], postgres: str, tmp_path: Path) -> None:
    study = on(open_study(copied(ran[0], tmp_path / "study")), postgres)
    publish_study(study)
    text = of_database(study)
    assert study.settings.study in text or len(text) > 10_000
    assert [word for word in WORDS if word.lower() in text.lower()] == []


def test_the_look_itself_finds_what_is_packed(tmp_path: Path) -> None:
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [WORD.upper() * 3] * 50}), tmp_path / "a.parquet", compression="zstd")
    (tmp_path / "b.zip").write_bytes(make.zipped({"x": b"x" * 90 + MAIL.encode()}))
    (tmp_path / "c.json").write_text('{"a": ["\\u005aebrowskaxyq"]}')
    with duckdb.connect(str(tmp_path / "d.duckdb")) as connection:
        connection.execute("create table t as select ? as a from range(5000)", [SERIAL])
    (tmp_path / f"{BORN}.txt").write_bytes(os.urandom(99))
    assert naming(tmp_path, WORDS) == {"a.parquet": WORD, "b.zip": MAIL, "c.json": WORD, "d.duckdb": SERIAL,
                                       f"{BORN}.txt": BORN}  # fmt: skip
