"""Which version of a sleep record counts: copies, revisions, records that overlap."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.contract import to_contract

Ints = NDArray[np.int64]
_REASONS = ("newer_export", "more_complete", "overlap")
_NEWER, _FULLER, _OVERLAP = range(3)


def session_versions(sessions: pa.Table) -> pa.Table:
    """Versions of every session (schema session_version), sorted by session_id and source_file_id.

    `sessions` holds rows of the lake's table sleep_session. Equal copies stand once, under the export that had
    them first. Of versions that differ, the one the newest export holds counts; among equally new ones the
    longest record. Of records of one source and device that overlap, the longest counts, then the newest.
    The order of the rows does not matter.
    """
    session, content, source_file = (_rank(sessions[name]) for name in
                                     ("session_id", "content_hash", "source_file_id"))  # fmt: skip
    exported, start, end = (micros(sessions[name]) for name in ("exported_at", "start_utc", "end_utc"))
    order = np.lexsort((source_file, exported, content, session))
    copies = _runs(order, session, content)
    first, last_exported = order[copies], exported[order[_ends(copies, len(order))]]
    by_age = np.lexsort((content[first], (end - start)[first], last_exported, session[first]))
    first, last_exported = first[by_age], last_exported[by_age]
    of_one = _runs(np.arange(len(first)), session[first])
    winner = np.repeat(_ends(of_one, len(first)), np.diff(np.append(of_one, len(first))))
    current = winner == np.arange(len(first))
    reason = np.where(last_exported[winner] > last_exported, _NEWER, _FULLER)
    alive = np.flatnonzero(current)
    lost = alive[_overlapped(sessions.take(first[alive]), last_exported[alive], session[first[alive]])]
    current[lost], reason[lost] = False, _OVERLAP
    table = sessions.select(["session_id", "participant_id", "source_file_id"]).take(first)
    table = table.append_column("is_current", pa.array(current))
    words = pa.DictionaryArray.from_arrays(pa.array(reason, mask=current), list(_REASONS)).cast(pa.string())
    table = table.append_column("superseded_reason", words)
    keys = [("session_id", "ascending"), ("source_file_id", "ascending")]
    return to_contract("session_version", table.sort_by(keys))


def micros(column: pa.ChunkedArray) -> Ints:
    """A column of instants as µs."""
    return column.combine_chunks().cast(pa.int64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _rank(column: pa.ChunkedArray) -> Ints:
    """Position of each word among the distinct words in order, so that numbers sort as the words do."""
    encoded = column.combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy(zero_copy_only=False)]  # type: ignore[no-any-return]


def _runs(order: Ints, *keys: Ints) -> Ints:
    """Where a run of equal keys begins, in the order given."""
    differs = np.zeros(len(order), dtype=bool)
    differs[:1] = True
    for key in keys:
        differs[1:] |= key[order[1:]] != key[order[:-1]]
    return np.flatnonzero(differs)


def _ends(begins: Ints, n: int) -> Ints:
    return np.append(begins[1:], n)[: len(begins)] - 1


def _overlapped(sessions: pa.Table, last_exported: Ints, session: Ints) -> Ints:
    """Positions of records that give way to an overlapping one of the same participant, source and device."""
    device = pc.fill_null(sessions["device"], "")
    stream = _rank(pc.binary_join_element_wise(sessions["participant_id"], sessions["source"], device, "\x1f"))
    start, end = micros(sessions["start_utc"]), micros(sessions["end_utc"])
    order = np.lexsort((session, start, stream))
    clusters = _clusters(stream[order], start[order], end[order])
    lost: list[int] = []
    for low, high in clusters:
        members = order[low:high]
        taken: list[int] = []
        for i in sorted(members, key=lambda i: (start[i] - end[i], -last_exported[i], session[i])):
            if any(start[i] < end[j] and start[j] < end[i] for j in taken):
                lost.append(int(i))
            else:
                taken.append(int(i))
    return np.array(sorted(lost), dtype=np.int64)


def _clusters(stream: Ints, start: Ints, end: Ints) -> list[tuple[int, int]]:
    """Stretches of the order, of two records or more, in which each overlaps one before it."""
    if not len(start):
        return []
    span = np.int64(end.max() - start.min() + 1)
    low, high = (start - start.min()) + stream * span, (end - start.min()) + stream * span
    reach = np.maximum.accumulate(high)
    begins = np.flatnonzero(np.append(True, low[1:] >= reach[:-1]))
    ends = np.append(begins[1:], len(start))
    return [(int(a), int(b)) for a, b in zip(begins, ends, strict=True) if b - a > 1]
