"""The study team's page: who is in, how much of their time is covered, how sleep went before, during and after taper.

Small cells are hidden and counts rounded as in a release (`small_cells` in study.yaml); without that section no number
is shown. Nothing on it is about one participant alone, but for the forest plot, whose rows have neither id nor order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.study import Study
from ingest.publish.reading import Reader
from ingest.report.cohort_numbers import KINDS, MEASURES, Cohort, cohort_numbers
from ingest.report.pages.page import Chart, Notice, Page, Part, Section, Table, Text
from ingest.report.safe_tables import PARTICIPANTS, SHOWN, STATUS, Limits, limits_of

NAMES = {"tst": "total sleep time", "sol": "sleep onset latency", "waso": "wake after sleep onset",
         "se": "sleep efficiency"}  # fmt: skip
STATES = ("none", "pending", "episode", "persistent", "remitted", "unknown")
_BASES = ["diary", "wearable"]
_HIDDEN: dict[str, Any] = {"condition": {"test": f"datum.{STATUS} !== '{SHOWN}'", "value": "hidden"}, "value": ""}
"""The text of a mark that says so where a cell is hidden."""
_LABELS = {"participants": "Participants", "status": "Status", "week": "Week since enrolment", "kind": "Kind",
           "covered_pct": "% of dates", "phase": "Phase", "nights": "Nights", "state": "State", "basis": "Basis",
           "month": "Month", "dose_band": "Dose of the day", "mean": "Mean", "median": "Median", "measure": "Measure",
           "difference": "Difference", "estimate": "Estimate", "level": "Level", "method": "Method"}  # fmt: skip


def cohort_page(study: Study, reader: Reader, first: date | None = None, last: date | None = None) -> Page:
    """The page; `first` and `last` are night dates that restrict coverage, measures and states."""
    title = f"{study.settings.study}: cohort"
    limits = limits_of(study.settings)
    if limits is None:
        lines = ["Say in study.yaml how few participants are too few: `small_cells: {min_participants: 11}`."]
        return Page(title, [Section("", [Notice("No table of the cohort may be shown yet.", lines)])])
    found = cohort_numbers(reader, limits, first, last)
    data = _data(found)
    few = f"Hidden: fewer than {limits.min_participants} participants. Counts are rounded to {limits.round_to}s."
    return Page(
        title,
        list(_sections(found, data, limits)),
        data,
        subtitle=f"Nights of {first or 'the beginning'} to {last or 'the last'}. {few}",
        labels=_LABELS,
        footer=[few, "Estimates are exploratory unless declared as the primary; a release freezes them."],
    )


def _data(found: Cohort) -> dict[str, pa.Table]:
    rows = found.forest
    numbered = rows.append_column("row", pa.array(range(len(rows)), pa.int64()))
    data = {"enrolled": found.enrolled, "coverage": found.coverage, "states": found.states, "forest": numbered}
    data |= {f"measures_{m}": _only(found.measures, measure=m) for m in MEASURES}
    for number, (substance, unit) in enumerate(_substances(found), start=1):
        data[f"doses_{number}"] = _only(found.doses, substance=substance, unit=unit)
    return data


def _substances(found: Cohort) -> list[tuple[str, str]]:
    names = (found.doses["substance"].to_pylist(), found.doses["unit"].to_pylist()) if len(found.doses) else ([], [])
    return sorted(set(zip(*names, strict=True)))


def _only(rows: pa.Table, **values: str) -> pa.Table:
    for name, value in values.items():
        rows = rows.filter(pc.equal(rows[name], value))
    return rows


def _sections(found: Cohort, data: dict[str, pa.Table], limits: Limits) -> Iterator[Section]:
    yield Section("Enrolment and coverage", [_enrolled(found), _flow(found), _coverage(found)], "coverage")
    charts = [_measure(name, data[f"measures_{name}"]) for name in MEASURES]
    yield Section("Nights before, during and after taper", [Text("Middle half and 10th to 90th percentile of all nights"
                  " of a phase, whoever slept them; phases in their order in time."), *charts], "measures")  # fmt: skip
    aid = Text("Blocks of seven nights that have ended. A monitoring aid, not a diagnosis.")
    yield Section("Insomnia symptoms by week", [_states(found), aid], "states")
    yield Section("What goes with what, within people", _forest(found, limits), "forest")
    doses = [_dose(number, *of, data[f"doses_{number}"]) for number, of in enumerate(_substances(found), start=1)]
    yield Section("Sleep by dose of the day", [*doses, _answers(found)], "doses")


def _enrolled(found: Cohort) -> Part:
    rows = found.enrolled
    spec = {
        "width": 900, "height": 90, "data": {"name": "enrolled"},
        "layer": [
            {"mark": {"type": "bar", "color": "$blue", "width": 14},
             "encoding": {"y": {"field": PARTICIPANTS, "type": "quantitative", "title": "participants"}}},
            {"mark": {"type": "text", "color": "$muted", "baseline": "bottom"},
             "encoding": {"y": {"value": 88}, "text": _HIDDEN}},
        ],
        "encoding": {"x": {"field": "month", "type": "temporal", "scale": {"type": "utc"}, "axis": {"format": "%Y-%m"},
                           "title": "month of enrolment"},
                     "tooltip": [{"field": "month", "timeUnit": "utcyearmonth"}, {"field": PARTICIPANTS},
                                 {"field": STATUS}]},
    }  # fmt: skip
    alt = f"Enrolled in {len(rows)} months; {_shown(rows)}."
    return Chart("enrolled", "Enrolment by month", alt, spec, ["enrolled"])


def _flow(found: Cohort) -> Part:
    rows = [[row["step"], row["reason"] or "", row[PARTICIPANTS] if row[STATUS] == SHOWN else "too few to be shown"]
            for row in found.flow.to_pylist()]  # fmt: skip
    if not rows:
        return Text("Nobody was counted from enrolled to analysed yet; `ingest associate` does it.")
    return Table("From enrolled to analysed", ["Step", "Reason", "Participants"], rows)


def _coverage(found: Cohort) -> Part:
    rows = found.coverage
    spec = _heat("coverage", {"field": "kind", "sort": list(KINDS)}, {"field": "covered_pct", "title": "% of dates",
                 "scale": {"domain": [0, 100], "range": "ramp"}}) | {"width": 900}  # fmt: skip
    means = "; ".join(f"{kind}: {_range(_only(rows, kind=kind), 'covered_pct')} % of dates" for kind in KINDS)
    alt = f"{_weeks(rows)} weeks since enrolment. {means}. {_shown(rows)}."
    return Chart("coverage", "Share of dates with a night, a diary, a log, by week since enrolment", alt, spec,
                 ["coverage"], note="Grey: too few participants had such a week.")  # fmt: skip


def _heat(data: str, row: dict[str, Any], colour: dict[str, Any]) -> dict[str, Any]:
    tips = [
        {"field": "week"},
        {"field": row["field"]},
        {"field": colour["field"]},
        {"field": PARTICIPANTS},
        {"field": STATUS},
    ]
    return {
        "height": {"step": 22}, "data": {"name": data},
        "layer": [
            {"mark": {"type": "rect", "color": "$line", "opacity": 0.6}},
            {"mark": "rect", "encoding": {"color": {"type": "quantitative", **colour}}},
        ],
        "encoding": {"x": {"field": "week", "type": "ordinal", "title": "week since enrolment",
                           "axis": {"labelOverlap": True, "labelAngle": 0}},
                     "y": {"type": "nominal", "title": None, **row}, "tooltip": tips},
    }  # fmt: skip


def _measure(name: str, rows: pa.Table) -> Part:
    title = f"{NAMES[name].capitalize()} ({MEASURES[name]})"
    y = {"type": "quantitative", "title": MEASURES[name], "scale": {"zero": False}}
    tips = [{"field": each} for each in ("phase", "basis", "median", "p10", "p25", "p75", "p90", "nights", PARTICIPANTS,
                                         STATUS)]  # fmt: skip
    spec = {
        "data": {"name": f"measures_{name}"},
        "facet": {"column": {"field": "basis", "type": "nominal", "sort": _BASES, "title": None}},
        "spec": {
            "width": 380, "height": 130,
            "encoding": {"x": {"field": "phase", "type": "nominal", "sort": {"field": "phase_no"}, "title": None,
                               "axis": {"labelAngle": 0}}, "tooltip": tips},
            "layer": [
                {"mark": {"type": "rule", "color": "$blue", "strokeWidth": 2},
                 "encoding": {"y": {"field": "p10", **y}, "y2": {"field": "p90"}}},
                {"mark": {"type": "bar", "color": "$blue", "opacity": 0.55, "width": 26},
                 "encoding": {"y": {"field": "p25", **y}, "y2": {"field": "p75"}}},
                {"mark": {"type": "tick", "color": "$ink", "thickness": 2, "size": 30},
                 "encoding": {"y": {"field": "median", **y}}},
                {"mark": {"type": "text", "color": "$muted", "baseline": "bottom"},
                 "encoding": {"y": {"value": 128}, "text": _HIDDEN}},
            ],
        },
    }  # fmt: skip
    said = "; ".join(f"{row['basis']}, {row['phase']}: median {row['median']:g}" for row in rows.to_pylist()
                     if row[STATUS] == SHOWN)  # fmt: skip
    alt = f"By phase. {said or 'Nothing can be shown'}. {_shown(rows)}."
    return Chart(f"measures_{name}", title, alt, spec, [f"measures_{name}"])


def _states(found: Cohort) -> Part:
    rows = found.states
    heat = _heat("states", {"field": "state", "sort": list(STATES)},
                 {"field": PARTICIPANTS, "title": "participants", "scale": {"range": "ramp"}})  # fmt: skip
    data, encoding = heat.pop("data"), {"width": 400}
    spec = {"data": data, "facet": {"column": {"field": "basis", "type": "nominal", "sort": _BASES, "title": None}},
            "spec": {**heat, **encoding}}  # fmt: skip
    alt = f"Participants by state in {_weeks(rows)} weeks since enrolment, by diary and by wearable. {_shown(rows)}."
    return Chart("states", "Participants by state of their insomnia symptoms", alt, spec, ["states"],
                 note="Grey: fewer than may be shown, or nobody.")  # fmt: skip


def _forest(found: Cohort, limits: Limits) -> list[Part]:
    about, rows = found.about, found.forest
    if not about:
        return [Text("No association could be estimated of enough people; `ingest associate` computes them.")]
    what = (f"{about['outcome']} ({about['basis']}) with {about['exposure']} of {about['substance']} ({about['unit']}),"
            f" lag {about['lag']}, anchor {about['anchor']}")  # fmt: skip
    kind = "declared as the primary" if about["is_primary"] else "exploratory"
    if not len(rows):
        return [Text(f"{what}: fewer than {limits.min_participants} participants have an estimate of their own.")]
    y = {"field": "row", "type": "ordinal", "axis": None}
    x = {"type": "quantitative", "title": f"difference of {about['outcome']} per unit of {about['exposure']}"}
    colour = {"field": "level", "type": "nominal",
              "scale": {"domain": ["participant", "cohort"], "range": ["$grey", "$vermillion"]}}  # fmt: skip
    spec = {
        "width": 760, "height": {"step": 13}, "data": {"name": "forest"},
        "encoding": {"color": colour,
                     "tooltip": [{"field": each, "format": ".3~g"} for each in ("estimate", "ci_low", "ci_high")]
                     + [{"field": "level"}, {"field": "method"}]},
        "layer": [
            {"mark": {"type": "rule", "color": "$ink", "strokeDash": [3, 3]}, "encoding": {"x": {"datum": 0}}},
            {"mark": {"type": "rule", "strokeWidth": 2},
             "encoding": {"x": {"field": "ci_low", **x}, "x2": {"field": "ci_high"}, "y": y}},
            {"mark": {"type": "point", "filled": True, "size": 60},
             "encoding": {"x": {"field": "estimate", **x}, "y": y}},
        ],
    }  # fmt: skip
    own = _only(rows, level="participant")
    cohort = "; ".join(f"{row['method']} {row['estimate']:.3g} ({row['ci_low']:.3g} to {row['ci_high']:.3g})"
                       for row in _only(rows, level="cohort").to_pylist())  # fmt: skip
    alt = (f"Within-person differences of {len(own)} people, from {pc.min(own['estimate']).as_py():.3g} to"
           f" {pc.max(own['estimate']).as_py():.3g}. Cohort: {cohort or 'not estimable'}.")  # fmt: skip
    note = "Each row a person, without id, in no order that means anything; 95 % intervals. Nothing here says why."
    return [Chart("forest", f"{what}; {kind}", alt, spec, ["forest"], note=note)]


def _dose(number: int, substance: str, unit: str, rows: pa.Table) -> Part:
    x = {"field": "dose_band", "type": "nominal", "sort": {"field": "band_no"}, "title": f"{substance}, {unit} a day",
         "axis": {"labelAngle": 0, "labelOverlap": False}}  # fmt: skip
    y = {"field": "mean", "type": "quantitative", "title": "mean", "scale": {"zero": False}}
    colour = {"field": "basis", "type": "nominal", "scale": {"domain": _BASES, "range": ["$orange", "$blue"]}}
    tips = [
        {"field": each} for each in ("dose_band", "basis", "mean", "difference", "low", "high", PARTICIPANTS, STATUS)
    ]
    spec = {
        "data": {"name": f"doses_{number}"}, "columns": 2, "resolve": {"scale": {"y": "independent"}},
        "facet": {"field": "measure", "type": "nominal", "sort": list(MEASURES), "title": None},
        "spec": {
            "width": 380, "height": 120, "encoding": {"x": x, "color": colour, "tooltip": tips},
            "layer": [
                {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": y}},
                {"mark": {"type": "point", "filled": True, "size": 60},
                 "encoding": {"y": y, "shape": {"field": "basis", "type": "nominal", "scale": {"domain": _BASES}}}},
                {"mark": {"type": "text", "baseline": "bottom", "fontSize": 9},
                 "encoding": {"y": {"value": 118}, "yOffset": {"field": "basis", "type": "nominal", "sort": _BASES,
                              "scale": {"range": [-10, 0]}}, "text": _HIDDEN}},
            ],
        },
    }  # fmt: skip
    tst = _only(rows, measure="tst").to_pylist()
    said = "; ".join(f"{row['basis']}, {row['dose_band']}: {row['mean']:g}" for row in tst if row["mean"] is not None)
    alt = f"Mean total sleep time (min) by dose of the day. {said or 'Nothing can be shown'}. {_shown(rows)}."
    note = ("Means of the participants' means: others slept at other doses, so read the adjusted within-person"
            " differences in the data below. `none` is a night with no use reported, in a dependent person one of"
            " withdrawal.")  # fmt: skip
    return Chart(
        f"doses_{number}", f"Sleep by daily dose of {substance} ({unit})", alt, spec, [f"doses_{number}"], note=note
    )


def _answers(found: Cohort) -> Part:
    rows = [[f"{row['substance']} ({row['unit']})", row["basis"], row["answer_outcome"],
             row["answer"] if row[STATUS] == SHOWN else "too few to be shown", row["reason"] or ""]
            for row in found.answers.to_pylist()]  # fmt: skip
    if not rows:
        return Text("No dose was compared yet; `ingest associate` does it.")
    return Table("Do lower doses go with better sleep? Within people, adjusted; never why",
                 ["Substance", "Basis", "Outcome", "Answer", "Reason"], rows)  # fmt: skip


def _weeks(rows: pa.Table) -> int:
    return len(pc.unique(rows["week"]))


def _shown(rows: pa.Table) -> str:
    hidden = len(rows.filter(pc.not_equal(rows[STATUS], SHOWN)))
    return f"{len(rows) - hidden} of {len(rows)} cells shown" + (f", {hidden} hidden" if hidden else "")


def _range(rows: pa.Table, name: str) -> str:
    low, high = pc.min(rows[name]).as_py(), pc.max(rows[name]).as_py()
    return "hidden" if low is None else f"{low:.0f} to {high:.0f}"
