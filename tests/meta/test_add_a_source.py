"""docs/add-a-source.md works as written: its two files make a source that passes the conformance suite."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "add-a-source.md"
BLOCK = re.compile(r"^```python file=(?P<name>\S+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def _copy(folder: Path) -> Path:
    """The project without what a run leaves behind; fixtures of other sources stay out, to be quick."""
    for part in ("src", "schemas", "pyproject.toml"):
        source = ROOT / part
        shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__")) if source.is_dir() else (
            shutil.copy(source, folder / part)
        )
    for part in ("conformance", "studies.py", "tries.py", "fixtures/make.py"):
        source, target = ROOT / "tests" / part, folder / "tests" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return folder


def test_the_example_is_a_source(tmp_path: Path) -> None:
    project = _copy(tmp_path / "project")
    blocks = {match["name"]: match["body"] for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))}
    assert sorted(blocks) == ["src/ingest/decode/sleep/dormo.py", "tests/fixtures/dormo_situations.py"]
    for name, body in blocks.items():
        (project / name).write_text(body, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{project / 'src'}:{project / 'tests'}"}

    def do(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], cwd=project, env=environment, capture_output=True, text=True,
                              check=False, timeout=300)  # fmt: skip

    made = do("tests/fixtures/make.py", "dormo")
    assert made.returncode == 0, made.stderr
    tested = do("-m", "pytest", "tests/conformance", "-k", "dormo", "-p", "no:xdist")  # fmt: skip
    assert tested.returncode == 0, tested.stdout[-3000:] + tested.stderr[-2000:]
    # A row of dots ends in its share of all tests; the last one says that they ran.
    assert tested.stdout.count(".") > 20
    shown = do("-m", "ruff", "check", *blocks)
    assert shown.returncode == 0, shown.stdout
    listed = do("-c", "from ingest.report.formats import render; print(render())")
    assert "| `dormo` | Dormo CSV |" in listed.stdout
