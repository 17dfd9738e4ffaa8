"""The tables `night` and `night_source` from current sessions and their stages."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import DAY, HOUR, MINUTE, day_number
from ingest._core.contract import arrow_schema, to_contract
from ingest._core.settings import Settings
from ingest.mart.choose import Record, Sessions, choose, locals_of, sessions_of
from ingest.mart.metrics import CODE, Hypnogram, Metrics, measure
from ingest.mart.person import PersonSettings
from ingest.mart.session_versions import micros

Ints = NDArray[np.int64]
ATTEMPT = "attempt"
_WEAKEST = ("export", "zone", "roster", "assumed")
_LEAST = ("stages", "asleep_awake", "summary", "period")


def nights(
    sessions: pa.Table, stages: pa.Table, people: Mapping[str, PersonSettings], settings: Settings
) -> tuple[pa.Table, pa.Table]:
    """Tables of schemas night and night_source (without superseded sessions), sorted by primary key.

    `sessions` are current rows of sleep_session, `stages` the rows of their versions. Participants without
    an entry in `people` are left out.
    """
    order = [("participant_id", "ascending"), ("start_utc", "ascending"), ("session_id", "ascending")]
    sessions = sessions.sort_by(order)
    hypnogram = _hypnogram(sessions, stages)
    by_session = measure(hypnogram, len(sessions))
    participant = sessions["participant_id"].combine_chunks().dictionary_encode()
    found: list[tuple[PersonSettings, Sessions, list[Record], int]] = []
    for low, high in _stretches(participant.indices.to_numpy(zero_copy_only=False)):
        person = people.get(participant.dictionary[participant.indices[low].as_py()].as_py())
        if person is not None:
            own = sessions_of(sessions.slice(low, high - low), by_session.onset[low:high],
                              by_session.final_wake[low:high], by_session.tst[low:high],
                              by_session.measured[low:high])  # fmt: skip
            records = choose(own, person, settings.nights, settings.source_priority)
            _leave_out(records, person, settings)
            found.append((person, own, records, low))
    return _night_table(found, sessions, hypnogram, settings), _source_table(found)


def _stretches(codes: Ints) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(codes, prepend=-1, append=-1))
    return list(pairwise(edges.tolist()))


def _hypnogram(sessions: pa.Table, stages: pa.Table) -> Hypnogram:
    """Stretches with the row number of their session, ordered by it and by time."""
    if not len(stages):
        return Hypnogram(*(np.empty(0, dtype=np.int64) for _ in range(4)))
    encoded = stages["session_id"].combine_chunks().dictionary_encode()
    row_of = pc.index_in(encoded.dictionary, sessions["session_id"].combine_chunks())
    session = row_of.to_numpy(zero_copy_only=False)[encoded.indices.to_numpy()].astype(np.int64)
    words = stages["stage"].combine_chunks().dictionary_encode()
    codes = np.array([CODE[word] for word in words.dictionary.to_pylist()], dtype=np.int64)
    start, end = micros(stages["start_utc"]), micros(stages["end_utc"])
    order = np.lexsort((start, session))
    return Hypnogram(session[order], start[order], end[order], codes[words.indices.to_numpy()][order])


def _leave_out(records: list[Record], person: PersonSettings, settings: Settings) -> None:
    for record in records:
        if person.withdrew_on is not None and record.night >= day_number(person.withdrew_on):
            record.role, record.reason = "rejected", "after withdrawal"
        early = person.enrolled_on is not None and record.night < day_number(person.enrolled_on)
        if settings.history == "drop" and early:
            record.role, record.reason = "rejected", "before enrolment"


def _source_table(found: Sequence[tuple[PersonSettings, Sessions, list[Record], int]]) -> pa.Table:
    rows: dict[str, list[object]] = {name: [] for name in arrow_schema("night_source").names}
    for person, own, records, _ in found:
        for record in records:
            for place, row in enumerate(record.rows):
                joined = place > 0 and record.role == "main"
                rows["participant_id"].append(person.participant_id)
                rows["night_date"].append(record.night)
                rows["session_id"].append(own.ids[row])
                rows["role"].append("merged" if joined else record.role)
                rows["reason"].append("close to the main sleep before it" if joined else record.reason)
    table = pa.table({**rows, "night_date": pa.array(rows["night_date"], pa.int32()).cast(pa.date32())})
    return to_contract("night_source", table).sort_by([("participant_id", "ascending"), ("session_id", "ascending")])


def _night_table(found: Sequence[tuple[PersonSettings, Sessions, list[Record], int]], sessions: pa.Table,
                 hypnogram: Hypnogram, settings: Settings) -> pa.Table:  # fmt: skip
    mains = [
        (person, own, records, record, low)
        for person, own, records, low in found
        for record in sorted(records, key=lambda r: r.night)
        if record.role == "main"
    ]
    if not mains:
        return arrow_schema("night").empty_table()
    metrics = _measured(mains, sessions, hypnogram, settings)
    columns = _metric_columns(mains, metrics, sessions)
    columns.update(_record_columns(mains, metrics, sessions))
    order = [("participant_id", "ascending"), ("night_date", "ascending")]
    return to_contract("night", pa.table(columns)).sort_by(order)


Main = tuple[PersonSettings, Sessions, list[Record], Record, int]


def _measured(mains: Sequence[Main], sessions: pa.Table, hypnogram: Hypnogram, settings: Settings) -> Metrics:
    """Metrics over the merged records: their sessions' stretches, with the gaps between sessions."""
    record_of = np.full(len(sessions), -1, dtype=np.int64)
    gaps = []
    for number, (_, own, _, record, low) in enumerate(mains):
        record_of[[low + row for row in record.rows]] = number
        for a, b in zip(record.rows[:-1], record.rows[1:], strict=True):
            gaps.append((number, own.end[a], own.start[b], CODE["gap"]))
    of = record_of[hypnogram.record]
    used = of >= 0
    columns = [of[used], hypnogram.start[used], hypnogram.end[used], hypnogram.code[used]]
    if gaps:
        columns = [np.concatenate([c, g]) for c, g in zip(columns, np.array(gaps, dtype=np.int64).T, strict=True)]
        order = np.lexsort((columns[1], columns[0]))
        columns = [column[order] for column in columns]
    return measure(Hypnogram(*columns), len(mains), settings.nights.min_awakening_s, settings.nights.long_wake_min)


def _metric_columns(mains: Sequence[Main], m: Metrics, sessions: pa.Table) -> dict[str, pa.Array]:
    """Durations; NULL wherever the record cannot know."""
    basis = np.array([_least(own.detail[row] for row in record.rows) for _, own, _, record, _ in mains])
    seen = m.measured & (basis <= _LEAST.index("asleep_awake"))
    staged = seen & (basis == _LEAST.index("stages"))
    tib = np.array([record.end - record.start for _, _, _, record, _ in mains], dtype=np.int64)
    vendor = {name: _vendor_sums(sessions[name], mains)
              for name in ("vendor_tst_min", "vendor_light_min", "vendor_deep_min", "vendor_rem_min")}  # fmt: skip
    told = ~seen & (basis == _LEAST.index("summary"))
    tst = np.where(seen, m.tst / MINUTE, vendor["vendor_tst_min"])
    known = seen | (told & ~np.isnan(vendor["vendor_tst_min"]))

    def minutes(value: Ints, valid: NDArray[np.bool_]) -> pa.Array:
        return pa.array(value / MINUTE, mask=~valid)

    def stage(name: str) -> pa.Array:
        stated = vendor[f"vendor_{name}_min"]
        value = np.where(staged, m.by_stage[name] / MINUTE, stated)
        return pa.array(value, mask=~(staged | (told & ~np.isnan(stated))))

    asleep = np.where(staged, m.by_stage["asleep"], m.tst)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = {"se_tib_pct": 100 * tst / (tib / MINUTE), "se_spt_pct": 100 * m.tst / m.spt}
        mean_awakening = m.counted / np.maximum(m.nawk, 1) / MINUTE
    return {
        "basis": pa.array([_LEAST[code] for code in basis]),
        "tib_min": minutes(tib, np.ones(len(tib), dtype=bool)),
        "spt_min": minutes(m.spt, seen),
        "tst_min": pa.array(tst, mask=~known),
        "waso_min": minutes(m.waso, seen),
        "waso_long_min": minutes(m.waso_long, seen),
        "record_first_wake_min": minutes(m.first_wake, seen),
        "gap_min": minutes(m.gap, seen),
        "unknown_min": minutes(m.unknown, seen),
        "nawk": pa.array(m.nawk, mask=~seen),
        "nawk_long": pa.array(m.nawk_long, mask=~seen),
        "mean_awakening_min": pa.array(mean_awakening, mask=~(seen & (m.nawk > 0))),
        "se_tib_pct": pa.array(ratio["se_tib_pct"], mask=~known),
        "se_spt_pct": pa.array(ratio["se_spt_pct"], mask=~seen),
        "light_min": stage("light"),
        "deep_min": stage("deep"),
        "rem_min": stage("rem"),
        "asleep_min": minutes(asleep, seen),
        "rem_latency_min": minutes(m.first_rem - m.onset, staged & (m.first_rem >= 0)),
        "midsleep_utc": _instants(m.onset + m.spt // 2, seen),
        **_edges(mains, m, sessions, seen),
    }  # fmt: skip


def _edges(mains: Sequence[Main], m: Metrics, sessions: pa.Table, seen: NDArray[np.bool_]) -> dict[str, pa.Array]:
    """Latency and snooze: only where the record begins with the attempt to sleep (flag `attempt`)."""
    flags = sessions["flags"].to_pylist()
    attempt = np.array([ATTEMPT in (flags[low + record.rows[0]] or "").split(",")
                        for _, _, _, record, low in mains], dtype=bool)  # fmt: skip
    start, end = (np.array([getattr(record, name) for _, _, _, record, _ in mains]) for name in ("start", "end"))
    return {
        "tib_basis": pa.array(np.where(attempt, "attempt", "record").tolist(), pa.string()),
        "sol_min": pa.array((m.onset - start) / MINUTE, mask=~(seen & attempt)),
        "snooze_min": pa.array((end - m.final_wake) / MINUTE, mask=~(seen & attempt)),
    }


def _record_columns(mains: Sequence[Main], m: Metrics, sessions: pa.Table) -> dict[str, pa.Array]:
    """What is known of each night besides durations of its main record."""
    rows: list[dict[str, object]] = []
    basis, score, efficiency, device, flags = (sessions[name].to_pylist() for name in (
        "time_basis", "vendor_score", "vendor_efficiency_pct", "device", "flags"))  # fmt: skip
    starts, ends = (np.array([getattr(main[3], name) for main in mains]) for name in ("start", "end"))
    onsets, wakes = np.where(m.measured, m.onset, starts), np.where(m.measured, m.final_wake, ends)
    clocks = [(onsets, _local_clocks(mains, onsets, 0)), (wakes, _local_clocks(mains, wakes, -1))]
    instants = zip(*(values.tolist() for pair in clocks for values in pair), strict=True)
    companions = {low: _Companions(records) for _, _, records, _, low in {main[4]: main for main in mains}.values()}
    for number, (person, own, _, record, low) in enumerate(mains):
        onset, onset_local, final_wake, wake_local = next(instants)
        words = set(record.flags).union(*(set((flags[low + r] or "").split(",")) for r in record.rows)) - {""}
        if not m.measured[number]:
            words.add("onset_from_record")
        longest = max(record.rows, key=lambda r: (own.end[r] - own.start[r], -r))
        enrolled = person.enrolled_on
        rows.append({
            "participant_id": person.participant_id, "night_date": record.night, "wake_date": wake_local // DAY,
            "study_day": record.night - day_number(enrolled) if enrolled else None,
            "source": record.source, "device": device[low + longest], "main_session_id": own.ids[record.rows[0]],
            "time_basis": max((basis[low + r] for r in record.rows), key=_WEAKEST.index),
            "utc_offset_min": (onset_local - onset) // MINUTE,
            "bed_start_utc": record.start, "bed_end_utc": record.end, "onset_utc": onset,
            "final_wake_utc": final_wake, "onset_local": onset_local, "final_wake_local": wake_local,
            "vendor_efficiency_pct": efficiency[low + longest], "vendor_score": score[low + longest],
            "n_sources": len(companions[low].sources[record.night]),
            "flags": ",".join(sorted(words)) or None, **_naps(record, companions[low], m, number),
        })  # fmt: skip
    schema = arrow_schema("night")
    return {name: _column([row[name] for row in rows], schema.field(name).type) for name in rows[0]}


def _local_clocks(mains: Sequence[Main], instants: Ints, place: int) -> Ints:
    """Local clock of one instant of each main record, in the zone or offset of its session at `place`."""
    local = np.empty(len(mains), dtype=np.int64)
    for low, high in _stretches(np.array([main[4] for main in mains])):
        person, own = mains[low][:2]
        rows = [main[3].rows[place] for main in mains[low:high]]
        local[low:high] = locals_of(own, rows, instants[low:high], person)
    return local


class _Companions:
    """A participant's records, to be found by night date and, naps, by start."""

    def __init__(self, records: list[Record]) -> None:
        self.main = {r.night: r for r in records if r.role == "main"}
        self.sources: dict[int, set[str]] = {}
        self.naps: dict[int, list[Record]] = {}
        for r in records:
            self.sources.setdefault(r.night, set()).add(r.source)
            if r.role == "nap":
                self.naps.setdefault(r.night, []).append(r)
        self._by_start = sorted((r for r in records if r.role == "nap"), key=lambda r: r.start)

    def naps_within(self, since: int, until: int) -> list[Record]:
        """Naps that begin and end between two instants."""
        low = bisect_left(self._by_start, since, key=lambda r: r.start)
        high = bisect_right(self._by_start, until, key=lambda r: r.start)
        return [r for r in self._by_start[low:high] if r.end <= until]


def _naps(record: Record, companions: _Companions, m: Metrics, number: int) -> dict[str, object]:
    own = companions.naps.get(record.night, [])
    before = companions.main.get(record.night - 1)
    since = max(before.final_wake if before else 0, record.start - 24 * HOUR)
    earlier = companions.naps_within(since, record.start)
    nap_min = _asleep(own)
    tst = m.tst[number] / MINUTE if m.measured[number] else (record.tst / MINUTE if record.tst >= 0 else None)
    return {
        "nap_count": len(own),
        "nap_min": nap_min,
        "nap_before_min": _asleep(earlier),
        "nap_after_min": _asleep([r for r in own if r.start >= record.end]),
        "tst_24h_min": None if nap_min is None or tst is None else float(tst + nap_min),
    }


def _asleep(naps: list[Record]) -> float | None:
    return None if any(nap.tst < 0 for nap in naps) else sum(nap.tst for nap in naps) / MINUTE


def _least(details: object) -> int:
    return max(_LEAST.index(word) for word in details)  # type: ignore[attr-defined]


def _vendor_sums(column: pa.ChunkedArray, mains: Sequence[Main]) -> NDArray[np.float64]:
    """Sums over each main record's sessions; NaN where one of them states no value."""
    values = pc.fill_null(column, float("nan")).to_pylist()
    return np.array([sum(values[low + row] for row in record.rows) for _, _, _, record, low in mains])


def _instants(value: Ints, valid: NDArray[np.bool_]) -> pa.Array:
    return pa.array(value, mask=~valid).cast(pa.timestamp("us", tz="UTC"))


def _column(values: list[object], kind: pa.DataType) -> pa.Array:
    if pa.types.is_date(kind):
        return pa.array(values, pa.int32()).cast(kind)
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)
