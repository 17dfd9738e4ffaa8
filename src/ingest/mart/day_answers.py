"""Several reports of what was taken on one day: which of them count, and where they contradict each other.

A statement is all that one export of one instrument says of a substance and an exposure day. Whatever stands in it
adds up: the items of one form, the uses of one log. Where it holds a use with a time it is a list of doses, else it
is an answer for the day (decided rule 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import zone
from ingest._core.contract import to_contract
from ingest._core.settings import Exposure
from ingest.mart._log import PRECISIONS, Codes, Log, LogTable, Mask
from ingest.mart.person import PersonSettings

WORDS = ("counted", "repeats", "total_of_doses", "conflict")
_COUNTED, _REPEATS, _TOTAL, _CONFLICT = range(len(WORDS))
_NO_WORD = -1
_FLAGS = {_REPEATS: "restated", _TOTAL: "restated", _CONFLICT: "conflict"}
"""What the exposure mart reads in a report's flags: such a report is left out, or makes its day a conflict."""
_DAY = PRECISIONS.index("day")
_SAYS = ("use_id", "content_hash", "source_file_id")
_DOSES, _NO_UNIT = -1, -1


@dataclass(frozen=True)
class Report:
    """One version of a report: `says` tells versions apart, `amount` is in micro-units, None where it is not known.

    `place` is its number among the reports that count, -1 for a version that another one has replaced.
    """

    says: tuple[int, int]
    place: int
    is_dose: bool
    no_use: bool
    unit: int
    amount: int | None


@dataclass(frozen=True)
class Statement:
    """The reports of one export of one instrument on one day; statements are compared in the order of `age`."""

    instrument: str
    age: tuple[int, str]
    reports: tuple[Report, ...]

    @property
    def is_list(self) -> bool:
        """True if it holds a use with a time."""
        return any(each.is_dose and not each.no_use for each in self.reports)

    @property
    def denies(self) -> bool:
        """True if all it says is that nothing was taken."""
        return all(each.no_use for each in self.reports)

    def within(self, other: Statement) -> bool:
        """True if the other one, of the same instrument, says all of this and perhaps more."""
        return self.instrument == other.instrument and (
            {each.says for each in self.reports} <= {each.says for each in other.reports}
        )


@dataclass(frozen=True)
class Total:
    """What was taken in one unit: the sum of the known amounts, and whether each amount is known."""

    amount: int
    whole: bool

    def contradicts(self, other: Total) -> bool:
        """True if both cannot be right; where amounts are missing, the true total may be any larger one."""
        if self.whole and other.whole:
            return self.amount != other.amount
        return (self.whole and other.amount > self.amount) or (other.whole and self.amount > other.amount)


def with_day_answers(
    versions: pa.Table, uses: pa.Table, every: pa.Table, people: Mapping[str, PersonSettings], settings: Exposure
) -> tuple[pa.Table, pa.Table]:
    """`versions` (schema use_version) with `day_answer` filled, and `uses` with what follows from it in their flags.

    `uses` holds the current rows of substance_use, `every` those of all exports. Of statements that say the same of a
    day the first by export time counts; statements that differ are a conflict, and so are a use and a stated no. A
    total equal to the sum of the doses that are reported with their times is not counted beside them. A statement
    without amount only says that something was taken; statements in different units add up. A statement that a later
    export of the same instrument holds whole is part of that one. Reports without an id of their own contradict an
    earlier report of the same day instead of replacing it. A no about a part of the day is no statement about the day.
    """
    word = np.full(len(uses), _NO_WORD, dtype=np.int64)
    for participant_id in sorted(people):
        _settle_one(word, uses, every, people[participant_id], settings)
    texts = pa.array([*WORDS, None]).take(pa.array(np.where(word < 0, len(WORDS), word)))
    at = pc.index_in(versions["use_id"], value_set=uses["use_id"].combine_chunks())
    answer = pc.if_else(versions["is_current"], texts.take(at.combine_chunks()), pa.scalar(None, pa.string()))
    place = versions.schema.get_field_index("day_answer")
    return to_contract("use_version", versions.set_column(place, "day_answer", answer)), _flagged(uses, word)


def _settle_one(word: Codes, uses: pa.Table, every: pa.Table, person: PersonSettings, settings: Exposure) -> None:
    mine = np.flatnonzero(pc.equal(uses["participant_id"], person.participant_id).to_numpy(zero_copy_only=False))
    own = every.filter(pc.equal(every["participant_id"], person.participant_id))
    home = zone(person.zone_name)
    current = uses.take(pa.array(mine))
    log = LogTable(current).of(person.participant_id, home, settings.day_start_hour)
    day = np.flatnonzero((log.precision == _DAY) & ~log.partial)
    word[mine[day]] = np.where(log.restated[day], _REPEATS, _COUNTED)
    word[mine[day[_in_conflict(log)[day]]]] = _CONFLICT
    if not len(day) or not _several(own):
        return
    whole = LogTable(own).of(person.participant_id, home, settings.day_start_hour)
    for statements in _days(own, whole, current):
        for place, said in _settled(statements):
            if log.precision[place] == _DAY and word[mine[place]] != _CONFLICT:
                word[mine[place]] = said


def _in_conflict(log: Log) -> Mask:
    """Reports of a day of which one use is flagged `conflict`, or that holds both a use and a stated no."""
    _, key = np.unique(np.stack([log.substance, log.day]), axis=1, return_inverse=True)
    key = key.ravel()
    used, denied, contested = (
        np.bincount(key, weights=mask, minlength=1) > 0 for mask in (~log.no_use, log.denies, log.contested)
    )
    found: Mask = ((used & denied) | contested)[key]
    return found


def _several(own: pa.Table) -> bool:
    """True if the person's reports come from more than one export or instrument."""
    return any(len(pc.unique(own[name])) > 1 for name in ("source_file_id", "instrument"))


def _days(own: pa.Table, log: Log, current: pa.Table) -> Iterator[list[Statement]]:
    """The statements of each substance and day of which more than one export or instrument says something, and one
    of them knows the day only.
    """
    place = _place(own, current)
    answers = (log.precision == _DAY) & ~own["has_record_id"].to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(~log.restated & ~log.partial & ((place >= 0) | answers))
    use, content, export = (_numbers(own[name]) for name in _SAYS)
    names = own["instrument"].to_pylist()
    key = np.stack([log.substance, log.day, _numbers(own["instrument"]), export])
    rows = rows[np.lexsort(key[::-1, rows])]
    ages = list(zip(own["exported_at"].cast(pa.int64()).to_pylist(), own["source_file_id"].to_pylist(), strict=True))

    def report(i: int) -> Report:
        amount = int(log.amount[i]) if log.known[i] else None
        is_dose = bool(log.precision[i] != _DAY)
        return Report(
            (int(use[i]), int(content[i])), int(place[i]), is_dose, bool(log.no_use[i]), int(log.unit[i]), amount
        )

    for of_day in _runs(rows, key[:2]):
        parts = _runs(of_day, key[2:])
        if len(parts) > 1 and (log.precision[of_day] == _DAY).any():
            yield [Statement(names[part[0]], ages[part[0]], tuple(map(report, part))) for part in parts]


def _place(own: pa.Table, current: pa.Table) -> Codes:
    """The place among `current` of the report each row of `own` is a copy of; -1 for versions that do not count."""
    at = pc.index_in(own["use_id"], value_set=current["use_id"].combine_chunks()).combine_chunks()
    same = pc.equal(current["content_hash"].take(at), own["content_hash"]).to_numpy().astype(bool)
    return np.where(same, at.to_numpy().astype(np.int64), -1)


def _numbers(column: pa.ChunkedArray) -> Codes:
    codes: Codes = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _runs(rows: Codes, key: NDArray[np.int64]) -> list[Codes]:
    """`rows` cut where a part of the key changes; they are sorted by it."""
    changes = (key[:, rows[1:]] != key[:, rows[:-1]]).any(axis=0)
    return np.split(rows, np.flatnonzero(changes) + 1) if len(rows) else []


def _settled(statements: Sequence[Statement]) -> Iterator[tuple[int, int]]:
    """Places of the reports that count as versions, each with an index into WORDS."""
    told = _without_copies(statements)
    doses, answers = [each for each in told if each.is_list], [each for each in told if not each.is_list]
    timed = _totals(doses)
    totals = [timed, *(_totals([each]) for each in answers)]
    denied = [each.denies for each in told]
    if (any(denied) and not all(denied)) or _contradict(totals):
        yield from ((each.place, _CONFLICT) for one in statements for each in one.reports if each.place >= 0)
        return
    counts = _which_count(answers, timed)
    for number, answer in enumerate(answers):
        for each in answer.reports:
            counted = number == (0 if each.no_use else counts[each.unit])
            repeats = _REPEATS if each.amount is None or each.unit not in timed else _TOTAL
            if each.place >= 0:
                yield each.place, _COUNTED if counted else repeats


def _without_copies(statements: Sequence[Statement]) -> list[Statement]:
    """Those that no other one holds; of equal ones the first, in order of age."""
    kept: list[Statement] = []
    for each in sorted(statements, key=lambda one: (-len({r.says for r in one.reports}), one.age, one.instrument)):
        if not any(each.within(other) for other in kept):
            kept.append(each)
    return sorted(kept, key=lambda one: (one.age, one.instrument))


def _totals(statements: Iterable[Statement]) -> dict[int, Total]:
    """What the uses of all of them come to, by unit."""
    found: dict[int, Total] = {}
    for each in (report for one in statements for report in one.reports if not report.no_use):
        before = found.get(each.unit, Total(0, True))
        found[each.unit] = Total(before.amount + (each.amount or 0), before.whole and each.amount is not None)
    return found


def _contradict(totals: Sequence[Mapping[int, Total]]) -> bool:
    units = {unit for each in totals for unit in each}
    return any(
        one.contradicts(other)
        for unit in units
        for held in [[each[unit] for each in totals if unit in each]]
        for one, other in combinations(held, 2)
    )


def _which_count(answers: Sequence[Statement], timed: Mapping[int, Total]) -> dict[int, int]:
    """The number of the answer that counts in each unit, -1 where doses do.

    The one whose amounts are all known comes first, then the one that knows more, then the oldest.
    """
    ranked = sorted(
        (not total.whole, -total.amount, number, unit)
        for number, each in enumerate(answers)
        for unit, total in _totals([each]).items()
    )
    found = dict.fromkeys(timed, _DOSES)
    for _, _, number, unit in ranked:
        found.setdefault(unit, number)
    if len(found) > 1 and _NO_UNIT in found:
        # Whatever has no unit has no amount, and says no more than the others.
        found[_NO_UNIT] = _DOSES
    return found


def _flagged(uses: pa.Table, word: Codes) -> pa.Table:
    flags = uses["flags"].to_pylist()
    for at in np.flatnonzero(np.isin(word, list(_FLAGS))).tolist():
        stated = set((flags[at] or "").split(",")) - {""}
        flags[at] = ",".join(sorted(stated | {_FLAGS[int(word[at])]}))
    return uses.set_column(uses.schema.get_field_index("flags"), "flags", pa.array(flags, pa.string()))
