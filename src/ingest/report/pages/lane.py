"""What all lanes of a participant's page share: the axis of time, the edge, the dates of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Spec = dict[str, Any]
DAY_MS = 86_400_000
LEFT = 62
"""Pixels from the edge to the data, the same in every lane, so that dates stand below each other."""


def time(field: str) -> Spec:
    """Encoding of a date or instant on the page's axis of time."""
    scale = {"type": "utc", "domain": {"expr": "[from, to]"}, "nice": False}
    return {"field": field, "type": "temporal", "scale": scale}


def _axis(dated: bool) -> Spec:
    """The axis of time, with dates below the lane or only with its grid."""
    return {"title": None, "grid": True, "labels": dated, "ticks": dated, "domain": dated, "tickCount": 12,
            "labelExpr": "utcFormat(datum.value, utcmonth(datum.value) == 0 && utcdate(datum.value) == 1 ? '%Y' : "
                         "utcdate(datum.value) == 1 ? '%b' : '%-d %b')",
            "labelOverlap": True, "labelBound": True}  # fmt: skip


def value(field: str, title: str, **more: Any) -> Spec:
    """Encoding of a quantity on the axis to the left."""
    axis = {"title": title, "minExtent": LEFT - 14, "maxExtent": LEFT - 14, "titlePadding": 4,
            "titleAnchor": "middle", **more.pop("axis", {"tickCount": 4})}  # fmt: skip
    scale = {"nice": True, "padding": 4, **more.pop("scale", {})}
    return {"field": field, "type": "quantitative", "axis": axis, "scale": scale, **more}


def lane(height: int, layers: Sequence[Spec], dated: bool = False) -> Spec:
    """Layers below the dates of the study."""
    rules = {
        "data": {"name": "marks"},
        "transform": [{"filter": "datum.kind == 'study' || datum.kind == 'dose'"}],
        "mark": {"type": "rule", "strokeDash": [3, 3], "color": "$muted", "clip": True},
        "encoding": {"x": time("date")},
    }
    every = [*layers, rules]
    for layer in every:
        layer["encoding"]["x"] = {**layer["encoding"]["x"], "axis": _axis(dated)}
    return {
        "width": "container", "height": height, "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 2, "right": 12, "top": 2, "bottom": 2},
        "layer": every,
        "resolve": {"scale": {"color": "independent", "shape": "independent", "size": "independent"}},
    }  # fmt: skip


def mid(field: str = "night_date") -> Spec:
    """Transform: the middle of a date, as `mid`."""
    return {"calculate": f"datum.{field} + {DAY_MS // 2}", "as": "mid"}
