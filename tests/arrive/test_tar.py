"""Tars and gzips through the same door: read as a zip would be, refused for the same faults."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest._core.errors import Refused
from ingest._core.settings import Bounds
from ingest.arrive.archive import START_BYTES, is_archive, open_archive

MEMBERS = {"Takeout/Fit/a.json": b"[1]" * 300, "b.csv": b"x\n1\n", "empty": b"", "\u00fc" * 90 + ".json": b"{}"}
PACKED_AT = 1_767_225_600


def _member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **other: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mtime = len(data), kind, PACKED_AT
    for field, value in other.items():
        setattr(info, field, value)
    return info


def _tar(*members: tuple[str, bytes], layout: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=layout) as file:
        for name, data in members:
            file.addfile(_member(name, data), io.BytesIO(data))
    return stream.getvalue()


def _one(info: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        file.addfile(info)
    return stream.getvalue()


def _read_all(data: bytes, tmp_path: Path, bounds: Bounds | None = None, name: str = "export.tgz") -> dict[str, bytes]:
    path = tmp_path / name
    path.write_bytes(data)
    with open_archive(path, bounds or Bounds()) as archive:
        return {member.name: archive.open(member.name).read() for member in archive.members}


def _why(data: bytes, tmp_path: Path, bounds: Bounds | None = None) -> str:
    with pytest.raises(Refused) as refused:
        _read_all(data, tmp_path, bounds)
    return refused.value.reason


@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("packed", [gzip.compress, bytes])
def test_a_whole_tar_is_read(layout: int, packed: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = packed(_tar(*MEMBERS.items(), layout=layout))
    assert is_archive(data[:START_BYTES])
    assert _read_all(data, tmp_path) == MEMBERS


def test_a_tar_of_a_folder_is_read_without_the_folder(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as file:
        file.addfile(_member("./", kind=tarfile.DIRTYPE))
        file.addfile(_member("./x", kind=tarfile.DIRTYPE))
        for name in ("./x/a.json", "./x/._a.json", "./__MACOSX/a.json"):
            file.addfile(_member(name, b"[]"), io.BytesIO(b"[]"))
    assert _read_all(stream.getvalue(), tmp_path) == {"x/a.json": b"[]"}


def test_members_say_when_they_were_packed(tmp_path: Path) -> None:
    path = tmp_path / "export.tgz"
    path.write_bytes(gzip.compress(_tar(("a.json", b"[]"))))
    with open_archive(path, Bounds()) as archive:
        assert [(m.name, m.size, m.packed_at) for m in archive.members] == [
            ("a.json", 2, datetime.fromtimestamp(PACKED_AT, UTC))
        ]


@pytest.mark.parametrize(("name", "inside"), [("sleep.csv.gz", "sleep.csv"), ("x.GZ", "x"), ("night.fit", "night.fit")])
def test_a_gzip_of_one_file_is_an_archive_of_one_file(name: str, inside: str, tmp_path: Path) -> None:
    assert _read_all(gzip.compress(b"a,b\n1,2\n"), tmp_path, name=name) == {inside: b"a,b\n1,2\n"}


def test_several_gzips_in_a_row_and_padding_are_one_file(tmp_path: Path) -> None:
    data = gzip.compress(b"a,b\n") + gzip.compress(b"1,2\n") + bytes(700)
    assert _read_all(data, tmp_path, name="a.csv.gz") == {"a.csv": b"a,b\n1,2\n"}


def _sparse() -> bytes:
    info = _member("a.json", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info)
    return stream.getvalue()


def _long_note() -> bytes:
    return _one(_member("x" * 70_000))


NOISE = random.Random(2).randbytes(30_000)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "parent folder": (lambda: _tar(("../a.json", b"[]")), "unsafe_name"),
    "parent folder behind a dot": (lambda: _tar(("./../a.json", b"[]")), "unsafe_name"),
    "absolute": (lambda: _tar(("/etc/a.json", b"[]")), "unsafe_name"),
    "drive": (lambda: _tar(("C:/a.json", b"[]")), "unsafe_name"),
    "backslash": (lambda: _tar(("a\\b.json", b"[]")), "unsafe_name"),
    "right-to-left mark": (lambda: _tar(("a\u202ejson.exe", b"[]")), "unsafe_name"),
    "no UTF-8": (lambda: _tar(("a\udcff.json", b"[]"), layout=tarfile.GNU_FORMAT), "unsafe_name"),
    "folder above": (lambda: _one(_member("../x", kind=tarfile.DIRTYPE)), "unsafe_name"),
    "endless name": (_long_note, "unsafe_name"),
    "symbolic link": (lambda: _one(_member("a.json", kind=tarfile.SYMTYPE, linkname="/etc/passwd")), "link_member"),
    "hard link": (lambda: _one(_member("a.json", kind=tarfile.LNKTYPE, linkname="b.json")), "link_member"),
    "link to afar": (lambda: _one(_member("a.json", kind=tarfile.SYMTYPE, linkname="x" * 300)), "link_member"),
    "device": (lambda: _one(_member("a.json", kind=tarfile.CHRTYPE)), "device_member"),
    "pipe": (lambda: _one(_member("a.json", kind=tarfile.FIFOTYPE)), "device_member"),
    "holes": (lambda: _one(_member("a.json", kind=tarfile.GNUTYPE_SPARSE)), "sparse_member"),
    "holes in notes": (_sparse, "sparse_member"),
    "unheard-of kind": (lambda: _one(_member("a.json", kind=b"V")), "unknown_member"),
    "one name twice": (lambda: _tar(("a.json", b"[]"), ("a.json", b"[1]")), "repeated_name"),
    "names that differ in case": (lambda: _tar(("a.json", b"[]"), ("A.json", b"[]")), "repeated_name"),
    "composed and decomposed": (lambda: _tar(("\u00fc", b"1"), ("u\u0308", b"2")), "repeated_name"),
    "too many members": (lambda: _tar(*((f"{i}.json", b"") for i in range(101))), "too_many_members"),
    "one member too big": (lambda: _tar(("a.json", NOISE * 20)), "too_big"),
    "too big in all": (lambda: _tar(("a", NOISE * 14), ("b", NOISE * 14), ("c", NOISE * 14)), "too_big"),
    "said to be larger than all": (lambda: _one(_member("a.json", size=1 << 40)), "too_big"),
    "said to be longer": (lambda: _one(_member("a.json", size=100_000)), "cut_short"),
    "without its end": (lambda: _tar(("a.json", b"[]"))[:1024], "cut_short"),
    "cut in a header": (lambda: _tar(("a.json", b"[]"))[:700], "cut_short"),
    "bytes behind it": (lambda: _tar(("a.json", b"[]")) + b"more", "trailing_bytes"),
    "header overwritten": (lambda: b"b" + _tar(("a.json", b"[]"))[1:], "damaged"),
}
BOUNDS = Bounds(entries=50, member_bytes=500_000, total_bytes=1_200_000)


@pytest.mark.parametrize("packed", [gzip.compress, bytes])
@pytest.mark.parametrize("case", sorted(REFUSED))
@pytest.mark.fault(33, 35, 36)
def test_refused(case: str, packed: Callable[[bytes], bytes], tmp_path: Path) -> None:
    make, reason = REFUSED[case]
    assert _why(packed(make()), tmp_path, BOUNDS) == reason


@pytest.mark.parametrize("name", ["a.csv.gz", "a.tgz"])
def test_a_gzip_that_unpacks_to_zeros_is_a_bomb(name: str, tmp_path: Path) -> None:
    data = bytes(30_000_000) if name == "a.csv.gz" else _tar(("a.json", bytes(30_000_000)))
    assert _why(gzip.compress(data), tmp_path) == "bomb"


@pytest.mark.fault(32)
def test_every_cut_of_a_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(_tar(("a.json", random.Random(3).randbytes(20_000)), ("b.json", b"[]")))
    for length in [*range(20, len(whole), 1024), *range(len(whole) - 40, len(whole))]:
        assert _why(whole[:length], tmp_path) == "cut_short"


def test_bytes_behind_a_gzip_are_refused(tmp_path: Path) -> None:
    assert _why(gzip.compress(b"a") + b"more", tmp_path) == "trailing_bytes"


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_raises_anything_but_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(_tar(("a.json", b"[1]" * 100), ("\u00fc" * 80, b"[]")))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 256))] = data.draw(st.integers(0, 255))
        whole[data.draw(st.integers(263, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = _read_all(bytes(whole), tmp_path, BOUNDS)
    except Refused:
        return
    assert all(isinstance(content, bytes) for content in found.values())


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_gzip_of_noise_is_refused(tmp_path: Path, noise: bytes) -> None:
    assert _why(b"\x1f\x8b\x08\0\0\0\0\0\0\0" + noise, tmp_path) in {"cut_short", "damaged", "trailing_bytes"}
