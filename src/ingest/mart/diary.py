"""The table `night_diary`: the diary's nights in the reference standard's own measures, beside the device's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import MINUTE, Micros, day_number, zone
from ingest._core.contract import to_contract
from ingest.mart._log import Codes, Mask, numbers
from ingest.mart.person import PersonSettings

Floats = NDArray[np.float64]
_NEWEST = [("participant_id", "ascending"), ("night_date", "ascending"), ("exported_at", "ascending"),
           ("source_file_id", "ascending"), ("diary_id", "ascending")]  # fmt: skip
_CLOCKS = ("into_bed", "try_to_sleep", "final_wake", "out_of_bed", "intended_wake")


@dataclass(frozen=True)
class _Nights:
    """Current rows of sleep_diary by participant, night and age; `night` numbers each row's night, `counts` is the
    row of each night that counts, `rivals` marks the rows of one diary that contradict it.
    """

    rows: pa.Table
    night: Codes
    counts: Codes
    rivals: Mask

    def told(self, values: Floats) -> Floats:
        """The value of each night, of one per row; NaN where it is not known or the diary contradicts itself."""
        chosen = values[self.counts]
        of_chosen = chosen[self.night]
        differs = (values != of_chosen) & ~(np.isnan(values) & np.isnan(of_chosen))
        chosen[self.night[self.rivals & differs]] = np.nan
        return chosen

    def instants(self, name: str, people: Mapping[str, PersonSettings]) -> Floats:
        """A local clock of every row as microseconds since 1970 in its participant's zone, NaN where there is none."""
        column = self.rows[f"{name}_local"]
        local, utc = numbers(column), np.zeros(len(column))
        owners = self.rows["participant_id"].combine_chunks().dictionary_encode()
        codes = owners.indices.to_numpy()
        for code, participant_id in enumerate(owners.dictionary.to_pylist()):
            here = codes == code
            utc[here] = zone(people[participant_id].zone_name).to_utc(local[here])[0]
        return np.where(column.is_valid().to_numpy(), utc, np.nan)


def in_study(diaries: pa.Table, people: Mapping[str, PersonSettings], from_enrolment: bool) -> pa.Table:
    """The rows of sleep_diary whose night lies before the participant's withdrawal and, with `from_enrolment`, not
    before enrolment.
    """
    kept = np.zeros(len(diaries), dtype=bool)
    day = numbers(diaries["night_date"])
    for person in people.values():
        own = pc.equal(diaries["participant_id"], person.participant_id).to_numpy(zero_copy_only=False).astype(bool)
        if from_enrolment and person.enrolled_on is not None:
            own &= day >= day_number(person.enrolled_on)
        if person.withdrew_on is not None:
            own &= day < day_number(person.withdrew_on)
        kept |= own
    return diaries.filter(pa.array(kept))


def night_diary(diaries: pa.Table, people: Mapping[str, PersonSettings]) -> pa.Table:
    """Rows of schema night_diary, sorted by its key.

    `diaries` holds the current rows of sleep_diary; of several that speak of one night the newest counts. Where it
    is flagged `conflict`, what the other rows of that night and diary say otherwise is NULL.
    Definitions: Consensus Sleep Diary (Carney 2012), SE_dse by Reed & Sacco 2016, with lengths between instants,
    so that the hour of a clock change is counted. A measure is NULL where one of its parts is not reported, or
    where they contradict each other (a TST below 0).
    """
    nights = _nights(diaries, people)
    rows = nights.rows
    at = {name: nights.instants(name, people) for name in _CLOCKS}
    sol, waso, awakenings, quality = (_number(rows[n]) for n in ("sol_min", "waso_min", "awakenings", "quality"))
    tib = _positive((at["out_of_bed"] - at["into_bed"]) / MINUTE)
    tst = _positive((at["final_wake"] - at["try_to_sleep"]) / MINUTE - sol - waso)
    measures = {
        "tib_min": tib,
        "tst_min": tst,
        "sol_min": sol,
        "waso_min": waso,
        "se_tib_pct": _share(tst, tib),
        # The time of trying to sleep on after the final awakening is not asked for, and taken as 0.
        "se_dse_pct": _share(tst, sol + tst + waso),
        "awakenings": awakenings,
        "early_wake_min": np.maximum((at["intended_wake"] - at["final_wake"]) / MINUTE, 0),
        "quality": quality,
    }
    found = {name: _column(nights.told(values)) for name, values in measures.items()}
    found["awakenings"] = found["awakenings"].cast(pa.int64())
    keys = rows.select(["participant_id", "night_date"]).take(pa.array(nights.counts))
    return to_contract("night_diary", pa.table({**{name: keys[name] for name in keys.column_names}, **found}))


def tried_to_sleep(diaries: pa.Table, people: Mapping[str, PersonSettings]) -> dict[str, tuple[Codes, Micros]]:
    """By participant: the nights of which the diary says when sleep was tried, in days since 1970 and sorted, and
    those instants in microseconds. Rows count as in night_diary.
    """
    nights = _nights(diaries, people)
    tried = nights.told(nights.instants("try_to_sleep", people))
    keys = nights.rows.take(pa.array(nights.counts))
    owners = keys["participant_id"].combine_chunks().dictionary_encode()
    codes, days = owners.indices.to_numpy(), numbers(keys["night_date"])
    found = {}
    for code, participant_id in enumerate(owners.dictionary.to_pylist()):
        here = (codes == code) & ~np.isnan(tried)
        found[participant_id] = days[here], tried[here].astype(np.int64)
    return found


def _nights(diaries: pa.Table, people: Mapping[str, PersonSettings]) -> _Nights:
    wanted = pc.is_in(diaries["participant_id"], value_set=pa.array(sorted(people), pa.string()))
    rows = diaries.filter(wanted).sort_by(_NEWEST)
    keys = pc.binary_join_element_wise(rows["participant_id"], pc.cast(rows["night_date"], pa.string()), "/")
    night = keys.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    counts = np.flatnonzero(np.append(night[1:] != night[:-1], True)[: len(night)])
    diary = rows["instrument"].combine_chunks().dictionary_encode().indices.to_numpy()
    contested = pc.match_substring_regex(pc.fill_null(rows["flags"], ""), r"(^|,)conflict(,|$)").to_numpy()
    rivals = (diary == diary[counts][night]) & contested[counts][night].astype(bool)
    return _Nights(rows, night, counts, rivals)


def _number(column: pa.ChunkedArray) -> Floats:
    values: Floats = np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(), dtype=np.float64)
    return values


def _column(values: Floats) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _positive(minutes: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.where(minutes >= 0, minutes, np.nan)


def _share(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 100 * part / whole
        return np.where((whole > 0) & (share <= 100), share, np.nan)
