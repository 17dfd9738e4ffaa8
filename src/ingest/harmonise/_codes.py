"""Columns of words as numbers: each different word is looked at once, each row is a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Codes = NDArray[np.int64]
_MOST_TO_TABULATE = 1 << 22


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as one array; combine_chunks would copy it also where there is but one chunk."""
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


@dataclass(frozen=True)
class Words:
    """The different words of a column, None among them where a row has none, and the place in them of each row's."""

    values: list[str | None]
    codes: NDArray[np.integer[Any]]


def words_of(column: pa.ChunkedArray | pa.Array) -> Words:
    """A column of text, plain or a dictionary."""
    encoded = whole(column).dictionary_encode()
    values = encoded.dictionary.to_pylist()
    if not encoded.null_count:
        return Words(values, encoded.indices.to_numpy())
    codes = pc.fill_null(encoded.indices, len(values)).to_numpy()
    return Words([*values, None], codes)


def spread(values: Sequence[str | None], codes: pa.Array | NDArray[np.integer[Any]]) -> pa.DictionaryArray:
    """The value of each row, as a dictionary of the different values there are, in their order."""
    ordered = sorted({value for value in values if value is not None})
    places = {value: place for place, value in enumerate(ordered)}
    at = pa.array([None if value is None else places[value] for value in values], pa.int32())
    return pa.DictionaryArray.from_arrays(at.take(pa.array(codes)), pa.array(ordered, pa.string()))


def combinations(*parts: tuple[NDArray[np.integer[Any]], int]) -> tuple[Codes, Codes]:
    """Of codes with how many there are: a row of each combination that occurs, and every row's combination."""
    which, size = np.zeros(len(parts[0][0]), dtype=np.int64), 1
    for codes, count in parts:
        if count > 1:
            which, size = _compact(which * count + codes, size * count)
    examples = np.zeros(size if len(which) else 0, dtype=np.int64)
    examples[which] = np.arange(len(which))
    return examples, which


def _compact(keys: Codes, size: int) -> tuple[Codes, int]:
    """The keys numbered without gaps, in their order, and how many there are."""
    if size > _MOST_TO_TABULATE:
        found, keys = np.unique(keys, return_inverse=True)
        return keys, len(found)
    there = np.zeros(size, dtype=np.bool_)
    there[keys] = True
    places = np.cumsum(there) - 1
    return places[keys], int(there.sum())
