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
    done = subprocess.run(
        ["/bin/bash", "-euc", f"trap 'kill $(jobs -p)' EXIT\n{typed}"], cwd=tmp_path, text=True, capture_output=True,
        check=False, timeout=120, env={"PATH": f"{COMMAND.parent}:/usr/bin:/bin", "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    token = tmp_path / "serve.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text().strip() not in done.stdout + done.stderr
    said, _, table = done.stdout.partition('"source"')
    assert said.count("Pages on http://") == 2
    given = {row["reason"] for row in csv.DictReader(io.StringIO(f'"source"{table}'))}
    assert given == {reason for (reason,) in rows(demo_done, "select distinct reason from quarantine")}
