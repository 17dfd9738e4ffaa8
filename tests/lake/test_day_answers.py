"""Two exports that speak of the same days, in either order of landing: tests/fixtures/day_answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from decode.log.diary_cases import HEADER, line, mapping
from studies import check_counts, files, land, make_study, rows, run

FOLDER = Path(__file__).parents[1] / "fixtures" / "day_answers"
SITUATIONS = sorted(path.name for path in FOLDER.iterdir())
MADE = {"first": datetime(2026, 5, 1, tzinfo=UTC), "second": datetime(2026, 5, 2, tzinfo=UTC)}
MARTS = ("night_exposure", "use_version", "coverage", "night_diary")
# Nights that only the diary knows, of the dates the situations speak of.
DIARY = "".join(f"{each}\n" for each in (HEADER, line("2026-03-02"), line("2026-03-03")))


def study_of(situation: str, root: Path, order: tuple[str, ...]) -> Path:
    """The situation's exports landed one after the other, with a run after each."""
    logs = json.loads((FOLDER / situation / "logs.json").read_text())
    study = make_study(root, logs=[mapping(), *logs])
    (study / "identity" / "key").write_text("5a" * 32 + "\n")
    land(study, "K01/diary.csv", DIARY, MADE["first"])
    for which in order:
        for path in (FOLDER / situation / which).iterdir():
            land(study, f"K01/{path.name}", path.read_bytes(), MADE[which])
        run(study)
    return study


@pytest.mark.parametrize("situation", SITUATIONS)
def test_two_exports_about_one_day(situation: str, tmp_path: Path) -> None:
    expected = json.loads((FOLDER / situation / "expected.json").read_text())
    study = study_of(situation, tmp_path / "one", ("first", "second"))
    check_counts(study)
    found = rows(study, "select night_date, log_status, amount_day, anchor_basis from night_exposure "
                 "where substance = 'kratom' and anchor = 'usual' order by 1")  # fmt: skip
    assert [[str(night), *said] for night, *said in found] == [[*each, "diary"] for each in expected["nights"]]
    (part,) = (study / "lake" / "use_version").rglob("part.parquet")
    words = pq.ParquetFile(part).read()["day_answer"].to_pylist()
    assert sorted(word for word in words if word is not None) == expected["day_answers"]
    other = study_of(situation, tmp_path / "two", ("second", "first"))
    for mart in MARTS:
        assert files(other / "lake" / mart) == files(study / "lake" / mart), mart


def test_a_night_that_only_the_diary_knows_has_no_measured_onset(tmp_path: Path) -> None:
    study = study_of("a-total-of-timed-doses", tmp_path, ("first", "second"))
    assert rows(study, "select anchor, anchor_basis, anchor_utc, amount_3h, hours_since_last_dose, dosed_during_sleep "
                "from night_exposure where night_date = '2026-03-01' order by 1") == [
        ("onset", None, None, None, None, None),
        # Sleep was tried at 23:20 in Oslo, the last dose taken at 21:30.
        ("usual", "diary", datetime(2026, 3, 1, 22, 20, tzinfo=UTC), 2.0, pytest.approx(110 / 60), None),
    ]  # fmt: skip
    assert rows(study, "select count(*) from night") == [(0,)]
