"""docs/faults.md says what is promised, by which tests it is held, and what the last soak found; no more than that."""

from __future__ import annotations

import re
from pathlib import Path

from faults import page

ROWS = page.rows()


def test_the_page_is_current() -> None:
    """Else: `python tests/faults/page.py`."""
    assert (page.DOCS / "faults.md").read_text("utf-8") == page.render(page.soaked())


def test_every_row_is_there_once() -> None:
    assert sorted(ROWS) == list(range(1, 80))
    text = (page.DOCS / "faults.md").read_text("utf-8")
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == list(range(1, 80))


def test_a_row_is_held_by_tests_or_said_to_be_not_built() -> None:
    held = page.held_by_tests()
    assert [row for row, each in sorted(ROWS.items()) if not held.get(row) and not each.get("not_built")] == []


def test_tests_hold_rows_that_exist() -> None:
    assert set(page.held_by_tests()) - set(ROWS) == set()


def test_names_and_marks_are_both_seen(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        "import pytest\n\n\n@pytest.mark.fault(3, 5)\ndef test_x():\n    pass\n\n\ndef test_row_07_y():\n    pass\n\n\n"
        "def test_z():\n    pass\n"
    )
    assert page.held_by_tests(tmp_path / "tests") == {
        3: ["tests/test_a.py::test_x"], 5: ["tests/test_a.py::test_x"], 7: ["tests/test_a.py::test_row_07_y"],
    }  # fmt: skip
