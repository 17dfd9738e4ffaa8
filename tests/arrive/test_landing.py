"""What stands under landing/ while others write to it."""

from __future__ import annotations

import gzip
import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from ingest._core.new_study import make_study_folder
from ingest._core.study import Study, open_study
from ingest.arrive import landing
from ingest.arrive.landing import NotAFile, Unit, units


@pytest.fixture
def study(tmp_path: Path) -> Study:
    make_study_folder(tmp_path / "s")
    for name in ("a.json", "b.json"):
        path = tmp_path / "s" / "landing" / "P1" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("[]")
    return open_study(tmp_path / "s")


def _failing(monkeypatch: pytest.MonkeyPatch, error: type[OSError]) -> None:
    def opened(path: Path) -> bool:
        if path.name == "a.json":
            raise error
        return False

    monkeypatch.setattr(landing, "_starts_as_archive", opened)


@pytest.mark.fault(18)
def test_a_file_that_vanishes_after_it_was_listed_is_passed_over(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, FileNotFoundError)
    (unit,) = units(study)
    assert isinstance(unit, Unit)
    assert [file.name for file in unit.files] == ["b.json"]


def test_a_file_without_permission_is_told_and_the_others_go_on(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, PermissionError)
    told, unit = units(study)
    assert isinstance(told, NotAFile)
    assert told.path.name == "a.json"
    assert isinstance(unit, Unit)
    assert [file.name for file in unit.files] == ["b.json"]


def _landed(study: Study) -> dict[str, str]:
    """What stands under P1: file names of units, and of what is no file."""
    found: dict[str, str] = {}
    for unit in units(study):
        if isinstance(unit, NotAFile):
            found[unit.path.name] = "told"
        else:
            found |= {file.name: "archive" if unit.archived else "loose" for file in unit.files}
    return found


@pytest.mark.fault(39)
def test_links_pipes_sockets_and_devices_are_told_and_never_waited_for(study: Study, tmp_path: Path) -> None:
    folder = study.landing / "P1"
    (tmp_path / "outside.json").write_text("[]")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "far.json").write_text("[]")
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    (folder / "dangling.json").symlink_to(tmp_path / "nothing")
    (folder / "linked folder").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "pipe.json")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # The path of a socket may be 107 bytes at most.
        try:
            server.bind("socket.json")
        finally:
            os.chdir(here)
        found = _landed(study)
    assert found == {
        "a.json": "loose", "b.json": "loose", "link.json": "told", "dangling.json": "told", "linked folder": "told",
        "pipe.json": "told", "socket.json": "told",
    }  # fmt: skip


@pytest.mark.parametrize("make", ["link", "pipe", "folder"])
@pytest.mark.fault(39)
def test_a_file_that_turns_into_something_else_is_not_opened(make: str, tmp_path: Path) -> None:
    """Between the listing and the opening a file may be exchanged."""
    path = tmp_path / "x"
    {"link": lambda: path.symlink_to("/etc/hostname"), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[make]()
    with pytest.raises(PermissionError):
        landing.open_regular(path)


def test_names_in_another_encoding_are_told(study: Study) -> None:
    os.mkdir(os.fsencode(study.landing) + b"/P\xe92")
    for name in (b"caf\xe9.json", b"x\xff/a.json"):
        path = os.fsencode(study.landing / "P1") + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(b"[]")
    assert _landed(study) == {
        "a.json": "loose", "b.json": "loose", "caf\udce9.json": "told", "x\udcff": "told", "P\udce92": "told"
    }  # fmt: skip


def test_a_folder_without_permission_is_told(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("P1/closed/a.json", "P2/b.json"):
        path = study.landing / name
        path.parent.mkdir()
        path.write_text("[]")
    closed = {str(study.landing / "P1" / "closed"), str(study.landing / "P2")}
    # Tests may run as root, who may look into everything.
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) not in closed)
    assert _landed(study) == {"a.json": "loose", "b.json": "loose", "closed": "told", "P2": "told"}


@pytest.mark.parametrize("name", ["..x", "CON", "a b; drop table night", "$(id)", "\u202ex", "x\n", "\u00e9" * 120])
def test_a_folder_may_be_called_anything(study: Study, name: str) -> None:
    path = study.landing / name / "c.json"
    path.parent.mkdir()
    path.write_text("[]")
    found = [unit for unit in units(study) if isinstance(unit, Unit) and unit.folder == name]
    assert [file.path for unit in found for file in unit.files] == [path]


def test_archives_are_known_by_their_first_bytes(study: Study) -> None:
    folder = study.landing / "P1"
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as file:
        file.addfile(tarfile.TarInfo("x"))
    for name, data in {"t": tar.getvalue(), "g": gzip.compress(b"x"), "z": b"PK\x03\x04", "p": b"PK", "e": b""}.items():
        (folder / name).write_bytes(data)
    assert _landed(study) == {
        "t": "archive", "g": "archive", "z": "archive", "p": "loose", "e": "loose", "a.json": "loose",
        "b.json": "loose",
    }  # fmt: skip
