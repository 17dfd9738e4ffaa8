"""Words of a long log as dictionaries: every different cell is read once, and rows keep its number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.decode.log._words import DROPPED, Bools, texts


def read_cells(column: pa.Array, read: Callable[[str], str | None]) -> tuple[pa.DictionaryArray, Bools]:
    """What `read` makes of each cell without its outer blanks, and where that is DROPPED, which becomes NULL."""
    cells = column.dictionary_encode()
    words = [read(cell.strip()) for cell in cells.dictionary.to_pylist()]
    dropped = np.array([word == DROPPED for word in words], dtype=np.bool_)
    kept = [None if word == DROPPED else word for word in words]
    return _spread(kept, cells.indices), dropped[cells.indices.to_numpy()]


def read_ids(column: pa.Array) -> pa.Array:
    """Cells without outer blanks, NULL where nothing is left; words of which each row has its own."""
    data = np.frombuffer(column.buffers()[2] or b"", dtype=np.uint8)
    # Only what lies outside the visible ASCII characters can be a blank, and looking is cheaper than trimming.
    if ((data > 32) & (data < 127)).all() and pc.min(pc.binary_length(column)).as_py() != 0:
        return column
    return texts(column)


def _spread(words: Sequence[str | None], indices: pa.Array) -> pa.DictionaryArray:
    places = {word: i for i, word in enumerate(sorted({word for word in words if word is not None}))}
    at = pa.array([None if word is None else places[word] for word in words], pa.int32())
    return pa.DictionaryArray.from_arrays(at.take(indices), pa.array(list(places), pa.string()))


def same_word(word: str | None, n: int) -> pa.DictionaryArray:
    """`word` in `n` rows."""
    if word is None:
        return pa.nulls(n, pa.dictionary(pa.int32(), pa.string()))
    return pa.DictionaryArray.from_arrays(np.zeros(n, dtype=np.int32), pa.array([word]))
