"""docs/operations.md: backup and restore as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from studies import COMMAND, PROJECT, files, run, warehouse

PAGE = PROJECT / "docs" / "operations.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_a_backup_restored_elsewhere_is_the_study(demo_done: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_done, tmp_path / "my-study")
    done = subprocess.run(
        ["/bin/bash", "-eu"], input="".join(BLOCKS), cwd=tmp_path, text=True, capture_output=True, check=False,
        env={"PATH": f"{COMMAND.parent}:/usr/bin:/bin", "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"decoded +0 exports", done.stdout), done.stdout
    assert re.search(r"rebuilt +0 participants", done.stdout), done.stdout
    restored = tmp_path / "restored"
    assert warehouse(restored) == warehouse(demo_done)
    before = files(demo_done / "lake")
    assert {name: data for name, data in files(restored / "lake").items() if name in before} == before
    assert files(restored / "landing") == files(demo_done / "landing")
    again = run(restored)
    assert (again.loaded.exports.total(), again.rebuilt.participants) == (0, [])
