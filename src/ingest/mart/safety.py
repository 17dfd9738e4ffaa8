"""The table `safety_signal` (decided rule 17): what the study's rules find in uses and answers, and who saw it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.acknowledgements import Acknowledged, Acknowledgement
from ingest._core.clock import DAY, HOUR, Micros, Zone, day_number, zone
from ingest._core.contract import arrow_schema
from ingest._core.settings import AbruptStop, Safety, SafetyItem, Settings
from ingest.mart._log import PARTS, UNTIMED, Log, LogTable, Mask, numbers
from ingest.mart.person import PersonSettings
from ingest.mart.record_versions import current_records

RULES = ("extreme_dose", "return_to_use", "combined_use", "severe_withdrawal", "safety_item", "abrupt_stop")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXTREME = r"(^|,)extreme_amount(,|$)"


@dataclass(frozen=True)
class Signal:
    """One finding: at which instant (µs) and on which day (days since 1970), about what (sorted words joined by
    commas), and when the last export that it needs arrived (µs).
    """

    rule: str
    at: int
    day: int
    about: str
    seen: int


@dataclass(frozen=True)
class Day:
    """What was reported of one substance for one exposure day: the first instant, the first arrival of a report
    of the kind that counts, and the amount in micro-units, None where one of the uses has none.
    """

    used: bool
    at: int
    seen: int
    amount: int | None


@dataclass(frozen=True)
class Uses:
    """One participant's uses, one element per row of `log`; `names` and `classes` by the log's substance codes."""

    log: Log
    names: Sequence[str]
    classes: Mapping[int, str]
    at: Micros
    seen: Micros
    extreme: Mask
    mme_mg: NDArray[np.float64]

    def of_class(self, wanted: Iterable[str]) -> list[int]:
        """Codes of the substances of these classes."""
        return [code for code in sorted(self.classes) if self.classes[code] in set(wanted)]

    def days(self, substance: int) -> dict[int, Day]:
        """Days with a report, in order. One with a use and a stated no counts as a day of use."""
        log = self.log
        rows = np.flatnonzero((log.substance == substance) & ~log.restated & ~log.partial)
        rows = rows[np.lexsort((self.seen[rows], self.at[rows], log.no_use[rows], log.day[rows]))]
        _, first, place = np.unique(log.day[rows], return_index=True, return_inverse=True)
        rows = rows[log.no_use[rows] == log.no_use[rows[first]][place]]
        if len(rows) == 0:
            return {}
        days, first = np.unique(log.day[rows], return_index=True)
        known, amount = np.logical_and.reduceat(log.known[rows], first), np.add.reduceat(log.amount[rows], first)
        cells = zip(
            days.tolist(),
            (~log.no_use[rows[first]]).tolist(),
            self.at[rows[first]].tolist(),
            np.minimum.reduceat(self.seen[rows], first).tolist(),
            [each if sure else None for each, sure in zip(amount.tolist(), known.tolist(), strict=True)],
            strict=True,
        )
        return {day: Day(*cell) for day, *cell in cells}


def safety_signals(
    lake: Mapping[str, pa.Table],
    uses: pa.Table,
    source_files: pa.Table,
    people: Mapping[str, PersonSettings],
    settings: Settings,
    acknowledged: Acknowledged,
) -> pa.Table:
    """Rows of schema safety_signal, sorted by its key; none where the study says `safety: none`.

    `lake` holds substance_use and scale_response with all versions, `uses` those reports of use that count, with
    what day_answers says in their flags; they are looked at from enrolment on where the study drops history, and
    before a withdrawal. Findings of one rule at one instant are one row. An
    acknowledgement closes the signal of its participant, rule and instant as long as it is about nothing else.
    """
    if settings.safety is None:
        return arrow_schema("safety_signal").empty_table()
    uses_seen = _first_arrivals(uses, lake["substance_use"], "use_id", source_files)
    answers = current_records("response_version", lake["scale_response"])
    answers_seen = _first_arrivals(answers, lake["scale_response"], "response_id", source_files)
    rows: list[dict[str, object]] = []
    for participant_id in sorted(people):
        person = people[participant_id]
        home, start_hour = zone(person.zone_name), settings.exposure.day_start_hour
        mine = pc.equal(uses["participant_id"], participant_id)
        own = _uses(uses.filter(mine), uses_seen[mine.to_numpy()], home, participant_id, start_hour)
        mine = pc.equal(answers["participant_id"], participant_id)
        found = [
            *_of_uses(own, settings.safety, home, start_hour),
            *_of_answers(answers.filter(mine), answers_seen[mine.to_numpy()], settings.safety, home, start_hour),
        ]
        kept = (each for each in found if _in_study(each.day, person, settings.history == "drop"))
        given = acknowledged.get(participant_id, ())
        rows += [_row(participant_id, signal, given) for signal in _merged(kept)]
    return pa.Table.from_pylist(rows, schema=arrow_schema("safety_signal"))


def _first_arrivals(current: pa.Table, rows: pa.Table, key: str, source_files: pa.Table) -> Micros:
    """For each current row the arrival (µs) of the first export that held it with the same content."""
    at = pc.index_in(rows["source_file_id"], value_set=source_files["source_file_id"].combine_chunks())
    arrived = source_files["arrived_at"].take(at)
    first = (
        rows.select([key, "content_hash"]).append_column("arrived", arrived)
        .group_by([key, "content_hash"], use_threads=False).aggregate([("arrived", "min")])
    )  # fmt: skip
    place = pc.index_in(_joined(current, key), value_set=_joined(first, key).combine_chunks())
    return numbers(first["arrived_min"].take(place))


def _joined(table: pa.Table, key: str) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table[key], table["content_hash"], "/")


def _uses(own: pa.Table, seen: Micros, home: Zone, participant_id: str, start_hour: int) -> Uses:
    table = LogTable(own)
    log = table.of(participant_id, home, start_hour)
    classes = {code: table.classes.names[log.substance_class[log.substance == code].min()]
               for code in np.unique(log.substance).tolist()}  # fmt: skip
    flagged = pc.match_substring_regex(pc.fill_null(own["flags"], ""), _EXTREME)
    return Uses(
        log, table.substances.names, classes, np.where(log.precision < UNTIMED, log.at, log.start), seen,
        flagged.to_numpy().astype(bool), pc.fill_null(own["mme_mg"], np.nan).to_numpy().astype(np.float64),
    )  # fmt: skip


def _of_uses(uses: Uses, rules: Safety, home: Zone, start_hour: int) -> Iterator[Signal]:
    for row in np.flatnonzero(~uses.log.no_use & (uses.extreme | (uses.mme_mg >= rules.extreme_mme_per_use))):
        about = uses.names[uses.log.substance[row]]
        yield Signal("extreme_dose", int(uses.at[row]), int(uses.log.day[row]), about, int(uses.seen[row]))
    days = {code: uses.days(code) for code in sorted(uses.classes)}
    for code in uses.of_class(rules.return_classes):
        yield from _returns(days[code], uses.names[code], rules.return_after_days)
    yield from _combined(uses, days, rules, home, start_hour)
    for code in uses.of_class(rules.abrupt_stop.classes):
        yield from _stops(days[code], uses.names[code], rules.abrupt_stop, home, start_hour)


def _returns(days: Mapping[int, Day], about: str, after: int) -> Iterator[Signal]:
    """The first use after `after` reported dose-free days without a use among them; silence counts for neither."""
    free: list[int] = []
    for number, day in days.items():
        if not day.used:
            free.append(day.seen)
            continue
        if len(free) >= after:
            yield Signal("return_to_use", day.at, number, about, max(day.seen, sorted(free)[after - 1]))
        free = []


def _combined(
    uses: Uses, days: Mapping[int, Mapping[int, Day]], rules: Safety, home: Zone, start_hour: int
) -> Iterator[Signal]:
    """Days with a use of both kinds; the signal is dated at the day's beginning, whatever else comes in of it."""
    ones, others = uses.of_class(rules.combined_classes), uses.of_class(rules.with_classes)
    for number in sorted({number for of in days.values() for number in of}):
        first, second = ([code for code in codes if number in days[code] and days[code][number].used]
                         for codes in (ones, others))  # fmt: skip
        if first and second and len({*first, *second}) > 1:
            seen = max(min(days[code][number].seen for code in codes) for codes in (first, second))
            about = ",".join(sorted({uses.names[code] for code in (*first, *second)}))
            yield Signal("combined_use", _begin(number, start_hour, home), number, about, seen)


def _stops(days: Mapping[int, Day], about: str, rule: AbruptStop, home: Zone, start_hour: int) -> Iterator[Signal]:
    """Stops right after a day of use, by the settings' definition; dated at the first dose-free day."""
    order = list(days)
    for i in range(1, len(order)):
        free = [days.get(order[i] + k) for k in range(rule.dose_free_days)]
        before = [days[each] for each in order[max(0, i - rule.of_days) : i]]
        used = [day for day in before if day.used]
        if (
            before[-1].used
            and order[i] == order[i - 1] + 1
            and len(used) >= rule.used_days
            and all(day is not None and not day.used for day in free)
            and not _tapered(used, rule.taper_share)
        ):
            needed = [day.seen for day in free if day is not None]
            seen = max(*needed, sorted(day.seen for day in used)[rule.used_days - 1], before[-1].seen)
            yield Signal("abrupt_stop", _begin(order[i], start_hour, home), order[i], about, seen)


def _tapered(used: Sequence[Day], share: float) -> bool:
    """True if the last day's amount is known to be below its share of the median day; unknown is no taper."""
    amounts = [day.amount for day in used if day.amount is not None]
    last = used[-1].amount
    return last is not None and last < share * median(amounts)


def _of_answers(answers: pa.Table, seen: Micros, rules: Safety, home: Zone, start_hour: int) -> Iterator[Signal]:
    wanted = {"COWS", *(item.instrument for item in rules.items)}
    asked = pc.is_in(answers["instrument"], value_set=pa.array(sorted(wanted)))
    columns = ["instrument", "answered_on", "part_of_day", "items", "total"]
    rows = answers.filter(asked).select(columns).to_pylist()
    for row, arrived in zip(rows, seen[asked.to_numpy()].tolist(), strict=True):
        said = {name: value for name, value in json.loads(row["items"] or "{}").items() if value is not None}
        # A total with a missing item is not known, but what was answered may exceed the bound by itself.
        total = row["total"] if row["total"] is not None else sum(said.values())
        day = day_number(row["answered_on"])
        hour = max(PARTS[row["part_of_day"]][0], start_hour) if row["part_of_day"] else start_hour
        at = _begin(day, hour, home)
        if row["instrument"] == "COWS" and total > rules.cows_over:
            yield Signal("severe_withdrawal", at, day, "COWS", arrived)
        for item in _exceeded(rules.items, row["instrument"], said):
            yield Signal("safety_item", at, day, f"{item.instrument} {item.item}", arrived)


def _exceeded(items: Sequence[SafetyItem], instrument: str, said: Mapping[str, float]) -> list[SafetyItem]:
    return [item for item in items
            if item.instrument == instrument and item.item in said and said[item.item] >= item.at_least]  # fmt: skip


def _begin(day: int, hour: int, home: Zone) -> int:
    """The instant at which a local hour of a day begins."""
    return int(home.to_utc(np.array([day * DAY + hour * HOUR]))[0][0])


def _in_study(day: int, person: PersonSettings, from_enrolment: bool) -> bool:
    early = from_enrolment and person.enrolled_on is not None and day < day_number(person.enrolled_on)
    return not early and (person.withdrew_on is None or day < day_number(person.withdrew_on))


def _merged(found: Iterable[Signal]) -> list[Signal]:
    """One signal for each rule and instant, in the order of the key: about all of it, seen when the first was."""
    merged: dict[tuple[str, int], Signal] = {}
    for each in found:
        key = (each.rule, each.at)
        other = merged.get(key, each)
        about = ",".join(sorted({*each.about.split(","), *other.about.split(",")}))
        merged[key] = Signal(*key, min(each.day, other.day), about, min(each.seen, other.seen))
    return [merged[key] for key in sorted(merged)]


def _row(participant_id: str, signal: Signal, given: Sequence[Acknowledgement]) -> dict[str, object]:
    observed_at = EPOCH + timedelta(microseconds=signal.at)
    closed = next((each for each in given if closes(each, signal.rule, observed_at, signal.about)), None)
    return {
        "participant_id": participant_id,
        "rule": signal.rule,
        "observed_at": observed_at,
        "observed_on": EPOCH.date() + timedelta(days=signal.day),
        "about": signal.about,
        "first_seen_at": EPOCH + timedelta(microseconds=signal.seen),
        "acknowledged_at": None if closed is None else closed.acknowledged_at,
        "acknowledged_by": None if closed is None else closed.acknowledged_by,
    }


def closes(given: Acknowledgement, rule: str, observed_at: datetime, about: str) -> bool:
    """True if the acknowledgement is of this signal, and was of all it is about."""
    same = given.rule == rule and given.observed_at == observed_at
    return same and {*about.split(",")} <= {*given.about.split(",")}
