"""What a participant's page says in words: signals, key figures, the dose-band table, what goes with what, quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ingest._core.settings import Safety
from ingest.report.pages.page import Figures, Notice, Table
from ingest.report.pages.person_charts import unmeasured
from ingest.report.pages.person_data import last_dose
from ingest.report.pages.person_rows import Person, Row

SHOWN_SIGNALS = 5
RULES = {
    "abrupt_stop": "Abrupt stop",
    "extreme_dose": "Extreme dose",
    "return_to_use": "Return to use after dose-free days",
    "combined_use": "Combined use on one day",
    "severe_withdrawal": "Severe withdrawal",
    "safety_item": "Safety item answered",
}
"""In the order in which a reader should see them."""
WHY_NOT = {
    "coupled": "the exposure is bound to the outcome by arithmetic",
    "few_pairs": "too few nights have both a logged day and the measure",
    "few_per_parameter": "too few nights for what has to be adjusted for",
    "dose_does_not_vary": "the dose hardly varies",
    "few_levels": "too few nights at one of the levels",
    "follows_calendar": "the dose follows the calendar, so that dose and time cannot be told apart",
    "outcome_does_not_vary": "the measure hardly varies",
    "exact_fit": "the model fits exactly",
    "few_people": "too few people",
    "did_not_converge": "the model did not converge",
    "singular_fit": "the model has no spread between people",
    "interval_too_wide": "the interval is too wide to tell",
    "no_margin": "the study has declared no margin",
}
OUTCOMES = {"tst": "total sleep time", "sol": "sleep onset latency", "waso": "wake after sleep onset",
            "waso_long": "long wakes", "se": "sleep efficiency", "quality": "sleep quality",
            "onset": "sleep onset", "midsleep": "midsleep", "vendor_score": "the vendor's score"}  # fmt: skip
EXPOSURES = {
    "any_use": "any use on the day", "amount_since_wake": "each {unit} since waking", "amount_day": "each {unit} a day",
    "hours_since_last_dose": "each hour since the last dose", "late_dose": "a dose late in the evening",
    "dose_band": "each band of the day's dose", "residual_load": "each {unit} of the relative load",
}  # fmt: skip
UNITS = {"tst": "min", "sol": "min", "waso": "min", "waso_long": "min", "se": "percentage points", "quality": "points",
         "onset": "min", "midsleep": "min", "vendor_score": "points"}  # fmt: skip


def signals(person: Person) -> list[Notice]:
    """Open safety signals, an abrupt stop first; who is told of them."""
    safety = person.settings.safety
    if safety is None:
        return [Notice("This study looks for no safety signals (study.yaml says `safety: none`).")]
    rows = person.rows("signals")
    if not rows:
        return [Notice("No open safety signal.", _told(safety))]
    lines = [line for rule in RULES for line in _of_rule(rule, [row for row in rows if row["rule"] == rule])]
    count = Counter(row["rule"] for row in rows)
    title = f"{len(rows)} open safety signal{'s' * (len(rows) > 1)}"
    if count["abrupt_stop"]:
        title += ", among them an abrupt stop"
    return [Notice(f"{title}. Nobody watches this page in real time.", [*lines, *_told(safety)], alert=True)]


def _of_rule(rule: str, rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    days = [f"{row['observed_on']}" for row in rows[-SHOWN_SIGNALS:]][::-1]
    about = ", ".join(sorted({word for row in rows for word in row["about"].split(",")}))
    more = f" and {len(rows) - SHOWN_SIGNALS} earlier" if len(rows) > SHOWN_SIGNALS else ""
    yield f"{RULES[rule]} ({about}): {', '.join(days)}{more}"


def _told(safety: Safety) -> list[str]:
    if safety.contact is None:
        return ["study.yaml names nobody who is told of signals."]
    return [f"Told of signals: {' '.join(safety.contact.split())}. What is done: "
            f"{' '.join((safety.protocol or '').split())}."]  # fmt: skip


def figures(person: Person, data: Mapping[str, pa.Table]) -> Figures:
    """What a reader with two minutes wants first, each with the nights behind it."""
    nights = data["nights"].to_pylist()
    held = [row for row in nights if row["no_night"] is None]
    trend = person.rows("trend")
    newest = trend[-1] if trend else {}
    found = [
        ("Nights", f"{len(held)} of {len(nights)}", _span(nights)),
        ("Sleep, last 7 nights", _hours(newest.get("tst_mean_7d")),
         f"{newest.get('tst_n_7d') or 0} of 7 nights known, to {newest.get('night_date', 'no night')}"),
        ("Sleep, last 28 nights", _hours(newest.get("tst_mean_28d")), f"{newest.get('tst_n_28d') or 0} of 28 known"),
        ("Last logged dose", *_last(person)),
        ("Days with a log", *_logged(person)),
        *_newest_scale(data, ("ISI", "AIS", "PSQI")),
        *_newest_scale(data, ("SOWS", "COWS", "SOWS_GOSSOP")),
        ("Insomnia symptoms", *_state(person)),
    ]  # fmt: skip
    return Figures(found)


def _span(nights: Sequence[Row]) -> str:
    return f"{nights[0]['night_date']} to {nights[-1]['night_date']}" if nights else "nothing came in yet"


def _hours(minutes: float | None) -> str:
    if minutes is None:
        return "not known"
    whole = round(minutes)
    return f"{whole // 60} h {whole % 60:02d}"


def _last(person: Person) -> tuple[str, str]:
    last = last_dose(person)
    if last is None:
        return "none logged", ""
    silent = sum(row["log_status"] == "not_logged" for row in person.days
                 if row["substance"] == last[1] and row["night_date"] > last[0])  # fmt: skip
    return str(last[0]), f"{last[1]}; since then {silent} days without a log"


def _logged(person: Person) -> tuple[str, str]:
    rows = person.rows("coverage")
    return f"{sum(bool(row['has_log']) for row in rows)} of {len(rows)}", "silence is not taken for no use"


def _newest_scale(data: Mapping[str, pa.Table], names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    rows = [row for row in data["scales"].to_pylist() if row["instrument"] in names]
    if rows:
        newest = rows[-1]
        yield newest["instrument"], f"{newest['total']:g}", f"on {newest['answered_on']}"


def _state(person: Person) -> tuple[str, str]:
    for basis in ("diary", "wearable"):
        rows = [row for row in person.rows("weeks") if row["basis"] == basis]
        if rows:
            return rows[-1]["state"], f"by {basis}, 7 nights from {rows[-1]['block_start']}"
    return "not known", "no block of seven nights has ended"


def bands(person: Person) -> list[Table]:
    """For each substance: nights by dose band with their number; days without a dose by days since the last one."""
    made = []
    rows = person.rows("dose_sleep")
    listed = [*person.settings.exposure.substances]
    kinds = {(row["substance"], row["unit"], row["basis"]) for row in rows}
    for substance, unit, basis in sorted(
        kinds, key=lambda kind: (_place(listed, kind[0]), kind[0], kind[2] == "diary")
    ):
        own = [
            row
            for row in rows
            if (row["substance"], row["unit"], row["basis"]) == (substance, unit, basis)
            and row["n_nights"]
            and (row["dose_band"] not in ("all", "none", "dosed") or _none_by_days(row))
        ]
        shown = [row for row in own if row["phase"] == "all" or row["dose_band"] == "none"]
        if any(row["dose_band"] != "none" for row in shown):
            made.append(_band_table(substance, unit, basis, sorted(shown, key=_band_order)))
    return made


def _place(listed: Sequence[str], substance: str) -> int:
    return listed.index(substance) if substance in listed else len(listed)


BANDS = (
    "Bands are the study's own and half open. A night without a dose is one on whose day none was reported; soon after "
    "the last dose it is a night of withdrawal. Days without a log are in no row."
)
"""What has to be said of the tables."""


def _none_by_days(row: Row) -> bool:
    return bool(row["dose_band"] == "none" and row["days_since_dose"] != "all" and row["phase"] != "all")


def _band_order(row: Row) -> tuple[bool, str, float, str]:
    none = row["dose_band"] == "none"
    low = 0.0 if none else float(row["dose_band"].strip("[)").split(",")[0].replace("amount_unknown", "inf"))
    return none, row["phase"] if none else "", low, row["days_since_dose"]


def _band_table(substance: str, unit: str, basis: str, rows: Sequence[Row]) -> Table:
    headers = ("Dose of the day", "n nights", "TST min", "SOL min", "WASO min", "SE %", "Quality", "Withdrawal")
    names = ("tst_mean_min", "sol_mean_min", "waso_mean_min", "se_mean_pct", "quality_mean", "withdrawal_mean")
    cells = [
        (
            _band_words(row, unit),
            f"{row['n_nights']}",
            *(
                ""
                if row[name] is None
                else f"{row[name]:.0f}"
                if name.endswith(("_min", "_pct"))
                else f"{row[name]:.1f}"
                for name in names
            ),
        )
        for row in rows
    ]
    kept = [n for n in range(len(headers)) if n < 2 or any(row[n] for row in cells)]
    by = "device" if basis == "wearable" else "diary"
    return Table(
        f"Nights by {substance} of the day, by {by}: means",
        [headers[n] for n in kept], [[row[n] for n in kept] for row in cells], headers[1:],
    )  # fmt: skip


def _band_words(row: Row, unit: str) -> str:
    if row["dose_band"] == "none":
        since = {"unknown": "last dose not known", "1": "1 day after the last"}
        days = row["days_since_dose"]
        return f"none, {row['phase']}, {since.get(days, f'{days} days after the last')}"
    if row["dose_band"] == "amount_unknown":
        return "amount not known"
    low, high = row["dose_band"].strip("[)").split(",")
    return f"{low} {unit} or more" if high == "inf" else f"{low} to below {high} {unit}"


def what_goes_with_what(person: Person) -> list[str]:
    """One plain sentence for each substance, and one for the association the study declared: with its limits."""
    listed = [*person.settings.exposure.substances]
    rows = [row for row in person.rows("dose_sleep")
            if row["phase"] == "all" and row["dose_band"] == "all" and row["basis"] == "wearable"]  # fmt: skip
    said = [_answer(row) for row in sorted(rows, key=lambda row: (_place(listed, row["substance"]), row["substance"]))]
    said += [_association(row) for row in person.rows("primary") if row["lag"] == 0][:1]
    return said or ["What goes with what has not been computed yet (`ingest associate`)."]


def _answer(row: Row) -> str:
    name, about = row["answer_outcome"], f"{row['substance']} and {OUTCOMES[row['answer_outcome']]}"
    nights = f"over {row['n_nights']} nights with a known dose"
    if row["answer"] == "not estimable":
        return f"{about.capitalize()}: not estimable, because {_why(row['reason'])}."
    suffix = {"se": "_pct", "quality": ""}.get(name, "_min")
    difference, low, high = (row[f"{name}_diff{part}{suffix}"] for part in ("", "_low", "_high"))
    why = f" ({_why(row['reason'])})" if row["reason"] else ""
    return (
        f"{about.capitalize()}, {nights}: {row['answer']}{why}; a night at the lower quartile of the person's own "
        f"doses is {_signed(difference)} {UNITS[name]} against one at the upper quartile (95 % interval "
        f"{_signed(low)} to {_signed(high)}). This goes with the dose; it cannot say that the dose is why."
    )


def _signed(value: float) -> str:
    return f"{round(value):+d}" if round(value) else "0"


def _association(row: Row) -> str:
    exposure = EXPOSURES[row["exposure"]].format(unit=row["unit"])
    about = f"Declared beforehand, {row['substance']}, {exposure}, and {OUTCOMES[row['outcome']]}"
    if not row["estimable"]:
        return f"{about}: not estimable, because {_why(row['reason'])}."
    interval = f"95 % interval {row['ci_low']:+.1f} to {row['ci_high']:+.1f}"
    return (
        f"{about}: goes with {row['estimate']:+.1f} {UNITS[row['outcome']]} ({interval}, {row['n_nights']} "
        "nights). It cannot say what causes what: both may follow from a third, such as withdrawal."
    )


def _why(reason: str | None) -> str:
    return WHY_NOT.get(reason or "", (reason or "the reason is not known").replace("_", " "))


def quality(person: Person) -> Table:
    """What came in by source and how much of it could be used."""
    headers = ("Source", "Exports", "Refused", "Records read", "Kept", "Set aside", "Nights", "Devices", "Clock by")
    rows = [
        (
            row["source"],
            *(
                _count(row[name])
                for name in ("exports", "refused", "records_read", "kept", "quarantine_rows", "nights")
            ),
            row["devices"] or "",
            row["zone_basis"] or "",
        )
        for row in person.rows("quality")
    ]
    return Table("Data quality by source", headers, rows, headers[1:7])


def _count(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def missing(data: Mapping[str, pa.Table]) -> str:
    """Dates without a night, by reason."""
    reasons = Counter(row for row in data["nights"]["no_night"].to_pylist() if row)
    if not reasons:
        return "Every date has a night."
    return "Dates without a night: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) + "."


def absent(data: Mapping[str, pa.Table]) -> list[str]:
    """Lanes that are not drawn because nothing came in."""
    words = {"doses": "no use was logged", "totals": "no log came in", "scales": "no questionnaire was answered",
             "weeks": "no block of seven nights has ended"}  # fmt: skip
    why = [word for name, word in words.items() if not len(data[name])]
    why += [f"{title} is measured by no source of this participant's" for title in unmeasured(data)]
    return [f"Not drawn: {'; '.join(why)}."] if why else []


def footer(person: Person) -> list[str]:
    """Where the rows come from and when they were published."""
    if not person.rows("publication"):
        return ["This participant is not in the warehouse yet."]
    held = person.rows("publication")[0]
    at = held["published_at"]
    return [
        f"From the warehouse as published {at:%Y-%m-%d %H:%M} UTC, definitions version {held['definitions_version']}."
        " Instants are drawn on the clock where the person was; dates are night dates: an evening and the morning "
        "after it have the evening's date. NULL is shown as a gap, never as 0."
    ]
