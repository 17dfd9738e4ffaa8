"""`ingest backfill`: what it takes, what it says beforehand, and that order and company change nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest import backfill as backfilling
from ingest._core import clock
from ingest._core.errors import WrongUse
from ingest._core.interval import arrived_interval
from ingest._core.study import open_study
from ingest.backfill import arrived_batches, backfill
from ingest.decode.registry import decoder
from ingest.lake.load import load_batch
from ingest.mart.rebuild import rebuild, stale
from ingest.publish.warehouse import publish_study
from ingest.report.verify import verify
from studies import (
    arguments,
    as_json,
    command,
    files,
    fitbit_nights,
    land,
    make_study,
    pid,
    rows,
    run,
    silent,
    warehouse,
    write_roster,
)

FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 1, 9, tzinfo=UTC)  # where the clock of `command(frozen=True)` stands
HEAD = "participant_ref,substance,taken_at,amount,unit\n"
# The second log says the same of K01 as the first, and the third of K02 as the second.
LOGS = ("K01,kratom,2026-02-03T21:00,3,g\nK02,kratom,2026-02-03T22:00,2,g\n",
        "K01,kratom,2026-02-03T21:00,3,g\nK02,kratom,2026-02-04T22:00,2,g\n",
        "K01,kratom,2026-02-05T21:00,3,g\nK02,kratom,2026-02-04T22:00,2,g\n")  # fmt: skip
DAYS = len(LOGS)
EXAMPLES = 30 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which an export of K01 and a study-wide log arrived on each of three days, and one of K02."""
    root = make_study(tmp_path_factory.mktemp("backfill") / "study", refs=("K01", "K02"))
    with pytest.MonkeyPatch.context() as patch:
        for day, log in enumerate(LOGS):
            at = FIRST + timedelta(days=day)
            patch.setattr(clock, "now", lambda at=at: at)
            nights = fitbit_nights(datetime(2026, 2, 1 + 3 * day, 23), 3, 1000 + 100 * day)
            land(root, f"K01/{day}/sleep-2026-02-01.json", as_json(nights), at)
            land(root, f"_logs/log-{day}.csv", HEAD + log, at)
            if day == 0:
                land(root, "K02/sleep-2026-02-01.json", as_json(fitbit_nights(datetime(2026, 2, 20, 23), 1, 7000)), at)
            run(root)
    return root


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "study", copy_function=shutil.copy2)


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: LATER)


def day(n: int) -> str:
    return f"{FIRST + timedelta(days=n):%Y-%m-%d}"


def said(root: Path, dry_run: bool = False, **options: Any) -> list[str]:
    return list(backfill(open_study(root), options.get("arrived"), options.get("nights"),
                         options.get("participants", ()), options.get("sources", ()), dry_run, silent))  # fmt: skip


def corrected(root: Path) -> Path:
    """Both live in another zone than was thought: every log's times are others, and their exports' inputs."""
    write_roster(root, {"K01": "Europe/London", "K02": "Europe/London"})
    return root


def content(root: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    return files(root / "lake"), warehouse(root)


def test_the_command_takes_dates_instants_refs_and_ids(study: Path) -> None:
    before = content(study)
    done = command("--study", study, "backfill", "--arrived", day(0), day(1), "--participant", "K01", "--participant",
                   pid(study, "K02"), "--source", "fitbit")  # fmt: skip
    assert done.stdout.splitlines()[0].startswith(f"3 exports arrived from {day(0)} to {day(1)} (UTC)")
    assert "decoded again: 3 loaded, 0 partial, 0 ignored, 0 refused" in done.stdout
    assert content(study) == before


def count(root: Path, **options: Any) -> int:
    return int(said(root, True, **options)[0].split()[0])


def test_dates_belong_to_the_interval_and_the_last_instant_does_not(made: Path) -> None:
    # Three exports on the first day, two on each other day; all of a source's later logs come with one.
    assert count(made, arrived=(day(0), day(0))) == 3 + 2
    assert count(made, arrived=(day(2), day(2))) == 2
    assert count(made, arrived=(f"{day(0)}T12:00Z", f"{day(1)}T12:00Z"), sources=["fitbit"]) == 2
    assert count(made, arrived=(f"{day(0)}T12:00:00.000001Z", f"{day(1)}T12:00Z"), sources=["fitbit"]) == 0
    assert count(made, arrived=(f"{day(0)}T14:00+02:00", day(1)), sources=["fitbit"]) == 3
    assert arrived_interval("2026-03-01", "2026-03-01").end == datetime(2026, 3, 2, tzinfo=UTC)


def test_a_participants_study_wide_logs_come_along(made: Path) -> None:
    # The log of the second day has nothing new of K01, but stands after the first.
    assert count(made, arrived=(day(0), day(0)), participants=["K02"]) == 1 + 3
    assert count(made, arrived=(day(1), day(1)), participants=["K01"]) == 1
    assert count(made, arrived=(day(1), day(1)), participants=["K02"]) == 2


def test_nights_are_of_the_range_and_of_the_source(made: Path) -> None:
    both = ("2026-02-01", "2026-02-20")
    assert count(made, nights=both) == 2
    assert count(made, nights=both, sources=["fitbit"]) == 2
    assert count(made, nights=both, sources=["oura"]) == 0
    assert count(made, nights=("2026-02-10", "2026-02-19")) == 0
    assert said(made, True, nights=("2026-02-20", "2026-02-20"))[0].endswith(f": {pid(made, 'K02')}")
    assert count(made, nights=both, participants=["K01"]) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "either --arrived FROM TO or --nights FROM TO"),
        ({"arrived": (day(0), day(1)), "nights": (day(0), day(1))}, "either"),
        ({"nights": ("2026-03-02", "2026-03-01")}, "ends before it begins"),
        ({"arrived": ("2026-03-02", "2026-03-01")}, "ends before it begins"),
        ({"arrived": ("2026-03-01T12:00Z", "2026-03-01T12:00Z")}, "ends before it begins"),
        ({"arrived": ("2026-03-01T12:00", "2026-03-02")}, "FROM: an instant needs its offset"),
        ({"arrived": ("2026-03-01", "tomorrow")}, "TO: expected a date like 2026-03-01 or an instant"),
        ({"arrived": ("2026-03-01", "9999-12-31")}, "TO: expected a date"),
        ({"nights": ("2026-03-01T12:00Z", "2026-03-02")}, "nights have dates"),
        ({"nights": ("2026-02-30", "2026-03-02")}, "nights have dates"),
        ({"nights": (day(0), day(1)), "sources": ["fitbitt"]}, "did you mean fitbit\\?"),
        ({"nights": (day(0), day(1)), "participants": ["K1"]}, "did you mean K0"),
        ({"nights": (day(0), day(1)), "participants": ["zzzz"]}, "nobody of roster.csv is zzzz$"),
    ],
)
def test_what_cannot_be_meant_is_refused(made: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(WrongUse, match=told):
        said(made, **options)


def test_a_dry_run_says_what_a_new_decoder_would_change_and_touches_nothing(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = decoder("fitbit").version
    before = files(study)
    assert said(study, True, arrived=(day(0), day(2)))[1:] == [
        f"  csv_log version {decoder('csv_log').version}: 0 exports would change, 3 come out the same: "
        + " ".join(ids(study, "_logs")),
        f"  fitbit version {old}: 0 exports would change, 4 come out the same: " + " ".join(ids(study, "K")),
        "0 participants would be rebuilt, 0 of them for other reasons",
        "dry run: nothing was changed",
    ]
    monkeypatch.setattr(decoder("fitbit"), "version", "99")
    lines = said(study, True, arrived=(day(1), day(2)), participants=["K01"], sources=["fitbit"])
    assert lines[1].startswith(f"  fitbit version {old} -> 99: 2 exports would change, 0 come out the same: ")
    assert lines[2:] == [f"1 participants would be rebuilt, 0 of them for other reasons: {pid(study)}",
                         "dry run: nothing was changed"]  # fmt: skip
    assert files(study) == before
    done = said(study, arrived=(day(1), day(2)), participants=["K01"], sources=["fitbit"])
    assert done[1] == "decoded again: 2 loaded, 0 partial, 0 ignored, 0 refused"
    found = rows(
        study, "select decoder_version, count(*) from source_file where source = 'fitbit' group by 1 order by 1"
    )
    assert sorted(found) == sorted([(old, 2), ("99", 2)])
    assert verify(open_study(study)) == []


def ids(root: Path, folder: str) -> list[str]:
    with backfilling.open_arrivals(open_study(root)) as store:
        return [each.source_file_id[:12] for each in store.present() if each.folder.startswith(folder)]


def test_a_dry_run_says_why_nights_would_be_rebuilt(study: Path) -> None:
    span = ("2026-02-01", "2026-02-09")
    assert said(study, True, nights=span)[1:] == [
        "  1 are up to date and would come out the same",
        "0 participants without such a night are stale and would be rebuilt, too",
        "dry run: nothing was changed",
    ]
    write_roster(study, {"K01": "Europe/London", "K02": "Europe/London"})
    before = files(study)
    mine, other = pid(study), pid(study, "K02")
    assert said(study, True, nights=span)[1:] == [
        "  0 are up to date and would come out the same",
        f"  1: roster entry changed: {mine}",
        f"  1: time zone changed: {mine}",
        f"1 participants without such a night are stale and would be rebuilt, too: {other}",
        "dry run: nothing was changed",
    ]
    assert files(study) == before


def test_nights_are_rebuilt_whatever_their_staleness_says(study: Path) -> None:
    before = content(study)
    part = study / "lake" / "night" / f"participant_id={pid(study)}" / "part.parquet"
    shutil.copy(study / "lake" / "night" / f"participant_id={pid(study, 'K02')}" / "part.parquet", part)
    run(study)
    assert files(study / "lake") != before[0]  # nothing says that it is stale
    assert said(study, nights=("2026-02-20", "2026-02-20"), participants=["K01"])[1].startswith("rebuilt 1 ")
    assert content(study) == before


intervals = st.lists(
    st.tuples(st.integers(0, DAYS - 1), st.integers(0, DAYS - 1)).map(sorted), min_size=2, max_size=3, unique_by=tuple
)


def did(made: Path, root: Path, spans: Sequence[Sequence[int]]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """As Airflow's tasks do it: each backfill decodes and rebuilds; here all is published at the end."""
    study = open_study(corrected(shutil.copytree(made, root, copy_function=shutil.copy2)))
    for first, last in spans:
        start, end = FIRST + timedelta(days=first), FIRST + timedelta(days=last + 1)
        load_batch(study, chain(*arrived_batches(study, start, end)))
        rebuild(study, stale(study))
    publish_study(study)
    return content(root)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(intervals)
@example([[2, 2], [0, 1]])
def test_overlapping_backfills_in_any_order_end_in_the_same_bytes(
    made: Path, tmp_path_factory: pytest.TempPathFactory, spans: list[list[int]]
) -> None:
    root = tmp_path_factory.mktemp("orders")
    orders = list(permutations(spans))
    first, last = did(made, root / "a", orders[0]), did(made, root / "b", orders[-1])
    assert first == last
    if {n for a, b in spans for n in range(a, b + 1)} == set(range(DAYS)):
        corrected(shutil.copytree(made, root / "run", copy_function=shutil.copy2))
        run(root / "run")
        assert content(root / "run") == first


def test_backfills_beside_each_other_end_in_the_same_bytes(made: Path, tmp_path: Path) -> None:
    # Copies have other inodes: both take them up first, and settle at once.
    alone = did(made, tmp_path / "alone", [(0, 2)])
    root = corrected(shutil.copytree(made, tmp_path / "beside", copy_function=shutil.copy2))
    both = [subprocess.Popen(arguments("--study", root, "backfill", "--arrived", day(a), day(b), frozen=True),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for a, b in ((0, 1), (1, 2))]  # fmt: skip
    ends = [(each.communicate(timeout=120)[1], each.returncode) for each in both]
    # One may find the warehouse busy, which is no fault: it says so and the next run publishes.
    assert all(code in (0, 4) and "Traceback" not in text for text, code in ends), ends
    run(root)
    assert content(root) == alone
    assert verify(open_study(root)) == []
