"""The lanes of a participant's page as Vega-Lite, top to bottom; those of sleep stand here."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ingest.report.pages.lane import DAY_MS, LEFT, Spec, lane, mid, time, value
from ingest.report.pages.page import Chart
from ingest.report.pages.person_data import device_of
from ingest.report.pages.person_dose_charts import dose_raster, log, ribbon, scales, totals
from ingest.report.pages.person_rows import Person

SLEEP_COLOURS = ("$blue", "$purple", "$sky", "$grey")


def lanes(person: Person, data: Mapping[str, pa.Table]) -> list[Chart]:
    """The charts, top to bottom; a lane without anything to show is left out, the page says so in words."""
    made = [_dates(data)] if len(data["marks"]) else []
    if len(data["sleep"]):
        made += [_raster(person, data), _tst(data)]
    made += _diary_and_device(data)
    if len(data["doses"]):
        made.append(dose_raster(person, data))
    if len(data["totals"]):
        made += [*totals(person, data), log(data)]
    made += scales(data)
    if len(data["weeks"]):
        made.append(ribbon(data))
    return made


def _dates(data: Mapping[str, pa.Table]) -> Chart:
    rows = {"study": 0, "dose": 1, "device": 2, "clock": 3}
    used = [kind for kind in rows if kind in set(data["marks"]["kind"].to_pylist())]
    base = {"data": {"name": "marks"}}
    y = {"field": "kind", "type": "nominal", "sort": used, "scale": {"domain": used},
         "axis": {"title": None, "minExtent": LEFT, "maxExtent": LEFT, "grid": False}}  # fmt: skip
    ticks = {
        **base,
        "mark": {
            "type": "point",
            "shape": "triangle-right",
            "filled": True,
            "size": 40,
            "color": "$accent",
            "clip": True,
        },
        "encoding": {"x": time("date"), "y": y},
    }
    words = {**base, "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 11, "color": "$ink", "clip": True,
                              "limit": 150},
             "encoding": {"x": time("date"), "y": y, "text": {"field": "what"}}}  # fmt: skip
    said = "; ".join(f"{row['date']} {row['what']}" for row in data["marks"].to_pylist())
    return Chart("dates", "Dates of the study, last dose, changes of device and clock", f"{said}.",
                 lane(16 * len(used), [ticks, words]), ["marks"], on_time=True)  # fmt: skip


def _gaps() -> Spec:
    """Nights that are not there, as bands."""
    return {
        "data": {"name": "nights"},
        "transform": [{"filter": "isValid(datum.no_night)"},
                      {"calculate": f"datum.night_date + {DAY_MS}", "as": "end"}],
        "mark": {"type": "rect", "color": "$band", "clip": True},
        "encoding": {"x": time("night_date"), "x2": {"field": "end"}},
    }  # fmt: skip


def _raster(person: Person, data: Mapping[str, pa.Table]) -> Chart:
    devices = sorted({device_of(row) for row in person.rows("night")})
    kinds = {f"sleep, {device}": SLEEP_COLOURS[min(n, len(SLEEP_COLOURS) - 1)] for n, device in enumerate(devices)}
    kinds |= {"wake of 5 min or more": "$orange", "nap, second sleep": "$green"}
    hours = "datum.value % 24 == 0 ? '12:00' : datum.value % 24 == 12 ? '00:00' : ''"
    word = ("datum.what == 'sleep' ? 'sleep, ' + datum.source : datum.what == 'wake' ? 'wake of 5 min or more' :"
            " 'nap, second sleep'")  # fmt: skip

    def plotted(shift: int) -> Spec:
        # The day's own stretches below the next day's, so that a night that shifts stays in one piece.
        return {
            "data": {"name": "sleep"},
            "transform": [
                {"calculate": f"datum.day - {shift * DAY_MS}", "as": "left"},
                {"calculate": f"datum.left + {DAY_MS}", "as": "right"},
                {"calculate": f"datum.from_h + {24 * shift}", "as": "low"},
                {"calculate": f"min(datum.to_h + {24 * shift}, 48)", "as": "high"},
                {"calculate": word, "as": "kind"},
                {"filter": "datum.right > from && datum.left < to"},
            ],
            "mark": {"type": "rect", "clip": True},
            "encoding": {
                "x": time("left"), "x2": {"field": "right"},
                "y": value("low", "local time", scale={"domain": [0, 48], "nice": False},
                            axis={"values": [0, 6, 12, 18, 24, 30, 36, 42, 48], "labelExpr": hours, "grid": True}),
                "y2": {"field": "high"},
                "color": {"field": "kind", "type": "nominal", "legend": {"symbolType": "square"} if not shift else None,
                          "scale": {"domain": list(kinds), "range": list(kinds.values())}},
            },
        }  # fmt: skip

    changes = {
        "data": {"name": "marks"}, "transform": [{"filter": "datum.kind == 'device' || datum.kind == 'clock'"}],
        "mark": {"type": "rule", "color": "$green", "strokeDash": [1, 3], "strokeWidth": 2, "clip": True},
        "encoding": {"x": time("date")},
    }  # fmt: skip
    nights = data["nights"]
    held = nights["no_night"].null_count
    alt = (f"{held} nights are drawn; {len(nights) - held} dates have none and are bands. "
           f"Sources: {', '.join(devices)}.")  # fmt: skip
    note = "" if len(person.tables["wakes"]) else "No sleep stages are published: wakes inside the night are not drawn."
    spec = lane(190, [_gaps(), plotted(0), plotted(1), changes], dated=True)
    return Chart("sleep", "Sleep, noon to noon, each day also above the one before", alt, spec,
                 ["sleep", "nights", "marks"], on_time=True, note=note)  # fmt: skip


def _tst(data: Mapping[str, pa.Table]) -> Chart:
    hours = {"labelExpr": "datum.value / 60 + ' h'", "values": [0, 120, 240, 360, 480, 600, 720]}
    points = {
        "data": {"name": "nights"}, "transform": [mid()],
        "mark": {"type": "point", "filled": True, "size": 14, "opacity": 0.75, "color": "$blue", "clip": True},
        "encoding": {"x": time("mid"), "y": value("tst_min", "sleep", axis=hours)},
    }  # fmt: skip
    mean = {
        "data": {"name": "nights"},
        "transform": [mid()],
        "mark": {
            "type": "line",
            "strokeWidth": 2.2,
            "color": "$ink",
            "clip": True,
            "invalid": "break-paths-show-domains",
        },
        "encoding": {"x": time("mid"), "y": value("tst_mean_7d", "sleep", axis=hours)},
    }
    coverage = {
        "data": {"name": "nights"}, "transform": [mid(), {"calculate": "isValid(datum.tst_n_7d) ? datum.tst_n_7d : 0",
                                                           "as": "n"}],
        "mark": {"type": "tick", "orient": "horizontal", "thickness": 3, "y": "height", "clip": True, "size": 6},
        "encoding": {"x": time("mid"), "color": {
            "condition": {"test": "datum.n < 4", "value": "$vermillion"}, "value": "$band"}},
    }  # fmt: skip
    return Chart(
        "tst",
        "Total sleep time (TST): nights, and the mean of 7 calendar nights where enough are known",
        _spread_words(data["nights"], "tst_min", "total sleep time", "min"),
        lane(85, [_gaps(), points, mean, coverage]),
        ["nights", "marks"],
        on_time=True,
    )


MEASURES = (
    ("sol", "Sleep onset latency (SOL)", "sol_min", "diary_sol_min", "min"),
    ("waso", "Wake after sleep onset (WASO)", "waso_min", "diary_waso_min", "min"),
    ("se", "Sleep efficiency (SE), sleep in per cent of the time in bed", "se_tib_pct", "diary_se_pct", "%"),
)
"""Name, title, the columns of device and diary, unit."""


def _diary_and_device(data: Mapping[str, pa.Table]) -> list[Chart]:
    return [
        Chart(
            name, f"{title}: device and diary apart",
            f"Device: {_spread_words(data['nights'], device, title, unit)} "
            f"Diary: {_spread_words(data['nights'], diary, title, unit)}",
            lane(65, [_gaps(), _two(device, diary, unit, {"zero": unit != "%"})]), ["nights", "marks"], on_time=True,
        )
        for name, title, device, diary, unit in MEASURES if _any(data, device, diary)
    ]  # fmt: skip


def unmeasured(data: Mapping[str, pa.Table]) -> list[str]:
    """Titles of the measures that neither device nor diary knows of any night."""
    return [title for _, title, device, diary, _ in MEASURES if not _any(data, device, diary)]


def _any(data: Mapping[str, pa.Table], *columns: str) -> bool:
    return any(data["nights"][name].null_count < len(data["nights"]) for name in columns)


def _two(device: str, diary: str, title: str, scale: Spec) -> Spec:
    return {
        "data": {"name": "nights"},
        "transform": [
            mid(),
            {"calculate": f"datum.{device}", "as": "device"},
            {"calculate": f"datum.{diary}", "as": "diary"},
            {"fold": ["device", "diary"], "as": ["by", "value"]},
            {"filter": "isValid(datum.value)"},
        ],
        "mark": {"type": "point", "size": 22, "opacity": 0.85, "clip": True, "strokeWidth": 1.6},
        "encoding": {
            "x": time("mid"),
            "y": value("value", title, scale=scale),
            "color": {
                "field": "by",
                "type": "nominal",
                "legend": {},
                "scale": {"domain": ["device", "diary"], "range": ["$blue", "$vermillion"]},
            },
            "shape": {
                "field": "by",
                "type": "nominal",
                "scale": {"domain": ["device", "diary"], "range": ["circle", "triangle-up"]},
            },
        },
    }


def _spread_words(table: pa.Table, column: str, what: str, unit: str) -> str:
    values = table[column].drop_null()
    if not len(values):
        return f"{what} is not known of any night."
    low, middle, high = (float(pc.quantile(values, q)[0].as_py()) for q in (0.1, 0.5, 0.9))
    return (f"{what} is known of {len(values)} of {len(table)} nights: median {middle:.0f} {unit}, "
            f"a tenth below {low:.0f}, a tenth above {high:.0f}.")  # fmt: skip
