"""Zips that must be refused, each with its own reason, and one that must not."""

from __future__ import annotations

import io
import random
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def _why(data: bytes, tmp_path: Path, bounds: Bounds | None = None) -> str:
    with pytest.raises(Refused) as refused:
        _read_all(data, tmp_path, bounds or Bounds())
    return refused.value.reason


def _named(name: str) -> bytes:
    """A zip whose one member has this name; zipfile would clean some names while writing."""
    stand_in = "n" * len(name.encode())
    return _zip((stand_in, b"[]")).replace(stand_in.encode(), name.encode())


def _of_kind(mode: int) -> bytes:
    info = zipfile.ZipInfo("a.json")
    info.external_attr = (mode | 0o600) << 16
    return _zip((info, b"[]"))


def _entry(whole: bytes, name: bytes) -> int:
    """Where the directory's entry of a member begins."""
    at = whole.rfind(b"PK\x01\x02")
    while whole[at + 46 : at + 46 + len(name)] != name:
        at = whole.rfind(b"PK\x01\x02", 0, at)
    return at


def _patched(whole: bytes, name: bytes, **fields: int) -> bytes:
    """A zip whose directory says other things of one member."""
    places = {"method": (10, "<H"), "checksum": (16, "<I"), "packed": (20, "<I"), "size": (24, "<I"), "at": (42, "<I")}
    data = bytearray(whole)
    for field, value in fields.items():
        offset, layout = places[field]
        struct.pack_into(layout, data, _entry(whole, name) + offset, value)
    return bytes(data)


def _pair() -> bytes:
    return _zip(("a.json", bytes(range(256)) * 40), ("b.json", bytes(range(256)) * 40))


def _stored() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as file:
        file.writestr("a.json", b"[1, 2, 3]" * 100)
        file.writestr("b.json", b"[]")
    return stream.getvalue()


def _quoted_overlap() -> bytes:
    """Two headers, of which the first member's data contain the second header and share its data (as Fifield's)."""
    inner = zlib.compress(bytes(10_000), 9, -15)
    second = (
        struct.pack(
            "<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 33, zlib.crc32(bytes(10_000)), len(inner), 10_000, 1, 0
        )
        + b"b"
    )
    quoted = struct.pack("<BHH", 0, len(second), len(second) ^ 0xFFFF) + second + inner
    first = (
        struct.pack(
            "<4sHHHHHIIIHH",
            b"PK\x03\x04",
            20,
            0,
            8,
            0,
            33,
            zlib.crc32(second + bytes(10_000)),
            len(quoted),
            len(second) + 10_000,
            1,
            0,
        )
        + b"a"
    )
    body = first + quoted
    entries = b"".join(
        struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, crc, packed, size, 1, 0, 0, 0, 0, 0, at)
        + name
        for name, crc, packed, size, at in (
            (b"a", zlib.crc32(second + bytes(10_000)), len(quoted), len(second) + 10_000, 0),
            (b"b", zlib.crc32(bytes(10_000)), len(inner), 10_000, len(first) + 5),
        )
    )
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 2, 2, len(entries), len(body), 0)
    return body + entries + end


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
    "parent folder inside": (lambda: _zip(("x/../../a.json", b"[]")), "unsafe_name"),
    "absolute": (lambda: _zip(("/etc/a.json", b"[]")), "unsafe_name"),
    "drive": (lambda: _zip(("C:/a.json", b"[]")), "unsafe_name"),
    "drive and backslash": (lambda: _named("C:\\a.json"), "unsafe_name"),
    "backslash": (lambda: _named("a\\b.json"), "unsafe_name"),
    "NUL": (lambda: _named("a.json\0.csv"), "unsafe_name"),
    "line end": (lambda: _named("a\n.json"), "unsafe_name"),
    "right-to-left mark": (lambda: _zip(("a\u202ejson.exe", b"[]")), "unsafe_name"),
    "parent folder after a right-to-left mark": (lambda: _zip(("..\u202e/a.json", b"[]")), "unsafe_name"),
    "link": (_link, "link_member"),
    "pipe": (lambda: _of_kind(stat.S_IFIFO), "device_member"),
    "device": (lambda: _of_kind(stat.S_IFBLK), "device_member"),
    "one name twice": (lambda: _zip(("a.json", b"[]"), ("a.json", b"[1]")), "repeated_name"),
    "names that differ in case": (lambda: _zip(("a.json", b"[]"), ("A.json", b"[]")), "repeated_name"),
    "names that differ in sharp s": (lambda: _zip(("ma\u00df", b"[]"), ("mass", b"[]")), "repeated_name"),
    "composed and decomposed": (lambda: _zip(("\u00fc.json", b"[]"), ("u\u0308.json", b"[]")), "repeated_name"),
    "encrypted": (_encrypted, "encrypted_member"),
    "flipped bits": (_flipped, "damaged"),
    "bomb": (lambda: _zip(("a.json", bytes(40_000_000))), "bomb"),
    "too many members": (lambda: _zip(*((f"{i}.json", b"[]") for i in range(60))), "too_many_members"),
    "too big in all": (lambda: _zip(("a.json", b"1" * 900_000), ("b.json", b"2" * 900_000)), "too_big"),
    "said to be longer": (lambda: _patched(_pair(), b"a.json", size=90_000), "wrong_size"),
    "said to be shorter": (lambda: _patched(_pair(), b"a.json", size=1), "wrong_size"),
    "said to be packed shorter": (lambda: _patched(_pair(), b"a.json", packed=20), "damaged"),
    "stored, said to be longer": (lambda: _patched(_stored(), b"a.json", size=910), "wrong_size"),
    "another checksum": (lambda: _patched(_pair(), b"a.json", checksum=7), "damaged"),
    "packed bytes of the next": (lambda: _patched(_pair(), b"a.json", packed=600), "overlapping_members"),
    "two headers at one place": (lambda: _patched(_pair(), b"b.json", at=0), "overlapping_members"),
    "header nowhere": (lambda: b"PK\x03\x05".join(_pair().rsplit(b"PK\x03\x04", 1)), "damaged"),
    "header beyond the end": (lambda: _patched(_pair(), b"b.json", at=2**31), "overlapping_members"),
    "a header quoted in data": (_quoted_overlap, "overlapping_members"),
    "compression nobody uses": (lambda: _patched(_pair(), b"a.json", method=12), "unknown_compression"),
    "compression of Windows": (lambda: _patched(_pair(), b"a.json", method=9), "unknown_compression"),
    "bytes behind it": (lambda: _pair() + b"more", "trailing_bytes"),
    "a zip behind it": (lambda: _pair() + _pair(), "misplaced_directory"),
    "bytes before it": (lambda: b"PK\x03\x04" + _pair(), "misplaced_directory"),
    "a part of several": (lambda: b"PK\x07\x08" + _pair(), "split_archive"),
    "workbook": (lambda: _zip(("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>")), "office_document"),
    "open document": (lambda: _zip(("mimetype", b"x"), ("META-INF/manifest.xml", b"<x/>")), "office_document"),
    "app": (lambda: _zip(("AndroidManifest.xml", b"x"), ("classes.dex", b"x")), "software_package"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
@pytest.mark.fault(33, 35, 36, 37, 38)
def test_refused(case: str, tmp_path: Path) -> None:
    make, reason = REFUSED[case]
    bounds = Bounds(entries=50, total_bytes=50_000_000 if reason == "bomb" else 1_500_000)
    assert _why(make(), tmp_path, bounds) == reason


def test_only_what_is_opened_is_refused_for_its_bytes(tmp_path: Path) -> None:
    """Pictures called alike, or a broken one, cost nothing: only the members that are read must be sound."""
    path = tmp_path / "export.zip"
    path.write_bytes(_zip(("IMG.JPG", b"1"), ("img.jpg", b"2"), ("a.json", b"[]")))
    with open_archive(path, Bounds()) as archive:
        assert [member.name for member in archive.members] == ["IMG.JPG", "a.json", "img.jpg"]
        assert archive.open("a.json").read() == b"[]"
        with pytest.raises(Refused, match="repeated_name"):
            archive.open("img.jpg")


@pytest.mark.fault(33)
def test_a_bomb_stops_early(tmp_path: Path) -> None:
    """The bound holds while bytes come out, whatever the directory says."""
    path = tmp_path / "export.zip"
    path.write_bytes(_patched(_zip(("a.json", bytes(40_000_000))), b"a.json", size=10))
    read: list[int] = []
    with (
        open_archive(path, Bounds()) as archive,
        archive.open("a.json") as stream,
        pytest.raises(Refused, match="bomb"),
    ):
        read.extend(map(len, iter(lambda: stream.read(100_000), b"")))
    assert 900_000 < sum(read) < 15_000_000


@pytest.mark.fault(32)
def test_every_cut_is_refused(tmp_path: Path) -> None:
    whole = _zip(("a.json", random.Random(1).randbytes(40_000)), ("b.json", b"[]"))
    for length in [*range(4, len(whole), 1024), *range(len(whole) - 200, len(whole))]:
        assert _why(whole[:length], tmp_path) == "cut_short"


def test_a_cut_behind_a_zip_inside_is_told_from_the_end_of_the_whole(tmp_path: Path) -> None:
    inner = _pair()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("inner.zip", inner)
        file.writestr("b.json", random.Random(1).randbytes(100_000))
    end_of_inner = stream.getvalue().find(inner) + len(inner)
    assert _why(stream.getvalue()[:end_of_inner], tmp_path) == "misplaced_directory"
    assert _why(stream.getvalue()[: end_of_inner + 900], tmp_path) == "trailing_bytes"


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_raises_anything_but_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    """Some bytes overwritten anywhere: the right content, or a reason; never another content of the same name."""
    whole = bytearray(_pair())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = _read_all(bytes(whole), tmp_path, Bounds())
    except Refused:
        return
    assert set(found.values()) <= {bytes(range(256)) * 40}


@pytest.mark.fault(34)
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
    members = {
        "b/\u00fc.json": b"[1]",
        "a.csv": b"x\n1\n",
        "\U0001f468\u200d\U0001f469/a\u00ad.json": b"[2]",
        "empty": b"",
    }
    assert _read_all(_zip(*members.items()), tmp_path, Bounds()) == members


def test_files_of_the_system_are_no_members(tmp_path: Path) -> None:
    packed = _zip(("__MACOSX/._a.json", b"x"), ("x/.DS_Store", b"x"), ("x/._b.json", b"x"), ("a.json", b"[]"))
    assert _read_all(packed, tmp_path, Bounds()) == {"a.json": b"[]"}


@pytest.mark.parametrize("streamed", [False, True])
def test_zips_of_other_writers_are_read(tmp_path: Path, streamed: bool) -> None:
    """64-bit sizes, and sizes that stand behind the data because the writer could not go back."""
    stream = io.BytesIO()
    target = io.BufferedWriter(_OneWay(stream)) if streamed else stream
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a.json", "w", force_zip64=True) as member,
    ):
        member.write(b"[1]" * 100_000)
    if streamed:
        target.flush()
    assert _read_all(stream.getvalue(), tmp_path, Bounds()) == {"a.json": b"[1]" * 100_000}


class _OneWay(io.RawIOBase):
    def __init__(self, to: io.BytesIO) -> None:
        self._to = to

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return self._to.write(data)  # type: ignore[call-overload, no-any-return]


def test_two_members_may_be_read_in_turns(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes(_pair())
    with open_archive(path, Bounds()) as archive, archive.open("a.json") as one, archive.open("b.json") as other:
        halves = [stream.read(5000) for stream in (one, other, one, other, one, other)]
    assert b"".join(halves[::2]) == b"".join(halves[1::2]) == bytes(range(256)) * 40
