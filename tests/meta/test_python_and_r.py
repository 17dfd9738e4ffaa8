"""docs/python-and-r.md: every Python block runs on the demo study and a release of it.

Of the R blocks it is checked that the files, tables, columns and libraries they name exist; where Rscript stands they
are parsed by R, and those whose libraries are installed run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from ingest._core.contract import VIEW, fields, published_tables, tables
from ingest._core.study import open_study
from ingest.publish.warehouse import publish_study
from ingest.report.release import release
from studies import PROJECT, change_settings

PAGE = PROJECT / "docs" / "python-and-r.md"
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
R_LIBRARIES = {"arrow", "dplyr", "DBI", "duckdb", "RPostgres"}
RSCRIPT = shutil.which("Rscript")
BASE_R = {
    "read.csv", "merge", "tapply", "mean", "c", "library", "n", "is.na", "collect", "filter", "select", "summarise",
    "group_by", "tbl", "read_parquet", "open_dataset", "dbConnect", "dbDisconnect", "dbGetQuery",
}  # fmt: skip


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return [match["body"] for match in FENCE.finditer(text) if match["info"] == language]


@pytest.fixture(scope="module")
def home(demo_done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `my-study`, run and released."""
    home = tmp_path_factory.mktemp("notebook")
    shutil.copytree(demo_done, home / "my-study")
    release(open_study(home / "my-study"), "2026-12")
    return home


def python(code: str, folder: Path, **environment: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error::DeprecationWarning", "-"], input=code, cwd=folder, text=True,
                          capture_output=True, check=False, env=os.environ | environment)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


SHOWN = """
assert mean_tst_min.notna().all() and set(mean_tst_min.index) == {True, False}
assert nights["nights"].sum() == len(night) > 100
assert table.num_rows == len(wide) >= len(night)
assert len(weekly) > 20 and weekly.notna().any()
assert bad["bad"].min() > 0
assert longest["tst_min"].tolist() == sorted(night["tst_min"].dropna(), reverse=True)[:5]
assert trend.num_rows > len(night) and trend["sri_28d"].null_count < trend.num_rows
print("all")
"""


def test_the_python_blocks_run_one_after_the_other(home: Path) -> None:
    code = blocks("python")
    assert len(code) == 6
    assert python("\n".join(code) + SHOWN, home) == "all\n"


def test_the_block_for_postgresql_runs(home: Path, postgres: str, tmp_path: Path) -> None:
    shutil.copytree(home / "my-study", tmp_path / "study")
    change_settings(tmp_path / "study", warehouse=postgres)
    publish_study(open_study(tmp_path / "study"))
    (code,) = blocks("python postgresql")
    assert int(python(code + "\nprint(len(night))", tmp_path, SLEEP_DATABASE=postgres)) > 100


def test_every_block_is_checked_here() -> None:
    kinds = {match["info"] for match in FENCE.finditer(PAGE.read_text(encoding="utf-8"))}
    assert kinds == {"python", "python postgresql", "r"}


def test_files_that_r_blocks_name_exist(home: Path) -> None:
    named = [path for block in blocks("r") for path in re.findall(r'"(my-study/[^"]+)"', block)]
    assert len(named) >= 4
    assert [path for path in named if not (home / path).exists()] == []


def test_names_in_r_blocks_are_tables_columns_or_functions(home: Path) -> None:
    columns = {field["name"] for table in [*published_tables(), *tables(VIEW)] for field in fields(table, "publish")}
    for block in blocks("r"):
        code = re.sub(r"#[^\n]*", "", block)
        assert set(re.findall(r"library\((\w+)\)|(\w+)::", code)) <= {
            pair for name in R_LIBRARIES for pair in ((name, ""), ("", name))
        }
        for table in [*re.findall(r'tbl\(\w+, "(\w+)"\)', code), *re.findall(r"FROM (\w+)", code)]:
            assert table in published_tables()
        snake = set(re.findall(r"\b[a-z]+_[a-z0-9_]+\b", re.sub(r'"my-study[^"]*"', "", code)))
        assert snake - columns - BASE_R - {"read_only"} == set()
        assert set(re.findall(r"\$(\w+)", code)) <= columns


def test_columns_of_the_lake_that_the_page_names_are_there(home: Path) -> None:
    found = ds.dataset(home / "my-study" / "lake" / "trend", partitioning="hive").schema.names
    assert {"participant_id", "night_date", "sri_28d"} <= set(found)


def r(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    assert RSCRIPT is not None
    (folder / "block.R").write_text(code, encoding="utf-8")
    return subprocess.run([RSCRIPT, "--vanilla", "block.R"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.skipif(RSCRIPT is None, reason="R is not installed: its blocks are checked by their names only")
def test_r_reads_the_blocks_and_runs_those_it_has_libraries_for(home: Path) -> None:
    ran = 0
    for block in blocks("r"):
        parsed = r(f"invisible(parse(text = {quoted(block)}))", home)
        assert parsed.returncode == 0, parsed.stderr
        needed = set(filter(None, sum(re.findall(r"library\((\w+)\)|(\w+)::", block), ())))
        asked = ", ".join(f'"{name}"' for name in sorted(needed))
        has = r(f"quit(status = !all(c({asked or 'character()'}) %in% rownames(installed.packages())))", home)
        if has.returncode == 0 and "Postgres" not in block:
            done = r(f"{block}\n{''.join(checks(block))}", home)
            assert done.returncode == 0, done.stderr
            ran += 1
    assert ran >= 1  # base R alone reads the CSV


def checks(block: str) -> Iterator[str]:
    if "read.csv" in block:
        yield "stopifnot(nrow(night) > 100, is.numeric(night$tst_min), length(late) == 2, !anyNA(late))\n"
        yield "stopifnot(inherits(night$night_date, 'Date'), !anyNA(night$night_date))\n"


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
