"""docs/serve.md: its commands as they stand there."""

from __future__ import annotations

import csv
import io
import re
import shutil
import stat
import subprocess
from pathlib import Path

from studies import COMMAND, PROJECT, rows

PAGE = PROJECT / "docs" / "serve.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
# The ports of the page may be in use on the machine of the tests.
PORTS = {"8321": "18321", "8322": "18322"}


def test_the_page_can_be_typed_in(demo_done: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_done, tmp_path / "my-study")
    typed = "".join(BLOCKS)
    for port, other in PORTS.items():
        typed = typed.replace(port, other)
    first = "curl -sf --retry 150 --retry-all-errors --retry-delay 1 http://127.0.0.1:18321/ > first.html"
    done = subprocess.run(
        ["/bin/bash", "-euc", f"trap 'kill $(jobs -p)' EXIT\n{typed}\n{first}"], cwd=tmp_path, text=True,
        capture_output=True, check=False, timeout=400,
        env={"PATH": f"{COMMAND.parent}:/usr/bin:/bin", "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    token = tmp_path / "serve.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text().strip() not in done.stdout + done.stderr
    assert done.stdout.count("Pages on http://") == 2
    assert "<h1>" in (tmp_path / "first.html").read_text()
    table = "".join(line for line in done.stdout.splitlines(keepends=True) if not line.startswith("Pages on"))
    given = {row["reason"] for row in csv.DictReader(io.StringIO(table))}
    assert given == {reason for (reason,) in rows(demo_done, "select distinct reason from quarantine")}
