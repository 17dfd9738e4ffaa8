"""Decoded sleep into the lake's sessions and stages: instants, ids, plausibility."""

from __future__ import annotations

from hashlib import blake2b, sha256
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core import clock
from ingest._core.clock import SECOND, Micros
from ingest._core.contract import to_contract
from ingest._core.pseudonyms import keyed
from ingest.decode.intervals import SPAN
from ingest.decode.model import Decoded, ExportFacts, RecordKind, Tally
from ingest.harmonise.checks import RULES, Facts
from ingest.harmonise.person import Person

_STATED = ("is_main_reported", "is_nap_reported", "detail", "device", "utc_offset_min", "vendor_tst_min",
           "vendor_awake_min", "vendor_sol_min", "vendor_light_min", "vendor_deep_min", "vendor_rem_min",
           "vendor_efficiency_pct", "vendor_score", "algorithm_version")  # fmt: skip
_NUMBERS = frozenset(name for name in _STATED if name.startswith("vendor_")) | {"utc_offset_min"}
_TOLERANCE_US = 60 * SECOND


def harmonise_sleep(decoded: Decoded, facts: ExportFacts, person: Person) -> dict[str, pa.Table]:
    """The lake's `sleep_session` and `sleep_stage` of one export; empty dict without sessions.

    Refused records and values set aside go to `decoded.tally`. Local clocks are read in the zone the record
    names, else in the participant's: a repeated hour in its first reading (an end in the second, where only
    that lies after the start), an hour that never was with the offset before it; both are flagged. Where the
    record states its true length, the reading that agrees with it is taken; where none does, the length decides
    and the end follows from it.
    """
    if decoded.sessions is None or not len(decoded.sessions):
        return {}
    sessions = decoded.sessions
    flags = [set(filter(None, (text or "").split(","))) for text in sessions["flags"].to_pylist()]
    start, end, offset, basis = _instants(sessions, person, flags)
    columns = {name: sessions[name] for name in _STATED}
    kept = _check(sessions, columns, start, end, facts, flags, decoded.tally)
    stages = _Stages.of(decoded.stages)
    change = _offset_change(start, end, _zones(sessions, person), _is_local(sessions))
    stages = stages.within(end - start, offset_change=change, flags=flags)
    ids = [
        session_id(person.participant_id, facts.source, record or f"{a}/{b}")
        for record, a, b in zip(sessions["source_record_id"].to_pylist(), start.tolist(), end.tolist(), strict=True)
    ]
    columns["utc_offset_min"] = pa.array((offset // clock.MINUTE).astype(np.int64))
    flag_texts = [",".join(sorted(words)) or None for words in flags]
    n = len(sessions)
    table = pa.table({
        **columns,
        "session_id": ids,
        "participant_id": pa.repeat(person.participant_id, n),
        "source": pa.repeat(facts.source, n),
        "source_record_id": _shown_ids(sessions["source_record_id"], facts.source, person.secret),
        "source_file_id": pa.repeat(facts.source_file_id, n),
        "start_utc": pa.array(start, pa.timestamp("us", tz="UTC")),
        "end_utc": pa.array(end, pa.timestamp("us", tz="UTC")),
        "time_basis": basis,
        "exported_at": pa.repeat(pa.scalar(facts.exported_at, pa.timestamp("us", tz="UTC")), n),
        "content_hash": _content_hashes(columns, start, end, basis, flag_texts, stages),
        "flags": pa.array(flag_texts, pa.string()),
    })  # fmt: skip
    return {
        "sleep_session": to_contract(
            "sleep_session",
            table.filter(pa.array(kept)).sort_by([("start_utc", "ascending"), ("session_id", "ascending")]),
        ),
        "sleep_stage": stages.kept(kept).to_lake(ids, start, person.participant_id, facts.source_file_id),
    }


def session_id(participant_id: str, source: str, record: str) -> str:
    """20 hexadecimal digits of SHA-256 over participant, source and the record's id in it."""
    return sha256(f"{participant_id}\x1f{source}\x1f{record}".encode()).hexdigest()[:20]


# Digits, times, UUIDs and hexadecimal numbers, as vendors count their records; nothing that somebody could have named.
_COUNTED = "|".join((r"^[0-9]{1,20}$", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[0-9T:.Z+/-]*$", r"^[0-9A-Fa-f]{24,64}$",
                     r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"))  # fmt: skip


def _shown_ids(records: pa.ChunkedArray, source: str, secret: str) -> pa.ChunkedArray:
    """The source's own ids; one that is neither number, time nor UUID is a keyed hash of 20 digits in its place."""
    plain = pc.fill_null(pc.match_substring_regex(records, _COUNTED), True)
    if pc.all(plain).as_py() is not False:
        return records
    hashed = [keyed(secret.encode(), "record", source, record or "")[:20] for record in records.to_pylist()]
    return pc.if_else(plain, records, pa.array(hashed))


Zones = list[tuple[clock.Zone, NDArray[np.bool_]]]
"""Each zone that counts, with the records whose local clock it is."""


def _zones(sessions: pa.Table, person: Person) -> Zones:
    stated = sessions["zone"].combine_chunks().dictionary_encode()
    names = [name if clock.zone_exists(name) else person.zone_name for name in stated.dictionary.to_pylist()]
    codes = pc.fill_null(stated.indices, -1).to_numpy(zero_copy_only=False)
    found: dict[str, NDArray[np.bool_]] = {}
    for code, name in [(-1, person.zone_name), *enumerate(names)]:
        found[name] = found.get(name, np.zeros(len(sessions), dtype=bool)) | (codes == code)
    return [(clock.zone(name), rows) for name, rows in found.items() if rows.any()]


def _instants(sessions: pa.Table, person: Person, flags: list[set[str]]) -> tuple[Micros, Micros, Micros, list[str]]:
    local = _is_local(sessions)
    start, end = (_micros(sessions[name]).copy() for name in ("start_clock", "end_clock"))
    stated = sessions["utc_offset_min"].combine_chunks()
    known = ~local & stated.is_valid().to_numpy(zero_copy_only=False)
    minutes = pc.fill_null(stated, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    length = pc.fill_null(sessions["elapsed_us"].combine_chunks(), -1).to_numpy(zero_copy_only=False)
    offset = minutes * clock.MINUTE
    for zone, rows in _zones(sessions, person):
        mine = np.flatnonzero(rows & local)
        start[mine], end[mine] = _from_local(zone, start[mine], end[mine], length[mine], [flags[i] for i in mine])
        without = np.flatnonzero(rows & ~known)
        offset[without] = zone.offset_at(start[without])
    return start, end, offset, _time_basis(sessions, person, known)


def _is_local(sessions: pa.Table) -> NDArray[np.bool_]:
    return np.array([kind == "local" for kind in sessions["clock"].to_pylist()], dtype=bool)


def _time_basis(sessions: pa.Table, person: Person, known: NDArray[np.bool_]) -> list[str]:
    found = []
    for is_known, name in zip(known, sessions["zone"].to_pylist(), strict=True):
        named = "zone" if name is not None and clock.zone_exists(name) else person.time_basis
        found.append("export" if is_known else named)
    return found


def _from_local(zone: clock.Zone, start: Micros, end: Micros, length: Micros,
                flags: list[set[str]]) -> tuple[Micros, Micros]:  # fmt: skip
    """Instants of local clocks; `length` is the true length in µs, -1 where the record does not state it."""
    first, second, start_kind = zone.to_utc(start)
    end_first, end_second, end_kind = zone.to_utc(end)
    begin, finish = first, np.where((end_first <= first) & (end_second > first), end_second, end_first)
    stated = length >= 0
    for a, b in ((second, end_second), (first, end_second), (second, end_first), (first, end_first)):
        fits = stated & (np.abs(b - a - length) <= _TOLERANCE_US)
        begin, finish = np.where(fits, a, begin), np.where(fits, b, finish)
    wrong = stated & (np.abs(finish - begin - length) > _TOLERANCE_US)
    # Only a whole step of a clock is a change of the clock; any other difference is time the device did not count.
    stepped = wrong & (np.abs(np.abs(finish - begin - length) - clock.HOUR) <= _TOLERANCE_US)
    finish = np.where(stepped, begin + length, finish)
    for i in np.flatnonzero(stepped):
        flags[i].add("length_decided")
    for kind in (start_kind, end_kind):
        for i in np.flatnonzero(kind != 0):
            flags[i].add("ambiguous_local_time" if kind[i] > 0 else "nonexistent_local_time")
    return begin, finish


def _micros(column: pa.ChunkedArray) -> Micros:
    return column.combine_chunks().cast(pa.int64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _offset_change(start: Micros, end: Micros, zones: Zones, local: NDArray[np.bool_]) -> Micros:
    """How far the clock a record was written by was set forward (positive) or back during it, in µs."""
    change = np.zeros(len(start), dtype=np.int64)
    for zone, rows in zones:
        change[rows] = zone.offset_at(end[rows]) - zone.offset_at(start[rows])
    return np.where(local, change, 0)


def _check(sessions: pa.Table, columns: dict[str, pa.Array], start: Micros, end: Micros, facts: ExportFacts,
           flags: list[set[str]], tally: Tally) -> NDArray[np.bool_]:  # fmt: skip
    def value(name: str) -> NDArray[np.float64]:
        return columns[name].to_numpy().astype(np.float64)  # type: ignore[no-any-return]

    member, record = sessions["member"].to_pylist(), sessions["record"].to_pylist()
    weight = pc.fill_null(sessions["records"], 1).to_pylist()
    seen = Facts(start, end, clock.to_micros(facts.arrived_at), value)
    kept = np.ones(len(sessions), dtype=bool)
    for rule in RULES:
        wrong = rule.wrong(seen) & kept
        for i in np.flatnonzero(wrong):
            flags[i].add(rule.name)
            if rule.action != "flag":
                kind: RecordKind = "sleep" if rule.action == "refuse" else "value"
                tally.refuse(kind, f"file {member[i]} record {record[i]}", rule.name,
                             f"expected {rule.expected}; {_CONSEQUENCE[rule.action]}", weight[i])  # fmt: skip
        if rule.action == "refuse":
            kept &= ~wrong
        elif rule.action == "blank" and rule.column and wrong.any():
            columns[rule.column] = pc.if_else(pa.array(wrong), None, columns[rule.column])
    return kept


_CONSEQUENCE = {"refuse": "the record is left out, the others are read",
                "blank": "the value is left out, the record is kept"}  # fmt: skip


class _Stages:
    """Stretches of all sessions of an export, in elapsed µs since each session's start."""

    def __init__(self, session: Micros, start: Micros, end: Micros, code: Micros, names: list[str]) -> None:
        self.session, self.start, self.end, self.code, self.names = session, start, end, code, names

    @staticmethod
    def of(table: pa.Table | None) -> _Stages:
        if table is None or not len(table):
            none = np.empty(0, dtype=np.int64)
            return _Stages(none, none, none, none, [])
        stage = table["stage"].combine_chunks()
        codes = stage.indices.to_numpy().astype(np.int64)
        return _Stages(table["session"].to_numpy().astype(np.int64), table["start_us"].to_numpy(),
                       table["end_us"].to_numpy(), codes, stage.dictionary.to_pylist())  # fmt: skip

    def within(self, span: Micros, offset_change: Micros, flags: list[set[str]]) -> _Stages:
        """Stretches cut to their sessions.

        A clock set forward in the night leaves a tail of `unknown` beyond the true end, which the vendor put
        there to fill the clock's hole; a clock set back leaves an hour that no stage covers.
        """
        if not len(self.session):
            return self
        limit = span[self.session]
        over = self.end > limit
        real = over & (self.code != self._code("unknown")) & (self.end - limit > _TOLERANCE_US)
        for i in np.unique(self.session[over & ~real]):
            if offset_change[i] > 0:
                flags[i].add("dst_tail_removed")
        for i in np.unique(self.session[real]):
            flags[i].add("stage_outside_session")
        covered = np.zeros(len(span), dtype=np.int64)
        np.maximum.at(covered, self.session, self.end)
        set_back = (offset_change < 0) & (covered > 0) & (span - covered >= -offset_change - _TOLERANCE_US)
        for i in np.flatnonzero(set_back):
            flags[i].add("dst_hour_unmeasured")
        inside = self.start < limit
        return self._take(inside, np.minimum(self.end, limit))

    def kept(self, sessions: NDArray[np.bool_]) -> _Stages:
        """Only the stretches of kept sessions; session numbers stay."""
        return self._take(sessions[self.session], self.end)

    def to_lake(self, ids: list[str], start: Micros, participant_id: str, source_file_id: str) -> pa.Table:
        """Rows of `sleep_stage`, by session start and stretch start."""
        at = start[self.session]
        rank = np.empty(len(start), dtype=np.int64)
        rank[np.argsort(start, kind="stable")] = np.arange(len(start))
        order = np.argsort(rank[self.session] * SPAN + self.start, kind="stable")
        n = len(order)
        session = pa.DictionaryArray.from_arrays(self.session[order], pa.array(ids, pa.string()))
        stage = pa.DictionaryArray.from_arrays(self.code[order], pa.array(self.names, pa.string()))
        return to_contract("sleep_stage", pa.table({
            "session_id": session.cast(pa.string()),
            "participant_id": pa.repeat(participant_id, n),
            "source_file_id": pa.repeat(source_file_id, n),
            "start_utc": pa.array((at + self.start)[order], pa.timestamp("us", tz="UTC")),
            "end_utc": pa.array((at + self.end)[order], pa.timestamp("us", tz="UTC")),
            "stage": stage.cast(pa.string()),
        }))  # fmt: skip

    def content(self, n: int) -> list[bytes]:
        """The stretches of each session as bytes, for hashing."""
        order = np.argsort(self.session * SPAN + self.start, kind="stable")
        rows = np.column_stack([self.start[order], self.end[order], self.code[order]])
        edges = (np.searchsorted(self.session[order], np.arange(n + 1)) * rows.itemsize * 3).tolist()
        data = np.ascontiguousarray(rows).tobytes()
        return [data[a:b] for a, b in pairwise(edges)]

    def _code(self, name: str) -> int:
        return self.names.index(name) if name in self.names else -1

    def _take(self, rows: NDArray[np.bool_], end: Micros) -> _Stages:
        return _Stages(self.session[rows], self.start[rows], end[rows], self.code[rows], self.names)


def _content_hashes(columns: dict[str, pa.Array], start: Micros, end: Micros, basis: list[str],
                    flags: list[str | None], stages: _Stages) -> list[str]:  # fmt: skip
    numbers = [columns[name].to_numpy().astype(np.float64).view(np.int64) for name in _STATED if name in _NUMBERS]
    rows = np.column_stack([start, end, *numbers]).tobytes()
    width = 8 * (2 + len(numbers))
    stated = (columns[name].to_pylist() for name in _STATED if name not in _NUMBERS)
    # Few combinations of words, many rows.
    known: dict[tuple[object, ...], bytes] = {}
    hashes = []
    for i, (words, stretches) in enumerate(
        zip(zip(basis, flags, *stated, strict=True), stages.content(len(start)), strict=True)
    ):
        text = known.get(words)
        if text is None:
            text = known[words] = repr(words).encode()
        state = blake2b(rows[i * width : (i + 1) * width], digest_size=10)
        state.update(text)
        state.update(stretches)
        hashes.append(state.hexdigest())
    return hashes
