"""Hashes of many rows are those of each row, by the definitions of MD5 and of MurmurHash3's final mix."""

from __future__ import annotations

from hashlib import md5

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest._core.hashing import all_different, hex_digits, md5_digits, mixed

INT64 = st.integers(-(2**63), 2**63 - 1)
_MASK = 2**64 - 1


def fmix64(k: int) -> int:
    k ^= k >> 33
    k = k * 0xFF51AFD7ED558CCD & _MASK
    k ^= k >> 33
    k = k * 0xC4CEB9FE1A85EC53 & _MASK
    return k ^ k >> 33


@given(st.lists(st.text(max_size=80), min_size=1, max_size=20), st.integers(1, 32))
def test_digits_are_those_of_md5(texts: list[str], digits: int) -> None:
    wanted = [md5(text.encode()).hexdigest()[:digits] for text in texts]
    assert md5_digits(pa.array(texts), digits=digits).to_pylist() == wanted
    starts, ends = [text[:3] for text in texts], [text[3:] for text in texts]
    in_parts = (pa.array(starts).dictionary_encode(), pa.array(ends))
    assert md5_digits(*in_parts, digits=digits).to_pylist() == wanted


def test_many_rows_are_hashed_as_few() -> None:
    texts = [f"{number} \u00f8 {None if number % 7 else 'x'}" for number in range(5000)]
    parts = pa.array(["a", None] * 2500).dictionary_encode(), pa.array(texts)
    wanted = [
        md5(((a or "") + b).encode()).hexdigest()[:20] for a, b in zip(*(p.to_pylist() for p in parts), strict=True)
    ]
    assert md5_digits(*parts, digits=20).to_pylist() == wanted
    assert md5_digits(*(part[:9] for part in parts), digits=20).to_pylist() == wanted[:9]
    assert all_different(*parts)
    assert not all_different(pa.array([*texts, texts[77]]))


@given(st.lists(st.tuples(INT64, INT64, INT64), min_size=1, max_size=20))
def test_rows_are_mixed_column_by_column(rows: list[tuple[int, int, int]]) -> None:
    found = mixed([np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)])
    wanted = []
    for row in rows:
        number = 0
        for word in row:
            number = fmix64(number ^ word & _MASK)
        wanted.append(number)
    assert found.tolist() == wanted
    assert hex_digits(found).to_pylist() == [f"{number:016x}" for number in wanted]


def test_a_row_is_the_same_among_many() -> None:
    many = np.arange(40_000, dtype=np.int64)
    assert (
        mixed([many, -many])[[0, 20_000, 39_999]].tolist()
        == mixed([many[[0, 20_000, 39_999]], -many[[0, 20_000, 39_999]]]).tolist()
    )


def test_a_column_not_known_in_a_row_leaves_the_row_as_it_is() -> None:
    one, two = np.array([1, 1], dtype=np.int64), np.array([2, 2], dtype=np.int64)
    every, first = np.array([True, True]), np.array([True, False])
    assert mixed([one, two], [every, first]).tolist() == [*mixed([one, two])[:1], *mixed([one])[1:]]


@pytest.mark.parametrize(
    ("rows", "different"),
    [([("a", "1"), ("a", "2"), ("b", "1")], True), ([("a", "1"), ("b", "1"), ("a", "1")], False), ([], True)],
)
def test_rows_that_differ_in_one_column_are_different(rows: list[tuple[str, str]], different: bool) -> None:
    columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(2)]
    assert all_different(*columns) is different
    assert all_different(columns[0].dictionary_encode(), columns[1]) is different
