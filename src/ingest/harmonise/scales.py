"""Decoded questionnaires into the lake's `scale_response`: owners, days, totals by the published rules, ids."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core import clock
from ingest._core.clock import DAY, to_micros
from ingest._core.contract import arrow_schema
from ingest.decode.model import ExportFacts, Tally
from ingest.harmonise._codes import Codes
from ingest.harmonise._instruments import DAILY
from ingest.harmonise._owners import owners, shares, strangers
from ingest.harmonise._scoring import Fault, Score, score
from ingest.harmonise._use_losses import row_locator
from ingest.harmonise.checks import EARLIEST_US
from ingest.harmonise.person import Person

Bools = NDArray[np.bool_]
Row = dict[str, Any]
_TABLE = "scale_response"
_OF_THE_EXPORT = ("participant_id", "source_file_id", "exported_at")
_SEPARATOR = "\x1f"
_DIGITS = 20
_FUTURE = "expected a day no later than a day after the log arrived, got a later one; correct it in the log"
_TOO_OLD = "expected a day after 1999, got an earlier one; correct it in the log"
_NO_ANSWER = ("", "no_answer", "expected an answer to an item, or a total, got none; leave the row out")
_SAID = ("answered_on", "part_of_day", "items", "total", "total_without_sleep_item", "band")


class _Losses:
    """Rows refused and values set aside; `enter` writes them to the tally in the order of the file."""

    def __init__(self, rows: Codes) -> None:
        self._rows = rows
        self._lost: dict[int, Fault] = {}
        self._values: dict[int, Sequence[Fault]] = {}

    def lose(self, where: Codes, reason: str, detail: str, columns: Sequence[str | None] | None = None) -> None:
        """Refuse the rows at these places, for what stands in their columns; the first reason is the one told."""
        for i, at in enumerate(where.tolist()):
            self._lost.setdefault(at, ((columns[i] if columns else None) or "", reason, detail))

    def score(self, at: int, found: Score) -> None:
        """Set values of one row aside, or the row where nothing is left."""
        if found.is_empty:
            self._lost.setdefault(at, found.faults[0] if found.faults else _NO_ANSWER)
        else:
            self._values[at] = found.faults

    @property
    def left(self) -> Codes:
        """Places of the rows that are not refused."""
        return np.array([at for at in range(len(self._rows)) if at not in self._lost], dtype=np.int64)

    def enter(self, tally: Tally) -> None:
        """Write everything to the tally; the values of a refused row are not told one by one."""
        for at in sorted({*self._lost, *self._values}):
            refused = at in self._lost
            for part, reason, detail in [self._lost[at]] if refused else self._values[at]:
                where = row_locator(int(self._rows[at]), part or None)
                tally.refuse("scale" if refused else "value", where, reason, detail, row=int(self._rows[at]))


def harmonise_responses(
    responses: pa.Table,
    tally: Tally,
    facts: ExportFacts,
    participants: Mapping[str, Person],
    only: str | None,
) -> dict[str, pa.Table]:
    """`scale_response` as in the lake, by participant_id, ordered by day, then as in the file.

    `responses` has decoded_response_schema(); `participants` and `only` as in harmonise_uses. Answers that the
    instrument does not know are set aside; a row of which nothing is left is quarantined. Rows without a record
    id that agree in participant, instrument, day, part of the day and clock are one response: equal ones count as
    duplicates, different ones are all kept and flagged `conflict`.
    """
    people, who = owners(responses["participant_ref"], participants, only)
    losses = _Losses(responses["source_row"].to_numpy())
    for places, reason, detail in strangers(responses["participant_ref"], who, only):
        losses.lose(places, reason, detail)
    known = losses.left
    who, responses = who[known], responses.take(pa.array(known)).combine_chunks()
    day, begins, assumed = _days(responses, who, people)
    for wrong, reason, detail in (
        (begins > to_micros(facts.arrived_at) + DAY, "in_the_future", _FUTURE),
        (begins < EARLIEST_US, "before_2000", _TOO_OLD),
    ):
        losses.lose(known[wrong], reason, detail, responses["date_column"].filter(pa.array(wrong)).to_pylist())
    flags = {"assumed_zone": assumed}
    rows = _rows(responses, day, who, people, flags)
    scores = [_score(row) for row in rows]
    for at, found in zip(known.tolist(), scores, strict=True):
        losses.score(at, found)
    left = np.isin(known, losses.left)
    losses.enter(tally)
    kept = [{**row, **_scored(row, found)} for row, found, is_left in zip(rows, scores, left, strict=True) if is_left]
    kept = _told_apart(kept, facts.source, tally)
    return _by_participant(kept, people, facts)


def _days(responses: pa.Table, who: Codes, people: Sequence[Person]) -> tuple[Codes, Codes, Bools]:
    """Day of each row, in days since 1970, and the instant at which it begins in its person's zone, in µs; whether
    the day rests on an assumed zone. A stamp in UTC gives the day of the local clock, moved as the log's day was.
    """
    day = responses["answered_day"].combine_chunks().view(pa.int32()).to_numpy(zero_copy_only=False).astype(np.int64)
    stamps = responses["answered_utc"].combine_chunks()
    in_utc = stamps.is_valid().to_numpy(zero_copy_only=False)
    utc = pc.fill_null(stamps.view(pa.int64()), 0).to_numpy(zero_copy_only=False)
    begins, assumed = np.zeros(len(day), dtype=np.int64), np.zeros(len(day), dtype=np.bool_)
    for i, person in enumerate(people):
        of, zone = np.flatnonzero(who == i), clock.zone(person.zone_name)
        moved = zone.to_local(utc[of]) // DAY - utc[of] // DAY
        day[of] += np.where(in_utc[of], moved, 0)
        begins[of] = zone.to_utc(day[of] * DAY)[0]
        assumed[of] = in_utc[of] & (person.time_basis == "assumed")
    return day, begins, assumed


def _rows(
    responses: pa.Table, day: Codes, who: Codes, people: Sequence[Person], flags: Mapping[str, Bools]
) -> list[Row]:
    """The rows as decoded, each with its participant, day and flags."""
    clocks = [responses[name].combine_chunks().view(pa.int64()) for name in ("answered_clock", "answered_utc")]
    columns = {name: responses[name].to_pylist() for name in responses.column_names}
    columns |= {"answered_clock": clocks[0].to_pylist(), "answered_utc": clocks[1].to_pylist()}
    columns["answered_on"] = pa.array(day.astype(np.int32)).view(pa.date32()).to_pylist()
    columns["who"] = who.tolist()
    columns["participant_id"] = [people[i].participant_id for i in who.tolist()]
    columns["secret"] = [people[i].secret for i in who.tolist()]
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    for at, row in enumerate(rows):
        row["flags"] = {*(row["flags"] or "").split(","), *(word for word in flags if flags[word][at])} - {""}
    return rows


def _score(row: Row) -> Score:
    return _score_of(row["instrument"], row["items"], row["total_reported"])


@lru_cache(maxsize=10_000)
def _score_of(instrument: str, items: str | None, total: float | None) -> Score:
    return score(instrument, items, total)


def _scored(row: Row, found: Score) -> Row:
    flags = set(row["flags"])
    if found.faults:
        flags.add("answer_set_aside")
    if found.total_differs:
        flags.add("total_differs")
    return {
        "items": found.items,
        "total": found.total,
        "total_without_sleep_item": found.total_without_sleep_item,
        "band": found.band,
        "flags": flags,
    }


def _told_apart(rows: list[Row], source: str, tally: Tally) -> list[Row]:
    """The rows with their ids and hashes: equal ones of one response are dropped, different ones flagged."""
    of_response: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        same = of_response[_key(row, source)]
        if any(_said(row) == _said(other) for other in same):
            tally.repeat(row["source_row"])
        else:
            same.append(row)
    kept = []
    for key, same in of_response.items():
        for number, row in enumerate(same):
            one = {**row, "flags": set(row["flags"])}
            if len(same) > 1:
                one["flags"].add("conflict")
            one["response_id"] = _hash(key if number == 0 else f"{key}{_SEPARATOR}{number}")
            one["content_hash"] = _hash(_said(one))
            one["flags"] = ",".join(sorted(one["flags"])) or None
            kept.append(one)
    return kept


def _key(row: Row, source: str) -> str:
    """What makes it this response: the participant's secret, source, instrument (of DAILY the items too), and the
    log's own record id, else the day, its part and the clock.
    """
    form = ",".join(sorted(json.loads(row["items"]))) if row["instrument"] == DAILY else ""
    if row["record_id"] is not None:
        which = ["id", row["record_id"]]
    else:
        which = ["day", *(str(row[name] or "") for name in ("answered_on", "part_of_day"))]
        which += ["" if row[name] is None else str(row[name]) for name in ("answered_clock", "answered_utc")]
    return _SEPARATOR.join([row["secret"], source, row["instrument"], form, *which])


def _said(row: Row) -> str:
    return json.dumps([*(None if row[name] is None else str(row[name]) for name in _SAID), sorted(row["flags"])])


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_DIGITS]


def _by_participant(rows: list[Row], people: Sequence[Person], facts: ExportFacts) -> dict[str, pa.Table]:
    """The rows by participant_id, each participant's ordered by day, then as in the file."""
    rows = sorted(rows, key=lambda row: (row["who"], row["answered_on"], row["source_row"]))
    own = [each for each in arrow_schema(_TABLE) if each.name not in _OF_THE_EXPORT]
    table = pa.table([pa.array([row[each.name] for row in rows], each.type) for each in own], schema=pa.schema(own))
    return shares(_TABLE, table, np.array([row["who"] for row in rows], dtype=np.int64), people, facts)
