"""What hostile files may cost: CPU time and memory of a process that is handed one."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_MEASURE = """
import json, sys, time
from pathlib import Path
from ingest._core.errors import Refused
from ingest._core.settings import Bounds
from ingest.arrive.archive import open_archive

begun, reason = time.process_time(), None
try:
    with open_archive(Path(sys.argv[1]), Bounds()) as archive:
        for member in archive.members:
            with archive.open(member.name) as stream:
                while stream.read(1 << 16):
                    pass
except Refused as refused:
    reason = refused.reason
seconds = time.process_time() - begun
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps([reason, seconds, peak]))
"""
MILLION = 1_000_000
_HEADER = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, 1, 0) + b"a"


def _zip_of_a_million(stated: int) -> bytes:
    """A million empty members in the directory; the end record says `stated`."""
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * MILLION
    at = len(_HEADER)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, stated, stated, len(directory), at)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at + len(directory), 1)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return _HEADER + directory + end64 + locator + end


def _zip_with_a_directory_of_nothing() -> bytes:
    """One member, and 300 MB said to be its directory."""
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, 300_000_000, len(_HEADER), 0)
    return _HEADER + end


def _gzip_of_zeros() -> bytes:
    return gzip.compress(bytes(50_000_000), 9)


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a million members, and says so": (lambda: _zip_of_a_million(MILLION), "too_many_members"),
    "a million members, and says one": (lambda: _zip_of_a_million(1), "too_many_members"),
    "a directory larger than the file": (_zip_with_a_directory_of_nothing, "too_many_members"),
    "50 MB of zeros in 49 kB": (_gzip_of_zeros, "bomb"),
}


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.fault(33, 34)
def test_an_archive_is_refused_before_it_costs_much(case: str, tmp_path: Path) -> None:
    make, reason = CASES[case]
    path = tmp_path / "export.zip"
    path.write_bytes(make())
    words = [sys.executable, "-c", _MEASURE, str(path)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    found, seconds, peak_mb = json.loads(done.stdout)
    assert found == reason
    assert seconds < 0.5
    assert peak_mb < 100
