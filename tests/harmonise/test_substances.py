"""The registry of substances: consistent, and honest about what it does not know."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ingest._core.settings import Settings
from ingest.harmonise.substances import class_and_unit, registry, registry_digest, resolve

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "units.json").read_text())


def test_factors_are_those_of_the_golden_table() -> None:
    ours = {code: each.mme_factor for code, each in registry().items() if each.mme_factor is not None}
    fentanyl = GOLDEN["mme_factors_cdc_2022"]["fentanyl_transdermal_mcg_per_h"]
    golden = {k: v for k, v in GOLDEN["mme_factors_cdc_2022"].items() if not k.startswith("fentanyl")}
    assert ours == {**golden, "fentanyl": fentanyl}
    assert registry()["fentanyl"].mme_unit == "mcg/h"


def test_whoever_could_be_asked_for_equivalents_has_a_factor_or_a_reason() -> None:
    for each in registry().values():
        if each.substance_class in ("opioid", "kratom"):
            assert each.mme_factor is not None or each.mme_reason
        else:
            assert each.mme_factor is None


def test_codes_are_codes_and_units_are_canonical() -> None:
    for code, each in registry().items():
        assert code == each.code
        assert re.fullmatch(r"[a-z0-9][a-z0-9_]{0,39}", code)
        Settings.model_validate({"study": "s", "exposure": {"substances": [code]}})
        assert each.unit == ("g" if code in ("kratom", "alcohol", "cannabis") else "mg")


def test_no_name_means_two_substances() -> None:
    seen: dict[str, str] = {}
    for each in registry().values():
        for name in (each.code, each.name, *each.synonyms):
            key = re.sub(r"[\s_-]+", "", name).casefold()
            assert seen.setdefault(key, each.code) == each.code


@pytest.mark.parametrize("code", ["mitragynine", "7_hydroxymitragynine"])
def test_unii_codes(code: str) -> None:
    assert registry()[code].unii == {"mitragynine": "EP479K822J", "7_hydroxymitragynine": "2T3TWA75R0"}[code]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("kratom", "kratom"),
        ("  Kratom ", "kratom"),
        ("Mitragyna Speciosa", "kratom"),
        ("7-Hydroxymitragynine", "7_hydroxymitragynine"),
        ("7 OH", "7_hydroxymitragynine"),
        ("OxyContin", "oxycodone"),
        ("sleep-medication", "sleep_medication"),
        ("Suboxone", "buprenorphine"),
        ("other", "other"),
    ],
)
def test_known_names(name: str, code: str) -> None:
    found, known = resolve(name)
    assert (found.code, known) == (code, True)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Moon Dust", "moon_dust"),
        ("5-MeO/x", "5_meo_x"),
        ("-!-", "other"),
        ("", "other"),
        (None, "other"),
        ("é", "other"),
    ],
)
def test_unknown_names_become_codes_of_their_own(name: str | None, code: str) -> None:
    found, known = resolve(name)
    assert (found.code, known) == (code, False)
    assert re.fullmatch(r"[a-z0-9_]{1,40}", found.code)
    if code != "other":
        assert found.substance_class == "unknown"


def test_a_long_unknown_name_is_cut() -> None:
    assert resolve("a" * 39 + " bc")[0].code == "a" * 39


def test_what_other_stages_ask_for() -> None:
    assert class_and_unit()["kratom"] == ("kratom", "g")
    assert class_and_unit()["oxycodone"] == ("opioid", "mg")
    assert list(class_and_unit()) == list(registry())
    assert re.fullmatch(r"[0-9a-f]{64}", registry_digest())
