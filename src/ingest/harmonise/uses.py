"""Decoded use logs into the lake's `substance_use`: owners, instants, substances, canonical amounts, ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import DAY, to_micros
from ingest.decode.model import ExportFacts, Tally
from ingest.harmonise._codes import Codes, Words, combinations, spread, whole, words_of
from ingest.harmonise._owners import owners, shares, strangers
from ingest.harmonise._unit_words import EXPECTED_UNITS
from ingest.harmonise._use_ids import content_hashes, use_ids
from ingest.harmonise._use_losses import Losses
from ingest.harmonise._use_times import Bools, Times, place, recall_lag
from ingest.harmonise.person import Person
from ingest.harmonise.substances import UNKNOWN_FLAG, Own, Substance, resolve
from ingest.harmonise.units import Amounts, Reports, convert

_AS_REPORTED = (
    "no_use",
    "time_precision",
    "amount_reported",
    "unit_reported",
    "product_form",
    "route",
    "reasons",
    "recall_method",
    "instrument",
    "source_row",
)


@dataclass(frozen=True)
class UseFacts:
    """Columns a check may look at: the instant of each use, or at which its day begins, in µs; the amount and
    the amount at which the registry calls it extreme (NaN where there is none).
    """

    begins: NDArray[np.int64]
    arrived_us: int
    amount: NDArray[np.float64]
    extreme: NDArray[np.float64]


@dataclass(frozen=True)
class UseCheck:
    """A rule with its bound: `refuse` quarantines the use, `flag` keeps and marks it."""

    name: str
    action: Literal["refuse", "flag"]
    wrong: Callable[[UseFacts], Bools]
    expected: str = ""


_EARLIEST_US = to_micros(datetime(2000, 1, 1))  # noqa: DTZ001
USE_CHECKS: tuple[UseCheck, ...] = (
    UseCheck(
        "in_the_future",
        "refuse",
        lambda facts: facts.begins > facts.arrived_us + DAY,
        "expected a time no later than a day after the log arrived, got a later one; correct it in the log",
    ),
    UseCheck(
        "before_2000",
        "refuse",
        lambda facts: facts.begins < _EARLIEST_US,
        "expected a time after 1999, got an earlier one; correct it in the log",
    ),
    UseCheck("extreme_amount", "flag", lambda facts: facts.amount >= facts.extreme),
)


def harmonise_uses(
    uses: pa.Table,
    tally: Tally,
    facts: ExportFacts,
    participants: Mapping[str, Person],
    only: str | None,
    own: Own = (),
) -> dict[str, pa.Table]:
    """`substance_use` as in the lake, by participant_id, ordered by local time, then as in the file.

    `uses` has decoded_use_schema(); `participants` are known by ref. `only` is the ref of the folder the log
    lay in: rows that name another are refused; where it is None every row must name its participant. `own` are
    the study's substances. What is refused goes to `tally`: a record is quarantined if none of its uses is left,
    else it loses values.
    """
    people, who = owners(uses["participant_ref"], participants, only)
    losses = Losses(uses["source_row"].to_numpy(), tally)
    for rows_of_nobody, reason, detail in strangers(uses["participant_ref"], who, only):
        losses.lose(rows_of_nobody, reason, detail)
    who, rows = who[losses.left], np.flatnonzero(losses.left)
    if not len(rows):
        losses.enter()
        return {}
    uses = uses if len(rows) == len(uses) else uses.take(pa.array(rows)).combine_chunks()
    times = place(uses, who, people)
    substances, which, known = _substances(uses, own)
    amounts = convert(_reports(uses, substances, which))
    flags = {**times.flags, **amounts.flags, UNKNOWN_FLAG: ~known}
    kept = _check(losses, rows, uses, _use_facts(times, amounts, substances, which, facts), flags)
    unknown = amounts.unknown_unit & kept
    units = _columns_of(uses, "unit_column", unknown)
    losses.lose_values(rows[unknown], "unknown_unit", _unit_details(uses, unknown), units)
    losses.enter()
    lag, early = recall_lag(uses, times)
    flags["reported_before_use"] = early
    columns = _columns(uses, times, substances, which, amounts)
    columns |= {"recall_lag_days": lag, "flags": _flags(uses, flags)}
    codes = Words([substance.code for substance in substances], which)
    columns["use_id"] = use_ids(uses, Words([person.secret for person in people], who), facts.source, codes)
    columns["content_hash"] = content_hashes(uses, codes)
    table = pa.table(columns)
    order = _order(times.local, who, kept)
    if order is not None:
        table, who = table.take(pa.array(order)), who[order]
    return shares("substance_use", table, who, people, facts)


def _order(local: Codes, who: Codes, kept: Bools) -> Codes | None:
    """The kept uses by person, then by local time; None where that is all of them as they stand."""
    earlier = np.flatnonzero(local[1:] < local[:-1])
    if kept.all() and (who[1:] >= who[:-1]).all() and (who[earlier + 1] > who[earlier]).all():
        return None
    order = np.lexsort((local, who))
    return order[kept[order]]


def _substances(uses: pa.Table, own: Own) -> tuple[list[Substance], Codes, Bools]:
    """The substances there are, the number of each use's, and whether the registry knows its name."""
    names = words_of(uses["substance_reported"])
    found = [resolve(name, own) for name in names.values]
    substances = list({substance.code: substance for substance, _ in found}.values())
    places = {substance.code: i for i, substance in enumerate(substances)}
    which = np.array([places[substance.code] for substance, _ in found], dtype=np.int64)[names.codes]
    return substances, which, np.array([known for _, known in found], dtype=np.bool_)[names.codes]


def _reports(uses: pa.Table, substances: Sequence[Substance], which: Codes) -> Reports:
    def words(name: str) -> pa.Array:
        return whole(uses[name])

    def numbers(name: str) -> NDArray[np.float64]:
        values: NDArray[np.float64] = pc.fill_null(words(name), np.nan).to_numpy(zero_copy_only=False)
        return values

    return Reports(
        substances=substances,
        substance=which,
        no_use=words("no_use").to_numpy(zero_copy_only=False),
        amount=numbers("amount_reported"),
        unit=words("unit_reported"),
        product_form=words("product_form"),
        route=words("route"),
        reasons=words("reasons"),
        mitragynine_mg=numbers("mitragynine_mg"),
        mitragynine_pct=numbers("mitragynine_pct"),
    )


def _use_facts(
    times: Times, amounts: Amounts, substances: Sequence[Substance], which: Codes, facts: ExportFacts
) -> UseFacts:
    bounds = [np.nan if each.extreme_per_use is None else each.extreme_per_use for each in substances]
    amount = pc.fill_null(amounts.amount, np.nan).to_numpy(zero_copy_only=False)
    return UseFacts(times.begins, to_micros(facts.arrived_at), amount, np.array(bounds)[which])


def _check(losses: Losses, rows: Codes, uses: pa.Table, facts: UseFacts, flags: dict[str, Bools]) -> Bools:
    """Apply USE_CHECKS; which uses are kept."""
    kept = np.ones(len(rows), dtype=np.bool_)
    for check in USE_CHECKS:
        wrong = check.wrong(facts)
        if check.action == "flag":
            flags[check.name] = wrong
        else:
            losses.lose(rows[wrong], check.name, check.expected, _columns_of(uses, "date_column", wrong))
            kept &= ~wrong
    return kept


def _columns_of(uses: pa.Table, name: str, where: Bools) -> list[str | None]:
    """The columns of the log in which the dates or units of these uses stand; None where that is not said."""
    columns: list[str | None] = uses[name].filter(pa.array(where)).to_pylist()
    return columns


def _unit_details(uses: pa.Table, unknown: Bools) -> Callable[[int], str]:
    words = uses["unit_reported"].filter(pa.array(unknown)).to_pylist()

    def detail(i: int) -> str:
        word = words[i]
        got = "none" if word is None else f"a word of {len(word)} characters"
        return (
            f"expected a unit like {EXPECTED_UNITS}, got {got}; the use is kept without amount: correct the "
            "unit in the log, or name it under `units` of the log's mapping in study.yaml"
        )

    return detail


def _columns(
    uses: pa.Table, times: Times, substances: Sequence[Substance], which: Codes, amounts: Amounts
) -> dict[str, pa.Array]:
    untimed = ~times.timed
    return {
        **{name: whole(uses[name]) for name in _AS_REPORTED},
        "has_record_id": whole(uses["record_id"]).is_valid(),
        "substance": spread([each.code for each in substances], which),
        "substance_class": spread([each.substance_class for each in substances], which),
        "unit": spread([each.unit for each in substances], which),
        "taken_utc": pa.array(times.utc, mask=untimed).view(pa.timestamp("us", tz="UTC")),
        "taken_local": pa.array(times.local, mask=untimed).view(pa.timestamp("us")),
        "local_date": pa.array(times.date.astype(np.int32)).view(pa.date32()),
        "amount": amounts.amount,
        "amount_basis": amounts.amount_basis,
        "mitragynine_mg": amounts.mitragynine_mg,
        "mme_mg": amounts.mme_mg,
    }


def _flags(uses: pa.Table, flags: Mapping[str, Bools]) -> pa.Array:
    """The decoder's flags, the part of the day and the words whose mask is set: sorted, joined by commas."""
    before, parts = words_of(uses["flags"]), words_of(uses["part_of_day"])
    words = sorted(word for word, mask in flags.items() if mask.any())
    masks = [(flags[word].astype(np.int8), 2) for word in words]
    examples, codes = combinations((before.codes, len(before.values)), (parts.codes, len(parts.values)), *masks)
    texts = []
    for at in examples.tolist():
        part = parts.values[parts.codes[at]]
        stated = {*(before.values[before.codes[at]] or "").split(","), f"part:{part}" if part else ""}
        texts.append(",".join(sorted((stated | {w for w in words if flags[w][at]}) - {""})) or None)
    return spread(texts, codes)
