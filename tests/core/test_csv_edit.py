"""One cell is written, or rows are taken out; all other bytes of the file stay as they were."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest._core.csv_edit import with_cell, without_rows


def is_k01(row: dict[str, str]) -> bool:
    return row.get("participant_ref") == "K01"


HEAD = b"participant_ref,withdrew_on"
QUOTED = b'arm,"participant_ref",withdrew_on\n"a, ""b""\n c",K01,'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD + b",arm\nK00,,a\nK01,,b\n", HEAD + b",arm\nK00,,a\nK01,DAY,b\n"),
        (HEAD + b"\r\nK01,2026-01-01\r\n\r\nK02,", HEAD + b"\r\nK01,DAY\r\n\r\nK02,"),
        (
            b"\xef\xbb\xbfparticipant_ref,arm\nK02,x\nK01,y",
            b"\xef\xbb\xbfparticipant_ref,arm,withdrew_on\nK02,x\nK01,y,DAY",
        ),
        (b"participant_ref,arm,withdrew_on\nK01\n", b"participant_ref,arm,withdrew_on\nK01,,DAY\n"),
        (QUOTED + b'""\n', QUOTED + b"DAY\n"),
        (HEAD + b"\rK01,\rK02,\r", HEAD + b"\rK01,DAY\rK02,\r"),
    ],
    ids=["middle", "crlf-and-blank-line", "mark-and-new-column", "short-row", "quoted", "cr"],
)
def test_one_cell_changes(before: bytes, after: bytes) -> None:
    assert with_cell(before, is_k01, "withdrew_on", "DAY") == after


def test_a_row_that_is_not_there() -> None:
    with pytest.raises(LookupError):
        with_cell(b"participant_ref,withdrew_on\nK02,\n", is_k01, "withdrew_on", "DAY")


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        (b"participant_ref,arm\nK01,a\nK02,b\nK01,c\n", b"participant_ref,arm\nK02,b\n", 2),
        (
            b'\xef\xbb\xbfparticipant_ref,arm\r\n"K01","a\r\nb"\r\n\r\nK02,b',
            b"\xef\xbb\xbfparticipant_ref,arm\r\n\r\nK02,b",
            1,
        ),
        (b"participant_ref\nK02\nK01", b"participant_ref\nK02\n", 1),
        (b"participant_ref,arm\nK02,K01\n", b"participant_ref,arm\nK02,K01\n", 0),
    ],
)
def test_rows_go(before: bytes, after: bytes, gone: int) -> None:
    assert without_rows(before, is_k01) == (after, gone)


CELL = st.text(st.sampled_from('ab ",\n1é'), max_size=5)


@given(st.lists(st.tuples(st.sampled_from(["K01", "K02"]), CELL, CELL), max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_what_csv_reads_afterwards_is_the_same_but_for_the_change(rows: list[tuple[str, str, str]], end: str) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=end).writerows([("participant_ref", "withdrew_on", "arm"), *rows])
    data = stream.getvalue().encode()
    read = [tuple(row) for row in csv.reader(io.StringIO(data.decode(), newline=""))]
    left, gone = without_rows(data, is_k01)
    assert [tuple(row) for row in csv.reader(io.StringIO(left.decode(), newline=""))] == [
        row for row in read if row[0] != "K01"
    ]
    assert gone == sum(row[0] == "K01" for row in rows)
    if gone:
        first = next(i for i, row in enumerate(read) if row[0] == "K01")
        read[first] = ("K01", "DAY", read[first][2])
        changed = with_cell(data, is_k01, "withdrew_on", "DAY").decode()
        assert [tuple(row) for row in csv.reader(io.StringIO(changed, newline=""))] == read
