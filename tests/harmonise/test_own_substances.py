"""Substances that a study adds, and what it adds to those that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decode.log.log_cases import FACTS, PEOPLE, decode
from ingest._core.errors import WrongUse
from ingest._core.settings import Settings
from ingest.harmonise.substances import Own, class_and_unit, registry, registry_digest, resolve
from ingest.harmonise.uses import harmonise_uses
from studies import change_settings, land, make_study, rows, run

AKUAMMA = {"code": "akuamma", "class": "other", "unit": "g", "names": ["Picralima nitida"], "extreme_per_use": 20}
CAPSULES = {"code": "kratom", "names": ["Green Dream"], "mg_per_capsule": 550, "g_per_tsp": 2.4, "extreme_per_use": 25}


def own(*entries: dict[str, Any]) -> Own:
    return Settings.model_validate({"study": "s", "substances": list(entries)}).substances


def uses(log: str, *entries: dict[str, Any]) -> list[dict[str, Any]]:
    decoded = decode("substance,taken_at,amount,unit\n" + log)
    assert decoded.uses is not None
    (table,) = harmonise_uses(decoded.uses, decoded.tally, FACTS, PEOPLE, "P01", own(*entries)).values()
    return table.to_pylist()  # type: ignore[no-any-return]


def test_a_new_substance_is_known_by_all_its_names() -> None:
    for name in ("akuamma", "AKUAMMA", "picralima-nitida"):
        found, known = resolve(name, own(AKUAMMA))
        assert (found.code, found.substance_class, found.unit, known) == ("akuamma", "other", "g", True)
        assert not resolve(name)[1]
    assert class_and_unit(own(AKUAMMA))["akuamma"] == ("other", "g")
    assert "akuamma" not in registry()


def test_uses_of_a_new_substance() -> None:
    log = "Picralima nitida,2026-03-01T20:00,19000,mg\nPicralima nitida,2026-03-01T21:00,20,g\n"
    small, large = uses(log, AKUAMMA)
    assert (small["substance"], small["amount"], small["unit"], small["flags"]) == ("akuamma", 19.0, "g", None)
    assert large["flags"] == "extreme_amount"
    assert [use["substance"] for use in uses(log)] == ["picralima_nitida"] * 2
    assert all("unknown_substance" in use["flags"] for use in uses(log))


def test_a_known_substance_keeps_what_is_known_of_it() -> None:
    found = registry(own(CAPSULES))["kratom"]
    assert (found.substance_class, found.unit, found.mme_reason) == ("kratom", "g", registry()["kratom"].mme_reason)
    assert resolve("ketum", own(CAPSULES))[0] == resolve("green dream", own(CAPSULES))[0] == found


def test_what_the_study_knows_of_its_product() -> None:
    log = "green dream,2026-03-01T20:00,4,capsules\nkratom,2026-03-01T21:00,2,tsp\nkratom,2026-03-01T22:00,25,g\n"
    caps, spoons, much = uses(log, CAPSULES)
    assert (caps["amount"], caps["amount_basis"], caps["amount_reported"]) == (pytest.approx(2.2), "converted", 4.0)
    assert (spoons["amount"], spoons["amount_basis"]) == (pytest.approx(4.8), "converted")
    assert [("extreme_amount" in use["flags"]) for use in (caps, spoons, much)] == [False, False, True]
    bare = uses("kratom,2026-03-01T20:00,4,capsules\n")[0]
    assert (bare["amount"], bare["amount_basis"]) == (None, "no_strength")


def test_an_opioid_of_the_study_has_no_equivalents_and_says_so() -> None:
    new = {"code": "nitazene", "class": "opioid", "unit": "mg"}
    (use,) = uses("nitazene,2026-03-01T20:00,1,mg\n", new)
    assert (use["mme_mg"], use["flags"]) == (None, "no_mme_factor")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"code": "akuamma"}], "akuamma is not in the registry and needs `class` and `unit`"),
        ([{**AKUAMMA, "class": "opiod"}], "no such class of substances: opiod; did you mean opioid"),
        ([{"code": "kratom", "unit": "mg"}], "has kratom with unit g"),
        ([{**AKUAMMA, "names": ["ketum"]}], "substances.0.names.0: this is a name of kratom already"),
        (
            [AKUAMMA, {"code": "seed", "class": "other", "unit": "g", "names": ["Akuamma"]}],
            "substances.1.names.0: this is a name of akuamma already",
        ),
    ],
)
def test_what_contradicts_the_registry_is_wrong(entries: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(WrongUse, match=words):
        registry(own(*entries))


def test_one_entry_for_each_code() -> None:
    with pytest.raises(ValueError, match="same code"):
        own(AKUAMMA, AKUAMMA)


def test_the_digest_tells_studies_apart() -> None:
    digests = {registry_digest(each) for each in ((), own(AKUAMMA), own(CAPSULES), own({**AKUAMMA, "names": []}))}
    assert len(digests) == 4


def test_a_change_in_the_study_decodes_its_logs_again_and_builds_its_marts_anew(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study")
    log = "substance,taken_at,amount,unit\nGreen Dream,2026-03-01T20:00,60,capsules\nwine,2026-03-01T21:00,,\n"
    land(root, "K01/log.csv", log)
    run(root)
    ask = "select substance, amount from substance_use where substance <> 'alcohol'"
    assert rows(root, ask) == [("green_dream", None)]
    assert rows(root, "select rule from safety_signal") == []
    change_settings(root, substances=[CAPSULES])
    assert run(root).loaded.exports["loaded"] == 1
    assert rows(root, ask) == [("kratom", pytest.approx(33.0))]
    assert rows(root, "select rule, about from safety_signal order by all") == [
        ("combined_use", "alcohol,kratom"),
        ("extreme_dose", "kratom"),
    ]


def test_substances_that_contradict_the_registry_stop_the_run(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study")
    land(root, "K01/log.csv", "substance,taken_at\nkratom,2026-03-01T20:00\n")
    change_settings(root, substances=[{"code": "akuamma"}])
    with pytest.raises(WrongUse, match=r"study.yaml line \d+, substances.0: akuamma is not in the registry"):
        run(root)
