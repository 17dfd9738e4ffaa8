"""One form, several mappings: a visit's diary, drinks and scale stand in one row of the export."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from studies import check_counts, land, make_study, quarantine, rows, run

WHEN: dict[str, Any] = {"participant": "record_id", "date": {"column": "day"}, "date_means": "use_day"}
DRINKS = WHEN | {
    "name": "drinks", "layout": "daily", "items": [{"substance": "alcohol", "amount": "wine", "unit": "g"}],
}  # fmt: skip
COFFEE = WHEN | {
    "name": "coffee", "layout": "daily", "items": [{"substance": "caffeine", "amount": "coffee", "unit": "mg"}],
}  # fmt: skip
NIGHT = WHEN | {"name": "night", "layout": "diary", "diary": {"into_bed": "bed", "try_to_sleep": "lights"}}
SCORE = WHEN | {
    "name": "score", "layout": "scale", "filled_in": {"column": "done"},
    "scale": {"instrument": "PSQI", "total": "psqi"},
}  # fmt: skip
HEADER = "record_id,day,wine,coffee,bed,lights,psqi,done\n"
ROWS = (
    "P01,2026-03-01,14,80,23:00,23:10,7,2\n"  # 1: something for all four
    "P01,2026-03-02,0,,23:00,22:00,,0\n"  # 2: times that cannot be, beside a no that stands
    "P01,2026-03-03,,,,,,2\n"  # 3: nothing
    "P01,2026-02-30,14,80,23:00,23:10,7,2\n"  # 4: no day, for all four
    "P01,2026-03-01,14,80,23:00,23:10,7,2\n"  # 5: the first again
    "P01,2036-03-01,14,80,23:00,23:10,7,2\n"  # 6: told when the owner is known: a day to come
    "P01,2026-03-01,,,,,7,2\n"  # 7: the first one's score again, and nothing else
    "P01,2026-03-04,much,80,,,,\n"  # 8: no amount of wine, but one of coffee
    "P01,2026-03-05,much,,,,x,2\n"  # 9: two faults and nothing else
    "P01,2026-03-06,,,,,8,0\n"  # 10: a score of a form that was not filled in
    "P09,2026-03-07,14,80,,,,\n"  # 11: nobody of this study
)


def test_each_row_is_one_record_whoever_takes_something_from_it(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", logs=[DRINKS, COFFEE, NIGHT, SCORE], refs=("P01",))
    land(root, "_logs/visits.csv", HEADER + ROWS)
    run(root)
    check_counts(root)
    assert rows(root, "select source_row, substance, amount from substance_use order by all") == [
        (1, "alcohol", 14.0), (1, "caffeine", 80.0), (2, "alcohol", 0.0), (8, "caffeine", 80.0),
    ]  # fmt: skip
    assert rows(root, "select night_date from night_diary") == [(date(2026, 3, 1),)]
    assert rows(root, "select source_row, total from scale_response") == [(1, 7.0)]
    told = {(line.locator, line.kind, line.reason) for line in quarantine(root)}
    assert told == {
        ("row 2", "value", "impossible_times"),
        ("row 4, day", "substance_use", "impossible_date"),
        ("row 6, day", "substance_use", "in_the_future"),
        ("row 8, wine", "value", "not_a_number"),
        ("row 9, wine", "substance_use", "not_a_number"),
        ("row 9, psqi", "value", "not_a_number"),
        ("row 11", "substance_use", "unknown_participant"),
    }
    assert len(quarantine(root)) == len(told)
    counts = "select sum(records_read), sum(kept), sum(duplicate), sum(ignored), sum(quarantined) from source_file"
    # Kept 1, 2, 8; duplicates 5, 7; ignored 3, 10; set aside 4, 6, 9, 11.
    assert rows(root, counts) == [(11, 3, 2, 2, 4)]


def test_a_column_that_two_mappings_take_refuses_the_file(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", logs=[DRINKS, DRINKS | {"name": "again"}], refs=("P01",))
    land(root, "_logs/visits.csv", HEADER + ROWS)
    run(root)
    (line,) = quarantine(root)
    assert (line.kind, line.reason) == ("file", "ambiguous_mapping")
    assert "drinks and again" in line.detail
    assert "columns of its own" in line.detail


def test_names_that_stand_twice_are_called_with_their_number(tmp_path: Path) -> None:
    """As in an export whose header holds labels: every form has its own `Date` and `Complete?`."""
    drinks = WHEN | {"name": "drinks", "layout": "daily", "date": {"column": "Date (1)"},
                     "filled_in": {"column": "Complete? (1)"},
                     "items": [{"substance": "alcohol", "amount": "Wine", "unit": "g"}]}  # fmt: skip
    score = SCORE | {"date": {"column": "Date (2)"}, "filled_in": {"column": "Complete? (2)"}}
    root = make_study(tmp_path / "study", logs=[drinks, score], refs=("P01",))
    header = "record_id,Date,Wine,Complete?,Date,psqi,Complete?\n"
    land(root, "_logs/labels.csv", header + "P01,2026-03-01,14,Complete,2026-03-02,7,Complete\n"
         "P01,2026-03-03,14,Incomplete,2026-03-04,,Complete\n")  # fmt: skip
    run(root)
    check_counts(root)
    assert rows(root, "select local_date, amount from substance_use") == [(date(2026, 3, 1), 14.0)]
    assert rows(root, "select answered_on, total from scale_response") == [(date(2026, 3, 2), 7.0)]
    assert rows(root, "select records_read, kept, ignored from source_file where kept = 1") == [(1, 1, 0)]
    plain = {**drinks, "date": {"column": "Date"}}
    other = make_study(tmp_path / "other", logs=[plain], refs=("P01",))
    land(other, "_logs/labels.csv", header + "P01,2026-03-01,14,Complete,2026-03-02,7,Complete\n")
    run(other)
    assert [line.reason for line in quarantine(other)] == ["repeated_column"]
