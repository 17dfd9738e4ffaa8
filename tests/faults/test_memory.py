"""An export that needs more memory than there is: refused alone, tried again when the bound changes."""

from __future__ import annotations

import faulthandler
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest._core.errors import Refused, Transient
from ingest._core.study import open_study
from ingest.lake.isolated import isolated
from ingest.lake.plan import plan
from studies import as_json, command, fitbit_nights, land, make_study, rows, run

NIGHTS = 10
LIMIT_MB = 150
_HEADER = "participant_ref,substance,taken_at,amount,unit,product_form,route,reason\n"


def _study(root: Path, limit_mb: int | None) -> Path:
    make_study(root, refs=("P01", "P02"), **({} if limit_mb is None else {"decode_memory_mb": limit_mb}))
    arrived = datetime(2026, 3, 20, tzinfo=UTC)
    many = "".join(f"P01,kratom,2026-03-01T21:{n % 60:02},2,g,powder,oral,{'x' * 60}{n}\n" for n in range(600_000))
    land(root, "P01/logs/many.csv", _HEADER + many, arrived)
    for number, ref in enumerate(("P01", "P02")):
        nights = fitbit_nights(datetime(2026, 3, 1, 23), NIGHTS, 1000 * (number + 1))
        land(root, f"{ref}/watch/sleep-2026-03-01.json", as_json(nights), arrived)
    return root


@pytest.mark.fault(10)
def test_row_10_what_needs_too_much_memory_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    root = _study(tmp_path / "study", LIMIT_MB)
    # In a process of its own: this one may have room to spare from tests before, which a child of it would use.
    done = command("--study", root, "run")
    assert done.returncode == 0, done.stderr
    refused = "select source, record_kind, reason from quarantine"
    assert rows(root, refused) == [("csv_log", "file", "needs_more_memory")]
    (detail,) = rows(root, "select detail from quarantine")[0]
    assert "decode_memory_mb" in detail
    assert rows(root, "select count(*) from night") == [(2 * NIGHTS,)]
    assert run(root).loaded.exports.total() == 0

    settings = root / "study.yaml"
    settings.write_text(settings.read_text().replace(f"decode_memory_mb: {LIMIT_MB}", "decode_memory_mb: 8000"))
    assert [each.source for each in plan(open_study(root)).wanted] == ["csv_log"]


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        (signal.SIGKILL, Refused, "needs_more_memory"),
        (signal.SIGSEGV, Refused, "decoder_died.*SIGSEGV"),
        (signal.SIGTERM, Transient, "run again"),
    ],
)
def test_a_process_that_dies_is_told_by_how_it_died(how: signal.Signals, kind: type[Exception], said: str) -> None:
    def dies() -> dict[str, int]:
        faulthandler.disable()  # its report would stand among the tests' own
        os.kill(os.getpid(), how)
        return {}

    with pytest.raises(kind, match=said):
        isolated(dies, 64)


def test_errors_of_the_work_are_its_own() -> None:
    def fails() -> dict[str, int]:
        raise Transient("the storage is full; run again")

    with pytest.raises(Transient, match="the storage is full"):
        isolated(fails, 64)
    assert isolated(lambda: {"kept": 3}, 64) == {"kept": 3}


def test_the_bound_changes_no_byte(tmp_path: Path) -> None:
    found = []
    for name, bound in (("without", None), ("with", 4000)):
        root = make_study(tmp_path / name, refs=("P01",), **({} if bound is None else {"decode_memory_mb": bound}))
        (root / "identity" / "key").write_text("5a" * 32 + "\n")
        nights = as_json(fitbit_nights(datetime(2026, 3, 1, 23), 2, 1000))
        land(root, "P01/watch/sleep-2026-03-01.json", nights, datetime(2026, 3, 20, tzinfo=UTC))
        run(root)
        lake = open_study(root).lake
        found.append({path.relative_to(lake): path.read_bytes() for path in lake.rglob("*.parquet")})
    assert found[0] == found[1]
    assert found[0]
