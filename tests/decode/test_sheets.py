"""Bytes to columns: nothing is guessed, every row has its number and its line."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest._core.errors import Refused
from ingest.decode.sheets import CHUNK, Sheet, header_of, read_sheet

HEADER = b"a,b,c\n"
BOUND = 1000


def read(data: bytes, encoding: str = "utf-8", delimiter: str = ",") -> Sheet:
    return read_sheet(data, encoding, delimiter, BOUND)


def cells(sheet: Sheet) -> list[list[str]]:
    return [list(row.values()) for row in sheet.cells.to_pylist()]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\ue000"), max_size=6)
TABLE = st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=12)


@given(table=TABLE, end=st.sampled_from(["\n", "\r\n", "\r"]), bom=st.booleans(), quoting=st.booleans())
@settings(max_examples=200, deadline=None)
def test_whatever_a_csv_writer_writes_is_read_back(
    table: list[tuple[str, str, str]], end: str, bom: bool, quoting: bool
) -> None:
    text = io.StringIO(newline="")
    # The writer leaves a bare \r unquoted unless it ends lines with it; every reader takes it for a line end.
    many_lines = any("\r" in cell or "\n" in cell for row in table for cell in row)
    style = csv.QUOTE_ALL if quoting or many_lines else csv.QUOTE_MINIMAL
    writer = csv.writer(text, lineterminator=end, quoting=style)
    writer.writerow(["a", "b", "c"])
    lines = []
    for row in table:
        written = text.getvalue()
        lines.append(1 + written.replace("\r\n", "\n").replace("\r", "\n").count("\n"))
        writer.writerow(row)
    sheet = read((b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode())
    assert cells(sheet) == [list(row) for row in table]
    assert [sheet.line_of(row) for row in range(1, len(table) + 1)] == lines
    assert sheet.bad == []


@pytest.mark.parametrize(
    ("rows", "good", "bad"),
    [
        (b"1,2,3\n4,5\n6,7,8\n", [1, 3], [(2, 3, "field_count")]),
        (b"1,2,3\n4,5,6,7\n6,7,8\n", [1, 3], [(2, 3, "field_count")]),
        (b"1,2,3\n\n   \n4,5\n", [1], [(2, 5, "field_count")]),
        (b'1,"x\ny",3\n4,5\n', [1], [(2, 4, "field_count")]),
        (b"1,2\x00,3\n4,5,6\n", [2], [(1, 2, "nul_byte")]),
        (b"1," + b"x" * (BOUND + 1) + b",3\n4,5,6\n", [2], [(1, 2, "field_too_long")]),
        (b"1," + b"x" * (3 * CHUNK) + b",3\n4,5,6\n", [2], [(1, 2, "field_too_long")]),
        (b'1,"2,3\n4,5,6\n7,8,9\n', [2, 3], [(1, 2, "unclosed_quote")]),
        (b'1,2,"3\n4,5,6', [2], [(1, 2, "unclosed_quote")]),
        (b'1,2,3\n4,5,"6', [1], [(2, 3, "unclosed_quote")]),
        (b'1,"2,3\n4,5,6\nx,"y,z\n7,8,9\n', [2, 4], [(1, 2, "unclosed_quote"), (3, 4, "unclosed_quote")]),
        (b"1,2,3\n4,\xe9,6\n7,8,9\n", [1, 3], [(2, 3, "encoding")]),
        (b'1,2,3\n4,"x\n\xe9",6\n7,8,9\n', [1, 3], [(2, 3, "encoding")]),
        (b"1,2,3\n4,5," + "é".encode()[:1], [1], [(2, 3, "encoding")]),
        (
            b"1,2,3\n\xc3\xff,\xe9,6\n7,\xc3\xa9,\xed\xb2\x80\n8,9,10\n",
            [1, 4],
            [(2, 3, "encoding"), (3, 4, "encoding")],
        ),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_read(
    rows: bytes, good: list[int], bad: list[tuple[int, int, str]]
) -> None:
    sheet = read(HEADER + rows)
    assert sheet.rows.tolist() == good
    assert [(each.row, sheet.line_of(each.row), each.reason) for each in sheet.bad] == bad
    assert sheet.read == len(good) + len(bad)


def test_a_quote_inside_a_cell_is_a_quote() -> None:
    assert cells(read(HEADER + b'1,5" pipe,3\n4,x"y,6\n')) == [["1", '5" pipe', "3"], ["4", 'x"y', "6"]]


def test_blank_lines_before_the_header_count_as_lines_only() -> None:
    sheet = read(b"\n,,\n" + HEADER + b"1,2,3\n4,5\n")
    assert sheet.header == ["a", "b", "c"]
    assert [(each.row, sheet.line_of(each.row)) for each in sheet.bad] == [(2, 5)]


@pytest.mark.parametrize("data", [HEADER, HEADER[:-1], HEADER + b"\n\n"])
def test_a_header_alone_is_a_table_without_rows(data: bytes) -> None:
    assert (read(data).read, read(data).header) == (0, ["a", "b", "c"])


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_without_any_text_there_is_no_table(data: bytes) -> None:
    with pytest.raises(Refused, match="empty"):
        read(data)


@pytest.mark.parametrize(
    ("data", "encoding", "at", "line"),
    [
        (b"a,\xe9,c\n1,2,3\n", "utf-8", 2, 1),
        (HEADER + b"1,\xe9,3\n", "utf-8", 8, 2),
        (b"\xef\xbb\xbf" + HEADER + b"1,\xe9,3\n", "utf-8", 11, 2),
        (HEADER + b"1,\x81,3\n", "cp1252", 8, 2),
        ("a,b,c\n1,é,3\n".encode("utf-16")[:-1], "utf-16", 24, 2),
        (HEADER + b"1,2," + "é".encode()[:1], "utf-8", 10, 2),
    ],
)
@pytest.mark.fault(46)
def test_bytes_of_another_encoding_are_refused_with_their_place(data: bytes, encoding: str, at: int, line: int) -> None:
    with pytest.raises(Refused, match="encoding") as refused:
        read(data, encoding)
    assert refused.value.detail.startswith(f"byte {at}:")
    assert f"a byte in line {line} that is none" in refused.value.detail


def test_one_byte_among_many_rows_costs_its_row() -> None:
    sheet = read(HEADER + b"1,2,3\n" * 400_000 + b"1,\xff,3\n1,2,3\n")
    assert [(each.row, each.column, each.reason) for each in sheet.bad] == [(400_001, 2, "encoding")]
    assert len(sheet.rows) == 400_001


@pytest.mark.parametrize(
    ("data", "encoding"),
    [(HEADER + b"1,2,3\n4,\x81,6\n", "cp1252"), ("a,b,c\n1,2,3\n4,\ue000,6\n".encode("utf-16"), "utf-16"),
     (HEADER + b"1,2,3\n4,\xff\xff,6\n", "gb18030")],
)  # fmt: skip
def test_bytes_outside_a_declared_encoding_cost_their_row(data: bytes, encoding: str) -> None:
    # A lone surrogate half, which is no character of UTF-16.
    sheet = read(data.replace(b"\x00\xe0", b"\x00\xdc"), encoding)
    assert (cells(sheet), [(each.row, each.column) for each in sheet.bad]) == ([["1", "2", "3"]], [(2, 2)])
    assert f"expected text in {encoding}" in sheet.bad[0].detail


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.fault(46)
def test_a_mark_says_the_encoding_where_none_is_declared(encoding: str) -> None:
    assert cells(read("a,b,c\n1,é,3\n".encode(encoding))) == [["1", "é", "3"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "gb18030"])
def test_a_declared_encoding_is_read(encoding: str) -> None:
    assert cells(read("a,b,c\n1,é,3\n".encode(encoding), encoding)) == [["1", "é", "3"]]


def test_a_character_across_two_chunks_is_one_character() -> None:
    data = HEADER + b"1," + b"x" * 900 + b",3\n"
    filler = b"1,2,3\n" * ((CHUNK - len(data)) // 6)
    rest = CHUNK - len(data) - len(filler)
    text = data + filler + b"1," + b"y" * (rest - 3) + "é".encode() + b",3\n"
    assert text[CHUNK - 1 : CHUNK + 1] == "é".encode()
    assert cells(read(text, "utf-8"))[-1][1].endswith("é")
    assert read(text.decode().encode("gb18030"), "gb18030").read == read(text).read


def test_a_header_may_be_looked_at_in_any_encoding() -> None:
    assert header_of("a, b ,é\n1".encode("utf-16"), "utf-8", ",") == ["a", "b", "é"]
    assert header_of(b"\xef\xbb\xbfa;b\r\n1;2", "utf-8", ";") == ["a", "b"]
    assert header_of(b"", "utf-8", ",") == []
    assert header_of(b"\xff\xfe\x00", "utf-8", ",") != ["a"]


@pytest.mark.parametrize(
    "rows",
    [
        b'x","\n' * 20_000,
        b'1,"2\n' * 40_001,
        b'1,"2,3\n' + b"4,5,6\n" * 100_000,
        b'"' * 200_001,
        b'1,"' + b"x\n" * 300_000,
    ],
)
def test_lost_quotes_cost_time_in_proportion(rows: bytes) -> None:
    """Lines are read again behind each lost quote; a file made of such lines must not be read again and again."""
    begun = process_time()
    with suppress(Refused):
        assert read(HEADER + rows).bad
    assert process_time() - begun < 2.5


def test_a_quoted_cell_of_many_lines_is_one_cell() -> None:
    sheet = read(HEADER + b'1,"' + b"x\n" * 400 + b'",3\n4,5,6\n')
    assert [row[1] for row in cells(sheet)] == ["x\n" * 400, "5"]
    assert [sheet.line_of(row) for row in (1, 2)] == [2, 403]


def test_a_long_header_cell_is_a_name() -> None:
    assert read(b"a," + b"b" * 900 + b"\n1,2\n").header == ["a", "b" * 900]
    assert read_sheet(b"a," + b"b" * 300_000 + b"\n1,2\n", "utf-8", ",", 1 << 20).read == 1
