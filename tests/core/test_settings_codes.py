"""A code of study.yaml that nobody knows is told with its line and the nearest one that is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest._core.errors import WrongUse
from ingest._core.settings import load_settings

MAPPING = """logs:
  - name: form
    layout: daily
    date: {column: day}
    date_means: use_day
    items:
      - substance: CODE
        answer: took
"""


def loaded(folder: Path, text: str) -> None:
    (folder / "study.yaml").write_text("study: s\n" + text)
    load_settings(folder / "study.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("exposure:\n  substances:\n    - alcohol\n    - kratm\n",
         "study.yaml line 5, exposure.substances.1: no such substance: kratm; did you mean kratom?"),
        ("exposure:\n  half_lives_h:\n    alcohl: 4\n",
         "study.yaml line 4, exposure.half_lives_h.alcohl: no such substance: alcohl; did you mean alcohol?"),
        ("exposure:\n  dose_bands:\n    kratum: {unit: g, edges: [1]}\n", "line 4, exposure.dose_bands.kratum"),
        ("exposure:\n  dose_bands:\n    kratom:\n      unit: g\n      edges: [2, 1]\n",
         "study.yaml line 6, exposure.dose_bands.kratom.edges: edges must be increasing and not negative"),
        ("phases:\n  substances: [oxycodon]\n", "line 3, phases.substances.0: no such substance: oxycodon; did you"),
        ("phases:\n  classes: [opoid]\n", "line 3, phases.classes.0: no such class of substances: opoid; did"),
        (MAPPING.replace("CODE", "caffeinne"), "line 8, logs.0.items.0.substance: no such substance: caffeinne"),
        ("safety:\n  with_classes:\n    - alcool\n", "safety.with_classes.0: no such class of substances: alcool; did"),
        ("safety:\n  abrupt_stop: {classes: [kratoms]}\n", "did you mean kratom?"),
        ("journals:\n  whoop_questions: {Magnesium: magnesium}\n",
         "line 3, journals.whoop_questions.Magnesium: no such substance: magnesium; a substance of the study's own"),
        ("association:\n  primary:\n    substance: kratm\n    exposure: any_use\n    outcome: tst\n",
         "study.yaml line 4, association.primary.substance: no such substance: kratm; did you mean kratom?"),
        ("exposure:\n  dose_bands:\n    kratom:\n      unit: mg\n      edges: [1]\n",
         "study.yaml line 5, exposure.dose_bands.kratom.unit: amounts of kratom are in g"),
        ("substances:\n  - code: akuamma\n", "study.yaml line 3, substances.0: akuamma is not in the registry and"),
        ("substances:\n  - {code: caffeine}\n  - code: kratom\n    class: opioid\n",
         "study.yaml line 5, substances.1.class: the registry has kratom with class kratom"),
        ("substances:\n  - code: kratom\n    unit: mg\n", "line 4, substances.0.unit: the registry has kratom with"),
        ("substances:\n  - code: akuamma\n    class: opoid\n    unit: g\n",
         "line 4, substances.0.class: no such class of substances: opoid; did you mean opioid?"),
        ("substances:\n  - code: leaf\n    class: other\n    unit: g\n    names:\n      - Akuamma\n      - Ke-tum\n",
         "line 8, substances.0.names.1: this is a name of kratom already; a name means one substance"),
        ("substances:\n  - code: mitra\n    class: other\n    unit: g\n    names: [X1]\n  - code: x1\n"
         "    class: other\n    unit: g\n", "line 7, substances.1.code: this is a name of mitra already"),
        ("time_zone: UTC\nsubstances:\n  - {code: x, class: other, unit: g}\n  - {code: x, class: other, unit: g}\n",
         "study.yaml line 3, substances: two entries of substances have the same code: x"),
        ("logs:\n" + 2 * MAPPING.replace("CODE", "kratom").partition("\n")[2],
         "study.yaml line 2, logs: two entries of logs have the same name: form"),
    ],
)  # fmt: skip
def test_a_code_that_nobody_knows_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(WrongUse) as refused:
        loaded(tmp_path, text)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "exposure: {substances: [kratom, alcohol], half_lives_h: {caffeine: 5}}\n",
        "substances: [{code: magnesium, class: other, unit: mg, names: [mag]}]\nexposure: {substances: [magnesium]}\n",
        "substances: [{code: magnesium, class: other, unit: mg, names: [mag]}]\n" + MAPPING.replace("CODE", "mag"),
        MAPPING.replace("CODE", "thc"),
    ],
)
def test_codes_of_the_registry_and_of_the_study_are_known(tmp_path: Path, text: str) -> None:
    loaded(tmp_path, text)
