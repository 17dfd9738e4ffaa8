"""Writes the answers into docs/queries.md: each ```sql block is asked of a study, the ```text block below shows it.

    python scripts/queries.py STUDY

STUDY is a demo study (`ingest demo`) whose key was the one of DEMO_KEY, so that its participants have the page's ids.
Without one it makes it, in a temporary folder.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ingest._core.study import Study, open_study
from ingest.demo.study import make_study
from ingest.pipeline import associate, run
from ingest.publish.query import query

PAGE = Path(__file__).resolve().parents[1] / "docs" / "queries.md"
DEMO_KEY = "5a" * 32
WIDTH = "120"
_ASKED = re.compile(r"^```sql\n(?P<sql>.*?)^```\n\n```text\n(?P<answer>.*?)^```\n", re.MULTILINE | re.DOTALL)


def answers(page: str) -> dict[str, str]:
    """The page's questions with the answers it shows, in their order."""
    return {found["sql"]: found["answer"] for found in _ASKED.finditer(page)}


def ask(study: Study, sql: str) -> str:
    """What `ingest query` prints on a terminal of WIDTH columns."""
    stream = io.BytesIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        query(study, sql, "table", stream)
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return stream.getvalue().decode()


def filled(page: str, study: Study) -> str:
    """The page with this study's answers."""
    return _ASKED.sub(lambda found: f"```sql\n{found['sql']}```\n\n```text\n{ask(study, found['sql'])}```\n", page)


def make_demo(root: Path) -> Study:
    """The demo study under DEMO_KEY, taken all the way."""
    make_study(root)
    (root / "identity").mkdir(mode=0o700)
    (root / "identity" / "key").write_text(f"{DEMO_KEY}\n")
    study = open_study(root)
    run(study, _silent)
    associate(study, _silent)
    return study


@contextmanager
def _silent(_title: str, _total: int) -> Iterator[Any]:
    yield lambda: None


def main() -> None:
    """What the Makefile calls."""
    with TemporaryDirectory() as folder:
        study = open_study(Path(sys.argv[1])) if len(sys.argv) > 1 else make_demo(Path(folder) / "study")
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), study), encoding="utf-8")


if __name__ == "__main__":
    main()
