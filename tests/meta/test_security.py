"""docs/security.md: each property has its place in the code and its tests, and all of them are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from studies import PROJECT

PAGE = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
QUOTED = re.compile(r"`([^`]+)`")
ROWS = {
    cells[0]: cells
    for line in PAGE.partition("## Properties\n")[2].partition("\n## ")[0].splitlines()
    if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
    and cells[0] != "property"
}  # fmt: skip
MUST_STAND_THERE = {
    "roles", "rows by role", "the warehouse file is closed", "audit", "the audit only grows",
    "identity apart", "nothing personal is decoded", "a planted name goes nowhere", "the key may stand elsewhere",
    "the key may change", "an encrypted lake", "its keys stay in identity/", "encryption is turned on and off",
    "mutated files", "XComs are counts", "passwords are not told",
    "consent by scope and day", "withdrawal holds in a commit", "erasure from all stores", "no table is forgotten",
    "nobody erased returns", "releases elsewhere are found", "small cells", "complementary suppression",
    "releases are not subtracted", "no rows of people in aggregates", "releases fail closed", "no secrets in releases",
    "notice and consents", "shifted dates", "no formulas", "questions only read", "hostile files",
    "no real data in the code", "locked dependencies", "list of parts", "rules on insecure code",
}  # fmt: skip


@cache
def names(path: Path) -> set[str]:
    """Functions, classes and constants of a module's top."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_every_property_stands_there_once() -> None:
    assert set(ROWS) == MUST_STAND_THERE
    listed = [line for line in PAGE.splitlines() if line.startswith("| ") and "::" in line]
    assert len(listed) == len(ROWS)


@pytest.mark.parametrize("row", sorted(ROWS))
def test_a_property_has_its_place_and_its_tests(row: str) -> None:
    _, what, where, tests = ROWS[row]
    assert what
    places, held = QUOTED.findall(where), QUOTED.findall(tests)
    assert places
    assert held
    for place in places:
        module, _, name = place.partition(": ")
        path = PROJECT / "src" / "ingest" / module
        assert path.is_file(), place
        assert name == "*" or name in names(path), place
    for test in held:
        module, _, name = test.partition("::")
        assert name.startswith("test_"), test
        assert name in names(PROJECT / module), test
