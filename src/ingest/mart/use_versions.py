"""Which version of a reported use counts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.contract import to_contract

_ORDER = [("use_id", "ascending"), ("exported_at", "ascending"), ("source_file_id", "ascending")]


def use_versions(uses: pa.Table) -> pa.Table:
    """Versions of every use report (schema use_version), sorted by use_id and source_file_id.

    `uses` holds rows of the lake's table substance_use. Rows of one use_id with the same content_hash are
    copies: the one with the smallest (exported_at, source_file_id) is the version, the others have no row.
    Among versions that differ the one whose newest copy has the greatest (exported_at, source_file_id) is
    current.
    """
    rows, current = _versions(uses)
    names = ["use_id", "participant_id", "source_file_id"]
    kept = uses.select(names).take(rows).append_column("is_current", pa.array(current))
    return to_contract("use_version", kept.sort_by([("use_id", "ascending"), ("source_file_id", "ascending")]))


def current_uses(uses: pa.Table) -> pa.Table:
    """The rows of `uses` that count, one per use_id, sorted by use_id."""
    rows, current = _versions(uses)
    return uses.take(rows.filter(pa.array(current)))


def _versions(uses: pa.Table) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Row numbers of the versions, ordered by use_id and by the newest copy, and which of them are current."""
    keys = [_ORDER[0], ("content_hash", "ascending"), *_ORDER[1:]]
    order = pc.sort_indices(uses, sort_keys=keys)
    first = _differs(uses["use_id"], order) | _differs(uses["content_hash"], order)
    last = np.append(first[1:], True)[: len(first)]
    kept, newest = order.filter(pa.array(first)), order.filter(pa.array(last))
    # A report that returned to what it said before counts as new as its newest copy.
    by_age = pc.sort_indices(uses.select([name for name, _ in _ORDER]).take(newest), sort_keys=[*_ORDER])
    kept = kept.take(by_age)
    begins = _differs(uses["use_id"], kept)
    return kept, np.append(begins[1:], True)[: len(kept)]


def _differs(column: pa.ChunkedArray, order: pa.Array) -> NDArray[np.bool_]:
    """True where the value at this place of `order` differs from the one before it; the first is True."""
    values = column.take(order)
    if len(values) == 0:
        return np.zeros(0, dtype=bool)
    changed = pc.not_equal(values.slice(1), values.slice(0, len(values) - 1))
    return np.concatenate(([True], changed.to_numpy(zero_copy_only=False).astype(bool)))
