"""The door to vendors' tables: rows by the header's names, and a reason for what is none."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest

from ingest._core.settings import Bounds, Settings
from ingest.decode import model
from ingest.decode.csv_records import Row, in_utf8, read_rows, sheet_of
from ingest.decode.model import Member, Tally

SETTINGS = Settings(study="t", bounds=Bounds(csv_field_bytes=1000))
TEXT = "start,end,note\n1,2,caf\u00e9\n3,4,x\n"
CELLS = [{"start": "1", "end": "2", "note": "caf\u00e9"}, {"start": "3", "end": "4", "note": "x"}]


def read(data: bytes, encodings: Sequence[str] = ("utf-8",), **options: object) -> tuple[list[Row], Tally]:
    tally = Tally()
    member = Member(2, "x.csv", "sleep", lambda: io.BytesIO(data))
    rows = read_rows(member, tally, SETTINGS, needed=("start", "end"), encodings=encodings, **options)  # type: ignore[arg-type]
    assert tally.read == len(rows) + tally.quarantined
    return rows, tally


@pytest.mark.parametrize(
    ("encoding", "ends"),
    [("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-16", "\n"), ("cp1252", "\r"), ("utf-8", "\r")],
)
@pytest.mark.fault(46)
def test_one_table_in_any_encoding_that_is_declared(encoding: str, ends: str) -> None:
    rows, tally = read(TEXT.replace("\n", ends).encode(encoding), ("utf-8", "utf-16", "cp1252"))
    assert [dict(row.cells) for row in rows] == CELLS
    assert [row.locator for row in rows] == ["file 2 row 1", "file 2 row 2"]
    assert tally.refusals == []


@pytest.mark.fault(46)
def test_line_ends_may_be_mixed() -> None:
    rows, _ = read(TEXT.encode() + b"5,6,y\r7,8,z\r\n\r\n9,10,w")
    assert [row.cells["start"] for row in rows] == ["1", "3", "5", "7", "9"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (TEXT.encode("cp1252"), "encoding"),
        (TEXT.encode("utf-16"), "encoding"),
        (TEXT.encode("utf-8").replace(b"x", b"\xed\xa0\x80"), "encoding"),
        (b"", "empty"),
        (b"\n\r\n", "empty"),
        (bytes(5000), "nul_byte"),
        (b"\n" * 2_000_000 + TEXT.encode(), "no_header"),
        (b"start,stop\n1,2\n", "missing_columns"),
        (b'start,"end\n' + b"1,2\n" * 300_000, "unclosed_quote"),
        (b"start,end," + b"x" * 1001 + b"\n1,2,3\n", "header_too_long"),
        (b"start,end," + b"x" * 2_000_000 + b"\n1,2,3\n", "header_too_long"),
        (b"start,end," + b",".join(b"c%d" % n for n in range(100_000)) + b"\n", "too_many_columns"),
        (b"start,end\n" + b"1\n" * 100_001, "too_many_bad_rows"),
    ],
)
def test_what_is_no_table_is_one_line(data: bytes, reason: str) -> None:
    rows, tally = read(data)
    assert rows == []
    assert tally.read == 0
    assert [(line.kind, line.locator, line.reason) for line in tally.refusals] == [("member", "file 2", reason)]


def test_a_bad_row_costs_one_row() -> None:
    rows, tally = read(b"start,end\n1,2\n3\n4,\0\n5,6\n")
    assert [row.record for row in rows] == [1, 4]
    assert [(line.kind, line.locator, line.reason) for line in tally.refusals] == [
        ("sleep", "file 2 row 2", "field_count"),
        ("sleep", "file 2 row 3", "nul_byte"),
    ]


def test_a_header_may_be_called_anything() -> None:
    """Names of columns are looked up, never run: they are keys of a mapping and nothing else."""
    name = 'x"); drop table night;--'
    rows, _ = read(b'start,end,"x""); drop table night;--"\n1,2,3\n')
    assert rows[0].cells[name] == "3"
    member = Member(1, "x.csv", "sleep", lambda: io.BytesIO(b'start,"x""); drop table night;--"\n1,3\n'))
    sheet = sheet_of(member, Tally(), SETTINGS, needed=["start"])
    assert sheet is not None
    assert sheet.cells.column_names == ["0", "1"]
    assert sheet.column(name).to_pylist() == ["3"]


def test_of_two_columns_with_one_name_the_first_counts() -> None:
    assert read(b"start,end,start\n1,2,3\n")[0][0].cells["start"] == "1"


def test_a_line_above_the_header_may_be_taken_off() -> None:
    rows, _ = read(b"Sleep\nstart,end\n1,2\n", prepare=lambda text: text.partition(b"\n")[2])
    assert [dict(row.cells) for row in rows] == [{"start": "1", "end": "2"}]


def test_the_last_encoding_that_fits_nothing_is_a_refusal_that_names_all() -> None:
    with pytest.raises(Exception, match="utf-8 or ascii"):
        in_utf8(b"\xff", ("utf-8", "ascii"))


def test_a_file_too_large_to_hold_is_refused_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, count: int = -1) -> bytes:
            assert count > 0
            self.given += count
            return b"x" * count

    monkeypatch.setattr(model, "_WHOLE_BYTES", 5 << 20)
    stream, tally = Endless(), Tally()
    member = Member(1, "x.csv", "sleep", lambda: stream)  # type: ignore[arg-type, return-value]
    assert read_rows(member, tally, SETTINGS, needed=["start"]) == []
    assert [line.reason for line in tally.refusals] == ["too_big"]
    assert stream.given <= 6 << 20
