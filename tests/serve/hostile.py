"""Text that a page must not take for markup nor a spreadsheet for a formula, and a server on a study that holds it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import duckdb

TOKEN = "a-token-of-the-tests-0123456789"
SCRIPT = "<script>document.title='taken'</script>"
FORMULA = '=HYPERLINK("http://evil.example")'
TURNED = "\u202eevil"


@dataclass
class Server:
    """A running `ingest serve`; `said` is what it printed when it began, `log` where its log goes."""

    url: str
    said: str
    log: Path
    process: subprocess.Popen[str]


def spoil(root: Path) -> None:
    """Put such text into the warehouse."""
    uses = "SELECT {}(use_id) FROM substance_use WHERE is_current AND local_date IS NOT NULL"
    strange = "UPDATE substance_use SET flags = 'unknown_substance', substance = ? WHERE is_current AND use_id = ({})"
    with duckdb.connect(str(root / "warehouse.duckdb")) as connection:
        connection.execute("UPDATE participant SET arm = ?", [SCRIPT])
        connection.execute(strange.format(uses.format("min")), [FORMULA])
        connection.execute(strange.format(uses.format("max")), [TURNED])
        connection.execute("UPDATE quarantine SET detail = ?", [SCRIPT])
