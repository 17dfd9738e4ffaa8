"""Times of a long column at once, where all of it is plainly written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.log_mapping import When
from ingest.decode.log._clocks import BARE_DATE, CLOCK, Clocks, read_when

_DATE, _MINUTES, _SECONDS = 10, 16, 19
_YEAR_1_US = -62_135_596_800_000_000


def read_long_when(column: pa.Array, when: When) -> Clocks:
    """As read_when; at a third of its cost where every cell is a date, or one with hours, minutes and seconds."""
    plain = _read_plain(column) if when.format is None and len(column) else None
    return read_when(column, when) if plain is None else plain


def _read_plain(column: pa.Array) -> Clocks | None:
    """None where a cell is anything else, or cannot be: then read_when tells what."""
    sizes = pc.binary_length(column).to_numpy()
    if not ((sizes == _MINUTES) | (sizes == _DATE) | (sizes == _SECONDS)).all():
        return None
    try:
        local = pc.cast(column, pa.timestamp("us")).to_numpy().view(np.int64)
    except pa.ArrowInvalid:
        return None
    if local.min() < _YEAR_1_US:
        return None
    zeros = np.zeros(len(sizes), dtype=np.int64)
    kind = np.where(sizes == _DATE, np.int8(BARE_DATE), np.int8(CLOCK))
    return Clocks(kind, local.copy(), np.zeros(len(sizes), dtype=np.bool_), zeros)
