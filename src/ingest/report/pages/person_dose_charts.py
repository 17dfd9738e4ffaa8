"""The lanes of doses, scales and symptoms of a participant's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.report.pages.lane import DAY_MS, LEFT, Spec, lane, mid, time, value
from ingest.report.pages.page import Chart
from ingest.report.pages.person_rows import Person

DOSE_COLOURS = ("$vermillion", "$blue", "$green", "$purple", "$orange", "$sky", "$grey")
STATES = {"none": "$band", "pending": "$orange", "episode": "$vermillion", "persistent": "$purple",
          "remitted": "$green", "unknown": "$grey"}  # fmt: skip
WITHDRAWAL = ("SOWS", "SOWS_GOSSOP", "COWS")
INSOMNIA = ("ISI", "AIS", "PSQI")


def substances(data: Mapping[str, pa.Table]) -> list[str]:
    """Substances by number of uses, most first."""
    counts = pc.value_counts(data["doses"]["substance"]).to_pylist()
    return [each["values"] for each in sorted(counts, key=lambda each: (-each["counts"], each["values"]))]


def _colours(data: Mapping[str, pa.Table]) -> Spec:
    known = substances(data)
    colours = [DOSE_COLOURS[min(n, len(DOSE_COLOURS) - 1)] for n in range(len(known))]
    return {"domain": known, "range": colours}


def dose_raster(person: Person, data: Mapping[str, pa.Table]) -> Chart:
    """Uses by clock time and exposure day."""
    start = person.settings.exposure.day_start_hour
    clocks = {"values": [hour for hour in range(start, start + 25) if hour % 6 == 0],
              "labelExpr": "pad(datum.value % 24, 2, '0', 'left') + ':00'", "grid": True}  # fmt: skip
    spec = {
        "data": {"name": "doses"},
        "transform": [mid("exposure_day"), {"filter": "isValid(datum.clock_h)"}],
        "mark": {"type": "point", "size": 20, "opacity": 0.75, "clip": True, "filled": True},
        "encoding": {
            "x": time("mid"),
            "y": value("clock_h", "local time", axis=clocks,
                        scale={"domain": [start, start + 24], "nice": False, "zero": False}),
            "color": {"field": "substance", "type": "nominal", "scale": _colours(data), "legend": {}},
            "shape": {"field": "substance", "type": "nominal", "scale": {"domain": substances(data)}},
        },
    }  # fmt: skip
    untimed = data["doses"]["clock_h"].null_count
    note = f"{untimed} uses are known by the day or part of day only and stand in the totals alone." if untimed else ""
    alt = f"{len(data['doses'])} uses: " + ", ".join(
        f"{each['counts']} {each['values']}" for each in pc.value_counts(data["doses"]["substance"]).to_pylist()
    )
    return Chart(
        "doses",
        f"Doses by time of day, each day from {start:02d}:00",
        alt + ".",
        lane(110, [spec], dated=True),
        ["doses", "marks"],
        on_time=True,
        note=note,
    )


def _no_log(substance: str, unit: str) -> Spec:
    return {
        "data": {"name": "totals"},
        "transform": [{"filter": {"and": [{"field": "substance", "equal": substance}, {"field": "unit", "equal": unit},
                                          "datum.log_status == 'not_logged'"]}},
                      {"calculate": f"datum.exposure_day + {DAY_MS}", "as": "end"}],
        "mark": {"type": "rect", "color": "$band", "clip": True},
        "encoding": {"x": time("exposure_day"), "x2": {"field": "end"}},
    }  # fmt: skip


def primary_substances(person: Person, data: Mapping[str, pa.Table]) -> list[tuple[str, str]]:
    """Up to two substances and units whose daily totals have lanes: with amounts, most days first."""
    known = data["totals"].filter(pc.greater(pc.fill_null(data["totals"]["amount_day"], 0), 0))
    counts = known.group_by(["substance", "unit"]).aggregate([([], "count_all")]).to_pylist()
    listed = list(person.settings.exposure.substances)

    def rank(row: Mapping[str, Any]) -> tuple[int, int, str]:
        place = listed.index(row["substance"]) if row["substance"] in listed else len(listed)
        return place, -row["count_all"], row["substance"]

    return [(row["substance"], row["unit"]) for row in sorted(counts, key=rank)][:2]


def totals(person: Person, data: Mapping[str, pa.Table]) -> list[Chart]:
    """Lanes of the daily totals of the main substances."""
    made = []
    for n, (substance, unit) in enumerate(primary_substances(person, data)):
        own = {"and": [{"field": "substance", "equal": substance}, {"field": "unit", "equal": unit}]}
        colours = _colours(data)
        colour = dict(zip(colours["domain"], colours["range"], strict=True)).get(substance, "$grey")
        bars = {
            "data": {"name": "totals"},
            "transform": [{"filter": own}, {"calculate": f"datum.exposure_day + {DAY_MS}", "as": "end"},
                          {"filter": "datum.amount_day > 0"}],
            "mark": {"type": "rect", "color": colour, "clip": True, "opacity": 0.85},
            "encoding": {"x": time("exposure_day"), "x2": {"field": "end"},
                         "y": value("amount_day", f"{unit} a day"), "y2": {"datum": 0}},
        }  # fmt: skip
        none = {
            "data": {"name": "totals"},
            "transform": [{"filter": own}, mid("exposure_day"), {"filter": "datum.log_status == 'none_reported'"},
                          {"calculate": "0", "as": "zero"}],
            "mark": {"type": "point", "shape": "circle", "size": 16, "color": "$ink", "clip": True},
            "encoding": {"x": time("mid"), "y": value("zero", f"{unit} a day")},
        }  # fmt: skip
        steps = {
            "data": {"name": "totals"}, "transform": [{"filter": own}, mid("exposure_day")],
            "mark": {"type": "line", "interpolate": "step", "strokeWidth": 1.8, "color": "$ink", "clip": True,
                     "invalid": "break-paths-show-domains"},
            "encoding": {"x": time("mid"), "y": value("amount_7d", f"{unit} a day")},
        }  # fmt: skip
        rows = data["totals"].filter(pc.and_(pc.equal(data["totals"]["substance"], substance),
                                             pc.equal(data["totals"]["unit"], unit)))  # fmt: skip
        made.append(Chart(
            f"total-{n}", f"{substance.capitalize()} a day ({unit}): line the mean of 7 days, circle none taken, "
            "grey no log",
            _total_words(rows, substance, unit), lane(75, [_no_log(substance, unit), bars, none, steps]),
            ["totals", "marks"], on_time=True,
        ))  # fmt: skip
    return made


def _total_words(rows: pa.Table, substance: str, unit: str) -> str:
    counts = {each["values"]: each["counts"] for each in pc.value_counts(rows["log_status"]).to_pylist()}
    words = {"logged": "with a use", "none_reported": "with none reported", "not_logged": "without a log",
             "conflict": "with answers that contradict"}  # fmt: skip
    days = ", ".join(f"{counts[status]} days {word}" for status, word in words.items() if status in counts)
    most = pc.max(rows["amount_day"]).as_py()
    return f"{substance}: {days}." + ("" if most is None else f" The most in a day was {most:g} {unit}.")


def log(data: Mapping[str, pa.Table]) -> Chart:
    """What the log says of each day: used, none, nothing, contradicting."""
    words = {"logged": "used", "none_reported": "none reported", "not_logged": "no log", "conflict": "contradicting"}
    said = "{" + ", ".join(f"'{status}': '{word}'" for status, word in words.items()) + "}[datum.log_status]"
    rows = sorted(set(data["totals"]["substance"].to_pylist()))
    spec = {
        "data": {"name": "totals"},
        "transform": [{"calculate": said, "as": "said"}, {"calculate": f"datum.exposure_day + {DAY_MS}", "as": "end"}],
        "mark": {"type": "rect", "clip": True},
        "encoding": {
            "x": time("exposure_day"), "x2": {"field": "end"},
            "y": {"field": "substance", "type": "nominal", "sort": rows,
                  "axis": {"title": None, "minExtent": LEFT, "maxExtent": LEFT, "labelLimit": LEFT - 6},
                  "scale": {"paddingInner": 0.25}},
            "color": {"field": "said", "type": "nominal", "legend": {"symbolType": "square"},
                      "scale": {"domain": list(words.values()), "range": ["$vermillion", "$sky", "$band", "$purple"]}},
        },
    }  # fmt: skip
    missing = pc.sum(pc.equal(data["totals"]["log_status"], "not_logged")).as_py() or 0
    alt = f"What the log says of each day, for {', '.join(rows)}; {missing} of {len(data['totals'])} are without a log."
    return Chart("log", "What each day's log says", alt, lane(15 * len(rows), [spec]), ["totals", "marks"],
                 on_time=True)  # fmt: skip


def scales(data: Mapping[str, pa.Table]) -> list[Chart]:
    """Questionnaires and daily ratings."""
    known = sorted(set(data["scales"]["instrument"].to_pylist()))
    daily = sorted(
        set(data["scales"].filter(pc.equal(data["scales"]["band"], "daily rating"))["instrument"].to_pylist())
    )
    groups = {
        "withdrawal": ("Withdrawal scales (totals)", [name for name in WITHDRAWAL if name in known]),
        "insomnia": ("Insomnia and sleep questionnaires (totals)", [name for name in INSOMNIA if name in known]),
        "ratings": ("Daily ratings", daily),
    }  # fmt: skip
    return [_scale(name, title, shown, data) for name, (title, shown) in groups.items() if shown]


def _scale(name: str, title: str, shown: list[str], data: Mapping[str, pa.Table]) -> Chart:
    colours = ["$blue", "$vermillion", "$green", "$purple", "$orange", "$sky"]
    nominal = {"field": "instrument", "type": "nominal", "sort": shown}
    spec = {
        "data": {"name": "scales"},
        "transform": [{"filter": {"field": "instrument", "oneOf": shown}}, mid("answered_on")],
        "mark": {"type": "line", "point": {"filled": False, "size": 28}, "strokeWidth": 1.2, "clip": True},
        "encoding": {
            "x": time("mid"), "y": value("total", "score"),
            "color": {**nominal, "legend": {}, "scale": {"domain": shown, "range": colours[: len(shown)]}},
            "shape": {**nominal, "scale": {"domain": shown}},
        },
    }  # fmt: skip
    lines = []
    for each in shown:
        rows = data["scales"].filter(pc.equal(data["scales"]["instrument"], each))
        first, last = (rows["total"][place].as_py() for place in (0, -1))
        lines.append(f"{each}: {len(rows)} answers, first {first:g}, last {last:g}")
    return Chart(name, title, "; ".join(lines) + ".", lane(70, [spec]), ["scales", "marks"], on_time=True)


def ribbon(data: Mapping[str, pa.Table]) -> Chart:
    """States of insomnia symptoms."""
    x = {"x": time("block_start"), "x2": {"field": "block_end"}}
    y = {"field": "basis", "type": "nominal", "sort": ["diary", "wearable"],
         "axis": {"title": None, "minExtent": LEFT, "maxExtent": LEFT}, "scale": {"paddingInner": 0.2}}  # fmt: skip
    blocks = {
        "data": {"name": "weeks"}, "mark": {"type": "rect", "clip": True, "stroke": "$paper"},
        "encoding": {**x, "y": y, "color": {
            "field": "state", "type": "nominal", "legend": {"symbolType": "square"},
            "scale": {"domain": list(STATES), "range": list(STATES.values())}}},
    }  # fmt: skip
    words = {
        "data": {"name": "weeks"}, "transform": [{"filter": "isValid(datum.label)"}],
        "mark": {"type": "text", "align": "left", "dx": 3, "fontSize": 10, "clip": True},
        "encoding": {"x": time("block_start"), "y": y, "text": {"field": "label"}, "color": {
            "condition": {"test": "datum.state == 'none'", "value": "$ink"}, "value": "#000000"}},
    }  # fmt: skip
    runs = [f"{row['basis']} {row['label']} from {row['block_start']}" for row in data["weeks"].to_pylist()
            if row["label"]]  # fmt: skip
    return Chart(
        "insomnia-weeks",
        "Insomnia symptoms in blocks of seven nights that have ended, diary and device apart",
        f"States: {'; '.join(runs)}.",
        lane(40, [blocks, words], dated=True),
        ["weeks", "marks"],
        on_time=True,
    )
