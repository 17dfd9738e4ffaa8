"""The demo study with associations, somebody without nights and hostile words, and its pages."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest import pipeline
from ingest._core.study import open_study
from ingest.report.pages.writing import write_all
from studies import rows, run, silent

HOSTILE = "</script><script>document.title='taken'</script> =1+1 \u202enurse {{ 7*7 }}"
SILENT = "K99"


@pytest.fixture(scope="session")
def paged(demo_done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    root = tmp_path_factory.mktemp("paged") / "study"
    shutil.copytree(demo_done, root)
    settings = yaml.safe_load((root / "study.yaml").read_text())
    settings["safety"] = {"contact": HOSTILE, "protocol": HOSTILE}
    (root / "study.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    lines = (root / "roster.csv").read_text().splitlines()
    (root / "roster.csv").write_text("\n".join([*lines, SILENT + "," * lines[0].count(",")]) + "\n")
    run(root)
    pipeline.associate(open_study(root), silent)
    write_all(open_study(root))
    return root


@pytest.fixture(scope="session")
def busy(paged: Path) -> str:
    """participant_id of who answered every instrument and has an open safety signal."""
    found = rows(paged, "select participant_id from scale_response where participant_id in (select participant_id from "
                        "safety_signal where acknowledged_at is null) group by 1 "
                        "order by count(distinct instrument) desc, participant_id")  # fmt: skip
    return str(found[0][0])


def page_of(root: Path, participant_id: str) -> Path:
    return root / "reports" / f"{participant_id}.html"


def embedded(path: Path) -> dict[str, Any]:
    """What stands in a page for its script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def table(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Rows of a dataset as a reader of the page has them: dates as days since 1970-01-01."""
    held = data["tables"][name]
    columns = {}
    for column, kind, values in zip(held["names"], held["types"], held["values"], strict=True):
        words = held["words"].get(column, [])
        is_text = kind == "text"
        columns[column] = [None if v is None else words[v] if is_text else v for v in values]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
