"""A participant's page of three years: its size, building and drawing it, and many pages beside each other.

    python benchmarks/pages.py [--nights N] [--people N]

Each line is a ratio to a floor of the same run: building, to an empty page with the same scripts in it; drawing, to a
page of one empty chart in the same Chromium; many pages, to one process that writes them one after the other.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _measure import Cost, cpu_seconds, in_own_process, machine, part, run_part, table

REPEATS = int(os.environ.get("BENCHMARK_REPEATS", "5"))
DOSES_A_DAY = 3
"""Besides those of the demo study, so that 1,100 nights have more than 5,000."""
CHROMIUM = "/usr/bin/chromium"


@part
def generate(root: str, nights: int) -> dict[str, Any]:
    """A study of one person with so many nights, taken the whole way."""
    from datetime import UTC, datetime, timedelta

    from ingest._core import clock
    from ingest._core.study import open_study
    from ingest.demo.study import START, make_study
    from ingest.pipeline import associate, run, silent

    clock.now = lambda: datetime(2030, 1, 1, tzinfo=UTC)  # the demo's nights begin in 2026
    make_study(Path(root), 1, nights)
    days = [START + timedelta(n) for n in range(nights)]
    lines = [f"caffeine,{day:%Y-%m-%d}T{hour:02d}:{n % 60:02d},80,mg"
             for n, day in enumerate(days) for hour in (8, 11, 15)[:DOSES_A_DAY]]  # fmt: skip
    (Path(root) / "landing/K01/coffee.csv").write_text("\n".join(["substance,taken_at,amount,unit", *lines]) + "\n")
    done = run(open_study(Path(root)), silent)
    associate(open_study(Path(root)), silent)
    return {"nights": done.rebuilt.nights}


@part
def multiplied(root: str, people: int) -> dict[str, Any]:
    """The warehouse's rows of the one person again for so many."""
    import duckdb

    from ingest._core.study import open_study
    from ingest.erase import tables_of_participants
    from ingest.harmonise.identity import people as known

    refs = [f"C{n:04d}" for n in range(people)]
    path = Path(root) / "roster.csv"
    header, one = path.read_text().splitlines()[:2]
    path.write_text("\n".join([header, one, *(one.replace("K01", ref, 1) for ref in refs)]) + "\n")
    ids = known(open_study(Path(root)))
    own = ids["K01"].participant_id
    with duckdb.connect(f"{root}/warehouse.duckdb") as connection:
        connection.execute("create temp table new (id text)")
        connection.executemany("insert into new values (?)", [[ids[ref].participant_id] for ref in refs])
        for name in tables_of_participants():
            connection.execute(f"insert into {name} select of.* replace (new.id as participant_id) from {name} of, new "
                               f"where of.participant_id = '{own}'")  # fmt: skip
    return {"people": people}


@part
def built(root: str, kind: str) -> dict[str, Any]:
    """The person's page, or an empty one, several times in one process that has its scripts."""
    from ingest._core.study import open_study
    from ingest.harmonise.identity import people
    from ingest.publish.reading import opened
    from ingest.report.pages.bundle import vega
    from ingest.report.pages.page import write_page
    from ingest.report.pages.participant import participant_page

    vega()
    study = open_study(Path(root))
    pid = people(study)["K01"].participant_id
    seconds, size, path = [], 0, Path(root) / f"{kind}.html"
    with opened(study) as reader:
        for _ in range(REPEATS):
            before = cpu_seconds()
            size = write_page(path, empty() if kind == "empty" else participant_page(study, reader, pid))
            seconds.append(cpu_seconds() - before)
        uses = f"select count(*) from substance_use where participant_id = '{pid}' and is_current and not no_use"
        (counts,) = reader.rows(f"select count(*), ({uses}) from night where participant_id = '{pid}'")
    return {"build_cpu_s": median(seconds), "bytes": size, "nights": counts[0], "doses": counts[1]}


def empty() -> Any:
    """A page of one chart without data."""
    import pyarrow as pa

    from ingest.report.pages.page import Chart, Page, Section

    encoding = {"x": {"field": "x", "type": "quantitative"}}
    spec = {"width": "container", "height": 60, "data": {"name": "rows"}, "mark": "point", "encoding": encoding}
    rows = pa.table({"x": pa.array([], pa.float64()), "on": pa.array([], pa.date32())})
    return Page("Empty", [Section("", [Chart("one", "Empty", "Nothing.", spec, ["rows"])])], {"rows": rows})


@part
def drawn(root: str) -> dict[str, Any]:
    """Seconds from asking for a page to its last chart, for both pages in turns."""
    from playwright.sync_api import sync_playwright

    seconds: dict[str, list[float]] = {"page": [], "empty": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(REPEATS):
            for name, found in seconds.items():
                context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
                context.set_default_timeout(240_000)
                page = context.new_page()
                page.goto(f"file://{root}/{name}.html", wait_until="commit")
                page.locator("body[data-drawn='true']").wait_for(state="attached")
                found.append(page.evaluate("Number(document.body.dataset.drawnMs)") / 1000)
                context.close()
        browser.close()
    return {name: median(found) for name, found in seconds.items()}


@part
def written(root: str, workers: int) -> dict[str, Any]:
    """All pages; the highest memory of this process and of its children."""
    import resource

    from ingest._core.study import open_study
    from ingest.report.pages.writing import write_all

    before = perf_counter()
    done = write_all(open_study(Path(root)), workers=workers)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    return {"pages": done.participants, "write_s": perf_counter() - before, "child_mb": children}


def _one(root: str, nights: int) -> None:
    script = str(Path(__file__).resolve())
    made = in_own_process(script, generate.__name__, root=root, nights=nights)
    assert made["nights"] > nights * 0.5, "the nights are there"
    costs: dict[str, Cost] = {name: in_own_process(script, built.__name__, root=root, kind=name)
                              for name in ("page", "empty")}  # fmt: skip
    seen = in_own_process(script, drawn.__name__, root=root) if Path(CHROMIUM).exists() else None
    page, floor = costs["page"], costs["empty"]
    print(table([{
        "page": f"{page['nights']:,} nights, {page['doses']:,} doses",
        "MB": f"{page['bytes'] / 1e6:.2f}",
        "empty MB": f"{floor['bytes'] / 1e6:.2f}",
        "build CPU s": f"{page['build_cpu_s']:.2f}",
        "empty CPU s": f"{floor['build_cpu_s']:.3f}",
        "draw s": f"{seen['page']:.2f}" if seen else "no Chromium",
        "empty draw s": f"{seen['empty']:.2f}" if seen else "",
        "draw ratio": f"{seen['page'] / seen['empty']:.1f}" if seen else "",
    }]))  # fmt: skip


def _many(root: str, nights: int, people: int) -> None:
    script = str(Path(__file__).resolve())
    in_own_process(script, generate.__name__, root=root, nights=nights)
    in_own_process(script, multiplied.__name__, root=root, people=people)
    alone, beside = (in_own_process(script, written.__name__, root=root, workers=count) for count in (1, 2))
    assert alone["pages"] == beside["pages"] == people + 1, "everybody has a page"
    print(table([{
        "pages": f"{people + 1} of {nights} nights",
        "one process s": f"{alone['write_s']:.1f}",
        "two s": f"{beside['write_s']:.1f}",
        "ratio": f"{beside['write_s'] / alone['write_s']:.2f}",
        "peak MB of one": f"{alone['peak_mb']:.0f}",
        "of the parent": f"{beside['peak_mb']:.0f}",
        "of each child": f"{beside['child_mb']:.0f}",
    }]))  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=1100)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--part", nargs=2)
    options = parser.parse_args()
    if options.part:
        run_part(*options.part)
        return
    print(machine(("duckdb", "pyarrow", "vl-convert-python", "playwright")))
    with TemporaryDirectory() as folder:
        _one(f"{folder}/one", options.nights)
        _many(f"{folder}/many", min(options.nights, 120), options.people)


if __name__ == "__main__":
    main()
