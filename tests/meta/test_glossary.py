"""docs/glossary.md explains exactly the words that the code writes and the schemas allow."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pyarrow.parquet as pq

from ingest._core.study import open_study
from ingest.decode.log._words import DROPPED
from ingest.decode.model import SESSION_FLAGS
from ingest.demo.study import make_study
from ingest.harmonise.checks import RULES
from ingest.harmonise.diaries import DIARY_CHECKS
from ingest.harmonise.units import why_no_mme
from ingest.harmonise.uses import USE_CHECKS
from ingest.mart._log import PARTS
from ingest.pipeline import run

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FIRST_CELL = re.compile(r"^\| `(?P<word>[^`]+)` \|", re.MULTILINE)


def glossary_flags() -> set[str]:
    _, _, section = (DOCS / "glossary.md").read_text(encoding="utf-8").partition("\n## Flags\n")
    return {match["word"] for match in FIRST_CELL.finditer(section)}


def _constants(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def _written_flags(tree: ast.AST) -> Iterator[str]:
    """Words the module puts into flags, in any of the ways in which the stages do it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _of_assignment(target, node.value)
        elif isinstance(node, ast.keyword) and node.arg == "flags" and isinstance(node.value, ast.Dict):
            yield from _keys(node.value)
        elif isinstance(node, ast.Dict):
            yield from _of_column(node)


def _of_call(node: ast.Call) -> set[str]:
    """`flags.add(word)`, and the last argument of the calls that drop free text."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "add":
        owner = ast.unparse(node.func.value)
        return _constants(node.args[0]) if re.search(r"\bflags\b", owner) or owner == "words" else set()
    words = _constants(node.args[-1]) if node.args and isinstance(node.args[-1], ast.Constant) else set()
    return {word for word in words if word.endswith(DROPPED)}


def _of_assignment(target: ast.expr, value: ast.expr) -> Iterator[str]:
    """`flags[word] = mask` and `flags = {word: mask}`."""
    if isinstance(target, ast.Subscript) and re.search(r"\bflags$", ast.unparse(target.value)):
        yield from _constants(target.slice)
    elif ast.unparse(target) == "flags" and isinstance(value, ast.Dict):
        yield from _keys(value)


def _of_column(node: ast.Dict) -> Iterator[str]:
    """`{"flags": [word ...]}`."""
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == "flags" and isinstance(value, ast.ListComp):
            yield from _constants(value)


def _keys(node: ast.Dict) -> Iterator[str]:
    for key in node.keys:
        if isinstance(key, ast.Constant):
            yield str(key.value)


def code_flags() -> set[str]:
    found = {rule.name for rule in RULES if rule.action != "refuse"}
    found |= {check.name for check in USE_CHECKS if check.action == "flag"}
    found |= {check.name for check in DIARY_CHECKS if check.action == "flag"}
    found |= {f"part:{part}" for part in PARTS}
    own = ast.parse((ROOT / "src/ingest/harmonise/units.py").read_text(encoding="utf-8"))
    (reasons,) = [node for node in ast.walk(own)
                  if isinstance(node, ast.FunctionDef) and node.name == why_no_mme.__name__]  # fmt: skip
    found |= {word for word in _constants(reasons) if word.startswith("no_mme_")}
    for stage in ("decode", "harmonise", "mart"):
        for file in sorted((ROOT / "src" / "ingest" / stage).rglob("*.py")):
            found |= set(_written_flags(ast.parse(file.read_text(encoding="utf-8"))))
    return found | SESSION_FLAGS | {"unknown_substance"}


def test_the_glossary_explains_exactly_the_flags_of_the_code() -> None:
    flags = code_flags()
    assert {"merged", "dst_tail_removed", "unknown_stage_label", "zero_amount", "reason_dropped"} <= flags
    assert glossary_flags() == flags


def test_the_glossary_explains_the_flags_of_a_study(tmp_path: Path) -> None:
    study = tmp_path / "study"
    make_study(study, 6, 90)
    run(open_study(study), lambda *_: nullcontext(lambda: None))
    found: set[str] = set()
    for table in ("sleep_session", "substance_use", "night"):
        for file in (study / "lake" / table).rglob("*.parquet"):
            for text in pq.ParquetFile(file).read(["flags"])["flags"].drop_null().to_pylist():
                found |= set(text.split(","))
    assert found
    assert not found - glossary_flags()


def test_the_glossary_has_every_word_of_the_schemas_short_lists() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    tables = sorted(file.stem for file in (ROOT / "schemas").glob("*.json"))
    assert "night_exposure" in tables
    for table in tables:
        for column in json.loads((ROOT / "schemas" / f"{table}.json").read_text(encoding="utf-8"))["fields"]:
            for word in column.get("constraints", {}).get("enum", ()):
                assert f"`{word}`" in text, f"{table}.{column['name']}: {word}"
