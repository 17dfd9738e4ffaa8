"""What is installed is pinned, hashed and listed, and the rules on insecure code stay on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from studies import PROJECT

LOCK = PROJECT / "requirements.lock"
PIN = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
NOQA = re.compile(r"#\s*noqa(?P<rules>:\s*[A-Z]+[0-9]+(?:\s*,\s*[A-Z]+[0-9]+)*)?(?P<why>.*)")
SOURCES = sorted(path for folder in ("src", "dags") for path in (PROJECT / folder).rglob("*.py"))


def pins(text: str) -> dict[tuple[str, str], set[str]]:
    """Hashes by name and version."""
    starts = [*PIN.finditer(text)]
    ends = [*(match.start() for match in starts[1:]), len(text)]
    return {(match["name"], match["version"]): set(HASH.findall(text[match.start():end]))
            for match, end in zip(starts, ends, strict=True)}  # fmt: skip


TWICE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from sbom import checked, listed
first, second = (listed(Path(sys.argv[2]), Path(sys.argv[3])) for _ in range(2))
assert first == second
print(checked(first), end="")
"""


def test_every_dependency_is_pinned_with_hashes() -> None:
    text = LOCK.read_text(encoding="utf-8")
    assert len(pins(text)) > 100
    assert [pin for pin, hashes in pins(text).items() if not hashes] == []
    assert not re.search(r"://|^--(index|extra|find|trusted)", text, re.MULTILINE)
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if "pip install" in line and "-e ." not in line]
    assert installs
    assert [line for line in installs if "--require-hashes" not in line] == []


def test_the_list_of_parts_has_all_of_the_lock_and_no_address() -> None:
    arguments = [PROJECT / "scripts", LOCK, PROJECT / "pyproject.toml"]
    # Made twice in there: the same bytes, and valid.
    done = subprocess.run([sys.executable, "-c", TWICE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    listed = {
        (each["name"], each["version"]): {one["content"] for one in each["hashes"]} for each in found["components"]
    }
    assert listed == pins(LOCK.read_text(encoding="utf-8"))
    assert found["metadata"]["component"]["name"] == "sleep-ingest"
    assert "timestamp" not in found["metadata"]
    assert "://" not in json.dumps({key: value for key, value in found.items() if key != "$schema"})


def test_the_rules_on_insecure_code_are_on() -> None:
    ruff = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "S" in ruff["select"]
    # Assertions are the one thing that they would forbid everywhere, and that holds mypy's knowledge up.
    assert [rule for rule in ruff["ignore"] if rule.startswith("S") and rule[1:].isdigit()] == ["S101"]
    without = {where for where, rules in ruff["per-file-ignores"].items() if "S" in rules}
    assert without == {"tests/**", "benchmarks/**", "scripts/**"}
    assert "extend-exclude" not in ruff
    assert "exclude" not in ruff


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_rule_is_passed_over_without_saying_why(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := NOQA.search(line):
            assert found["rules"], line
            if re.search(r"\bS[0-9]", found["rules"]):
                assert re.match(r"\s+- \w", found["why"]), line
