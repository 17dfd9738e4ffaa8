"""Zips that must be refused, each with its own reason, and one that must not."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest._core.errors import Refused
from ingest._core.settings import Bounds
from ingest.arrive.archive import open_archive


def _zip(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return stream.getvalue()


def _read_all(data: bytes, tmp_path: Path, bounds: Bounds) -> dict[str, bytes]:
    path = tmp_path / "export.zip"
    path.write_bytes(data)
    with open_archive(path, bounds) as archive:
        return {member.name: archive.open(member.name).read() for member in archive.members}


def _link() -> bytes:
    info = zipfile.ZipInfo("a.json")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return _zip((info, b"/etc/passwd"))


def _encrypted() -> bytes:
    data = bytearray(_zip(("a.json", b"[]")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature) + offset
        data[at] |= 1
    return bytes(data)


def _flipped() -> bytes:
    data = bytearray(_zip(("a.json", bytes(range(256)) * 40)))
    at = data.find(b"a.json") + 40
    data[at] ^= 0xFF
    return bytes(data)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut short": (lambda: _zip(("a.json", b"[1]" * 1000))[:-30], "cut_short"),
    "parent folder": (lambda: _zip(("../a.json", b"[]")), "unsafe_name"),
    "absolute": (lambda: _zip(("/etc/a.json", b"[]")), "unsafe_name"),
    "drive": (lambda: _zip(("C:/a.json", b"[]")), "unsafe_name"),
    "backslash": (lambda: _zip(("a\\b.json", b"[]")), "unsafe_name"),
    "right-to-left mark": (lambda: _zip(("a\u202ejson.exe", b"[]")), "unsafe_name"),
    "link": (_link, "link_member"),
    "names that differ in case": (lambda: _zip(("a.json", b"[]"), ("A.json", b"[]")), "repeated_name"),
    "encrypted": (_encrypted, "encrypted_member"),
    "flipped bits": (_flipped, "damaged"),
    "bomb": (lambda: _zip(("a.json", bytes(40_000_000))), "bomb"),
    "too many members": (lambda: _zip(*((f"{i}.json", b"[]") for i in range(60))), "too_many_members"),
    "too big in all": (lambda: _zip(("a.json", b"1" * 900_000), ("b.json", b"2" * 900_000)), "too_big"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refused(case: str, tmp_path: Path) -> None:
    make, reason = REFUSED[case]
    bounds = Bounds(entries=50, total_bytes=50_000_000 if reason == "bomb" else 1_500_000)
    with pytest.raises(Refused) as refused:
        _read_all(make(), tmp_path, bounds)
    assert refused.value.reason == reason


def test_every_cut_is_refused(tmp_path: Path) -> None:
    whole = _zip(("a.json", bytes(range(256)) * 100), ("b.json", b"[]"))
    for length in range(4, len(whole), 97):
        with pytest.raises(Refused) as refused:
            _read_all(whole[:length], tmp_path, Bounds())
        assert refused.value.reason == "cut_short"


def test_a_directory_of_millions_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """The end record claims 3 million entries of a 64-bit directory; opening it would cost a gigabyte."""
    whole = bytearray(_zip(("a.json", b"[]")))
    end = whole.rfind(b"PK\x05\x06")
    struct.pack_into("<HH", whole, end + 8, 0xFFFF, 0xFFFF)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 3_000_000, 3_000_000, 200_000_000, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    with pytest.raises(Refused) as refused:
        _read_all(bytes(whole[:end]) + end64 + locator + bytes(whole[end:]), tmp_path, Bounds())
    assert refused.value.reason == "too_many_members"


def test_a_whole_zip_is_read(tmp_path: Path) -> None:
    members = {"b/ü.json": b"[1]", "a.csv": b"x\n1\n"}
    assert _read_all(_zip(*members.items()), tmp_path, Bounds()) == members
