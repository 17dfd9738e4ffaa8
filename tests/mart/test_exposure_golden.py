"""The golden vectors of exposure, through the public function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingest._core.settings import Exposure
from mart.exposure_rows import day_use, dose, exposures, night, no_use, no_uses, one

GOLDEN = Path(__file__).parents[1] / "golden"
WINDOWS = json.loads((GOLDEN / "exposure.json").read_text())
EDGES = json.loads((GOLDEN / "exposure_edges.json").read_text())["cases"]
NAMES = {"n_amount_unknown_24h": "n_amount_unknown"}


def windows_row(half_life_h: float) -> dict[str, Any]:
    given = WINDOWS["input"]
    doses = [dose(each["taken_at"], each["leaf_g"]) for each in given["doses"]]
    # Five half-lives of 43.4 h reach back to 24 February; the days without a dose are stated as such.
    doses += no_uses("2024-02-22", "2024-03-02")
    settings = Exposure(half_lives_h={"kratom": half_life_h})
    sleep = night("2024-03-04", given["sleep_onset"], "2024-03-05T06:00Z")
    return one(exposures([sleep], doses, settings), substance="kratom", unit="g")


def test_windows_of_the_golden_doses() -> None:
    row, expected = windows_row(24), WINDOWS["expected"]
    assert row["dose_count_6h"] == expected["dose_count_6h"]
    for hours in (6, 12, 24):
        assert row[f"amount_{hours}h"] == expected[f"dose_total_g_{hours}h"]
    assert row["hours_since_last_dose"] == expected["hours_since_last_dose"]
    assert row["last_dose_amount"] == expected["last_dose_g"]
    assert row["dosed_during_sleep"] is True


@pytest.mark.parametrize(("half_life_h", "name"), [(3.5, "3h5"), (24, "24h"), (43.4, "43h4")])
def test_residual_load_of_the_golden_doses(half_life_h: float, name: str) -> None:
    expected = WINDOWS["expected"][f"residual_load_g_hl_{name}"]
    assert windows_row(half_life_h)["residual_load"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", sorted(EDGES))
def test_edge(name: str) -> None:
    case = EDGES[name]
    uses = [
        dose(each["taken_at"], each["amount"]) if "taken_at" in each else day_use(each["date"], each["amount"])
        for each in case["doses"]
    ]
    used = {"2024-03-04"} if uses else set()
    uses += [no_use(day) for day in case["logged_days"] if day not in used]
    sleep = night(case.get("night_date", "2024-03-04"), case["anchor"], None)
    row = one(exposures([sleep], uses, Exposure(substances=["kratom"])), substance="kratom")
    expected = {key: value for key, value in case["expected"].items() if key != "why"}
    assert {key: row[NAMES.get(key, key)] for key in expected} == expected
