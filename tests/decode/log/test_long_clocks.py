"""The short way of reading a column of times gives what the strict one gives, or leaves it to that."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest._core.log_mapping import When
from ingest.decode.log._clocks import BARE_DATE, CLOCK, IMPOSSIBLE, NO_TIME, Clocks, read_iso
from ingest.decode.log._long_clocks import read_long_when
from ingest.decode.log._long_words import read_ids

WHEN = When(column="at")
GOOD = st.builds(
    lambda at, size, mark: at.isoformat()[:size].replace("T", mark),
    st.datetimes(),
    st.sampled_from((10, 16, 19)),
    st.sampled_from("T "),
)


def same(one: Clocks, two: Clocks) -> bool:
    return all(np.array_equal(getattr(one, each.name), getattr(two, each.name)) for each in fields(Clocks))


@given(st.lists(GOOD, min_size=1, max_size=8))
def test_plain_columns_read_alike(cells: list[str]) -> None:
    assert same(read_long_when(pa.array(cells), WHEN), read_iso(pa.array(cells)))


@given(GOOD, st.integers(0, 15), st.sampled_from("0123456789-:T tZ+.\u0660"))
def test_a_cell_with_one_character_changed_reads_alike(cell: str, at: int, character: str) -> None:
    cells = pa.array([cell[:at] + character + cell[at + 1 :]])
    assert same(read_long_when(cells, WHEN), read_iso(cells))


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("2026-03-01", BARE_DATE),
        ("2026-03-01T08:00:30", CLOCK),
        ("2026-02-29", IMPOSSIBLE),
        ("0000-01-01", IMPOSSIBLE),
        ("2026-03-01T24:00", IMPOSSIBLE),
        ("2026-03-01T10+02", NO_TIME),
    ],
)
def test_what_a_cell_is(cell: str, kind: int) -> None:
    assert read_long_when(pa.array([cell]), WHEN).kind.tolist() == [kind]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [(["a1", "b2"], ["a1", "b2"]), (["a1 ", "\u00a0b"], ["a1", "b"]), (["a1", ""], ["a1", None]), (["é"], ["é"])],
)
def test_ids_lose_outer_blanks_and_nothing_else(cells: list[str], wanted: list[str | None]) -> None:
    assert read_ids(pa.array(cells)).to_pylist() == wanted
