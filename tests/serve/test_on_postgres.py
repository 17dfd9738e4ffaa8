"""The server on a warehouse of PostgreSQL: its answers are those on a DuckDB file, byte by byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faults.small import FROZEN
from ingest._core import clock
from ingest._core.study import open_study
from ingest.publish.warehouse import publish_study
from serve.running import all_answers, running
from studies import change_settings, pid


def test_each_answer_is_that_on_a_file(
    demo_done: Path, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = {"file": tmp_path / "a" / "study", "server": tmp_path / "b" / "study"}
    with monkeypatch.context() as patched:
        patched.setattr(clock, "now", lambda: FROZEN)  # pages say when they were published
        for name, root in roots.items():
            shutil.copytree(demo_done, root)
            (root / "warehouse.duckdb").unlink()
            limits = {"min_participants": 2, "round_to": 1, "digits": 15}
            change_settings(root, small_cells=limits, **({"warehouse": postgres} if name == "server" else {}))
            publish_study(open_study(root))
    found = {}
    for name, root in roots.items():
        with running(root, tmp_path / f"{name}.log") as server:
            found[name] = all_answers(server, pid(root, "K01"))
    assert found["file"].keys() == found["server"].keys()
    assert sum(path.endswith(".csv") for path in found["file"]) > 10
    assert b"K01" not in b"".join(found["server"].values())
    assert pid(roots["server"], "K01").encode() in found["server"]["/participants"]
    assert [path for path, body in found["file"].items() if body != found["server"][path]] == []
