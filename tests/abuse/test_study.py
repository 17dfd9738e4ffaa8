"""A landing folder full of what nobody should hand in: each thing is one line, the good export is loaded."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from ingest._core.contract import PUBLISH, VIEW, fields, published_tables, tables
from studies import as_json, check_counts, fitbit_nights, land, make_study, quarantine, rows, run, told

REF, CANARY = "Ref-Alma-Zebrowski", "Zebrowski"
NIGHTS = as_json(fitbit_nights(datetime(2026, 3, 1, 23), 3))
MORE_NIGHTS = as_json(fitbit_nights(datetime(2026, 5, 1, 23), 2, 500))
NAME = "Takeout/Fitbit/Global Export Data/sleep-2026-05-01.json"


def _zip(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return stream.getvalue()


def _tgz(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _encrypted(data: bytes) -> bytes:
    changed = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            changed[at + offset] |= 1
    return bytes(changed)


def _link() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as file:
        info = tarfile.TarInfo("Zebrowski.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(info)
    return stream.getvalue()


BAD: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "traversal": ("Zebrowski.zip", lambda: _zip(("../Zebrowski.json", MORE_NIGHTS)), "unsafe_name"),
    "zip in zip": ("a.zip", lambda: _zip(("Zebrowski.zip", _zip((NAME, MORE_NIGHTS)))), "nested_archive"),
    "zip in zip, disguised": ("a.zip", lambda: _zip(("Zebrowski.json", _zip((NAME, b"[]")))), "nested_archive"),
    "all encrypted": ("a.zip", lambda: _encrypted(_zip(("a.json", b"{}"), ("b.csv", b"x"))), "encrypted_member"),
    "workbook": ("sleep.xlsx", lambda: _zip(("[Content_Types].xml", b"x"), ("xl/Zebrowski", b"x")), "office_document"),
    "old workbook": ("sleep.xls", lambda: b"\xd0\xcf\x11\xe0 Zebrowski", "office_document"),
    "app": ("x.apk", lambda: _zip(("AndroidManifest.xml", b"x")), "software_package"),
    "rar": ("x.rar", lambda: b"Rar!\x1a\x07 Zebrowski", "unknown_archive"),
    "zip by name only": ("x.zip", lambda: b"<html>Zebrowski, please log in</html>", "not_an_archive"),
    "empty zip": ("x.zip", _zip, "empty_archive"),
    "tgz with a link": ("x.tgz", _link, "link_member"),
    "tgz cut short": ("x.tgz", lambda: _tgz((NAME, os.urandom(9000)))[:-3000], "cut_short"),
    "gz of zeros": ("x.csv.gz", lambda: gzip.compress(bytes(3_000_000)), "bomb"),
    "only empty files": ("x.zip", lambda: _zip(("a.csv", b""), ("b.json", b"")), "empty_file"),
    "hostile header": ("x.csv", lambda: b'"x""); drop table night;--",Zebrowski\n1,2\n', "no_decoder"),
    "deep": ("sleep-2026-05-01.json", lambda: b"[" * 1_000_000, "too_deep"),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good export, and each bad one in a folder of its own."""
    root = make_study(tmp_path_factory.mktemp("abuse") / "study", refs=(REF,))
    land(root, f"{REF}/good/sleep-2026-03-01.json", NIGHTS)
    for number, (name, make, _) in enumerate(BAD.values()):
        land(root, f"{REF}/{number:02d}/{name}", make())
    os.mkfifo(root / "landing" / REF / "pipe.json")
    (root / "landing" / REF / "link.json").symlink_to("/etc/passwd")
    run(root)
    return root


@pytest.mark.parametrize("case", sorted(set(BAD) - {"deep"}))
@pytest.mark.fault(28, 35, 38, 41)
def test_each_bad_file_is_one_line_with_its_reason(study: Path, case: str) -> None:
    name, _, reason = BAD[case]
    where = f"landing/{REF}/{list(BAD).index(case):02d}/"
    (line,) = [line for line in quarantine(study) if line.path and line.path.as_posix().startswith(where)]
    assert (line.kind, line.reason) == ("file", reason)
    assert CANARY not in line.detail
    assert name not in line.detail


@pytest.mark.fault(45)
def test_nesting_without_end_is_refused(study: Path) -> None:
    where = f"landing/{REF}/{list(BAD).index('deep'):02d}/"
    (line,) = [line for line in quarantine(study) if line.path and line.path.as_posix().startswith(where)]
    assert line.reason in {"too_deep", "not_json", "not_fitbit_sleep"}


@pytest.mark.fault(67)
def test_the_good_export_is_loaded_and_nothing_personal_goes_on(study: Path) -> None:
    assert rows(study, "select count(*) from night") == [(3,)]
    check_counts(study)
    assert CANARY not in told(study)


@pytest.mark.fault(28)
def test_no_name_of_a_file_becomes_a_table_or_a_column(study: Path) -> None:
    found = rows(study, "select table_name, column_name from duckdb_columns() where not internal")
    of_views = [(view, column) for view, column in found if view in tables(VIEW)]
    assert {view for view, _ in of_views} == set(tables(VIEW))
    assert [column for _, column in of_views if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", column)] == []
    assert [column for _, column in of_views if CANARY.lower() in column] == []
    expected = {("ingest_version", "version_num")} | {
        (table, field["name"]) for table in published_tables() for field in fields(table, PUBLISH)
    }
    assert set(found) - set(of_views) == expected


@pytest.mark.parametrize("packed", [_zip, _tgz])
def test_an_archive_beside_the_nights_costs_only_itself(packed: Callable[..., bytes], tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", refs=(REF,))
    inner = _zip((NAME, MORE_NIGHTS))
    land(root, f"{REF}/export", packed((NAME, NIGHTS), ("Takeout/Drive/Zebrowski.zip", inner), ("a/b.xlsx", inner)))
    run(root)
    assert rows(root, "select count(*) from night") == [(3,)]
    (line,) = quarantine(root)
    assert (line.kind, line.reason) == ("member", "nested_archive")
    check_counts(root)
    assert CANARY not in told(root)
