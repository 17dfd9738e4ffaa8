"""Every fixture against every decoder: one claims it, none claims another's, and none is claimed by two."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache

import pytest

from fixtures import make
from ingest._core.settings import Settings
from ingest.decode.claim import UNKNOWN, File, sort_out
from ingest.decode.model import HEAD_BYTES, Head
from ingest.decode.registry import claims, decoder, decoders

SETTINGS = Settings(study="abuse")
LOGS = {each.source for each in decoders() if each.kind == "log"}
CANONICAL_LOGS = {"bom-and-crlf", "canonical-long-log"}


def _fixtures() -> Iterator[tuple[str, str]]:
    for source in make.sources():
        yield from ((source, name) for name in sorted(make.situations(source)))


FIXTURES = list(_fixtures())


@cache
def _claims(source: str, situation: str) -> dict[str, set[str]]:
    """The sources that claim each file of a fixture."""
    return {
        name: set(claims(Head(name, len(data), data[:HEAD_BYTES]), SETTINGS))
        for name, data in make.members(source, situation).items()
    }


@pytest.mark.parametrize(("source", "situation"), FIXTURES)
@pytest.mark.fault(61)
def test_no_file_is_claimed_by_two_or_by_another(source: str, situation: str) -> None:
    """Files no decoder knows may stand beside, and logs, which are exports of their own in the same archive."""
    found = _claims(source, situation)
    assert {name: who for name, who in found.items() if len(who) > 1} == {}
    assert {name: who for name, who in found.items() if not who <= {source} | LOGS} == {}


@pytest.mark.parametrize(("source", "situation"), FIXTURES)
def test_each_fixture_is_its_source_s_or_refused(source: str, situation: str) -> None:
    expected = make.expected(source, situation)
    claimed = any(_claims(source, situation).values())
    if not claimed:
        assert expected["refused"] in {"no_decoder", "empty_file"}
    elif expected["sessions"] or expected["kept"]:
        assert expected["refused"] is None


@pytest.mark.parametrize(("source", "situation"), FIXTURES)
@pytest.mark.parametrize("archived", [False, True])
def test_a_claim_needs_no_more_than_the_start(source: str, situation: str, archived: bool) -> None:
    """Heads that read little by little come to the same as the whole start."""
    read: list[int] = []

    def opened(data: bytes) -> io.BytesIO:
        read.append(len(data))
        return io.BytesIO(data)

    members = make.members(source, situation)
    files = [File(name, len(data), lambda data=data: opened(data)) for name, data in members.items()]  # type: ignore[misc]
    found = {claimed.source for claimed in sort_out(files, SETTINGS, archived)} - {UNKNOWN}
    assert found == set().union(*(who for name, who in _claims(source, situation).items() if members[name]))
    assert len(read) <= 2 * len(files)


@pytest.mark.fault(61)
def test_files_of_nobody_are_claimed_by_nobody() -> None:
    strange = {
        "notes.txt": b"slept well\n", "x.csv": b"a,b\n1,2\n", "empty.csv": b"", "x.json": b"{}", "y.json": b"[]",
        "z.json": b'[{"startTime": 1, "endTime": 2}]', "page.xml": b"<?xml version='1.0'?><x/>",
        "no ending": b"\0" * 900,
        "x.db": b"SQLite format 3\0" + bytes(84), "x.fit": b"\x0e\x10" + bytes(12), "k.json": b'{"sleep": 1}',
        "utf16.csv": "start,end\n1,2\n".encode("utf-16"), "cut.json": b'[{"', "lines.csv": b"\r\r\n\n\r",
        "header only.csv": b"start,end", "wide.csv": b",".join(b"c%d" % i for i in range(30_000)) + b"\n",
        "quote.csv": b'"' + b"x\n" * 5000, "deep.json": b"[" * 70_000,
        'x"); drop table night;--.csv': b'"x""); drop table night;--",start\n1,2\n',
    }  # fmt: skip
    found = {name: claims(Head(name, len(data), data[:HEAD_BYTES]), SETTINGS) for name, data in strange.items()}
    assert {name: who for name, who in found.items() if who} == {}


def test_the_logs_of_a_study_are_nobody_else_s() -> None:
    log = decoder("csv_log")
    folder = make.FIXTURES / "csv_log"
    seen = set()
    for path in sorted(folder.glob("*/log.csv")):
        data = path.read_bytes()
        head = Head("log.csv", len(data), data[:HEAD_BYTES])
        assert {each.source for each in decoders() if each.claim(head, SETTINGS)} <= {log.source}
        seen |= {path.parent.name} if log.claim(head, SETTINGS) else set()
    assert seen >= CANONICAL_LOGS
