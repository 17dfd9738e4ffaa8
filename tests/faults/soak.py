"""`make soak`: the whole crash loop, hundreds of kills and of runs at once; writes what came of it.

docs/faults.json gets the figures, docs/faults.md shows them. `--minutes N` takes up nothing new after N minutes,
`--workers N` says how many studies are broken at a time, `--to FOLDER` writes to another folder than docs/.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import loops, page
from faults.loops import SYSTEM_CALLS, Outcome, Start
from faults.small import copied, events_of, sample
from faults.starts import second_arrival, small_start

_WRITTEN_EVERY_S = 30
INSTANTS, CALLS_EACH, RUNS, BACKFILLS, PAUSES = 200, 8, 60, 30, 40
Fault = tuple[str, Callable[[], Outcome]]
Done = tuple[str, int, int, list[str]]


def planned(fresh: Start, later: Start, folder: Path, chosen: random.Random) -> list[Fault]:
    """Every fault: its kind, and what does it to a copy of a study."""
    found: list[Fault] = []
    for start in (fresh, later):
        copy = copied(start.root, folder / "counted")
        total = events_of(copy)
        shutil.rmtree(copy)
        length = loops.length_of(start, folder)
        seeds = [chosen.getrandbits(30) for _ in range(INSTANTS)]
        found += [("kill at a file event", partial(loops.killed_at_event, start, folder, n + 1)) for n in range(total)]
        found += [("kill at a random instant", partial(loops.killed_at_instant, start, folder, length, seed))
                  for seed in seeds[: INSTANTS // 2]]  # fmt: skip
        found += [("two runs at once", partial(loops.two_runs, start, folder, seed)) for seed in seeds[: RUNS // 2]]
        found += [("run paused while another goes on", partial(loops.paused, start, folder, n))
                  for n in sample(total, PAUSES // 2, seeds[0])]  # fmt: skip
        if shutil.which("strace"):
            found += [("kill at a system call", partial(loops.killed_at_call, start, folder, call, n))
                      for call, most in SYSTEM_CALLS.items()
                      for n in sample(most, CALLS_EACH // 2, seeds[1])]  # fmt: skip
    found += [("two backfills at once", partial(loops.two_backfills, later, folder, chosen.getrandbits(30)))
              for _ in range(BACKFILLS)]  # fmt: skip
    # Runs at once come sooner: also a soak that is cut short has met enough of them.
    return sorted(found, key=lambda fault: chosen.random() * (1 if fault[0].startswith("kill") else 0.55))


def worker(mine: list[Fault], to: Path, until: float) -> None:
    """Do these faults one after the other; a line of JSON for each."""
    with to.open("w") as stream:
        for kind, do in mine:
            if time.monotonic() > until:
                return
            try:
                done = do()
            except BaseException:  # noqa: BLE001 - whatever it is, it is told and counted as a problem
                done = Outcome(0, 0, [traceback.format_exc()])
            said = f"{kind} {do.args[2:]}"  # type: ignore[attr-defined]
            stream.write(
                json.dumps([kind, done.kills, done.pairs, [f"{said}: {each}" for each in done.problems]]) + "\n"
            )
            stream.flush()


def started(faults: list[Fault], folder: Path, workers: int, minutes: float) -> list[int]:
    """Processes that share the faults; each writes a line for every fault it did."""
    until = time.monotonic() + minutes * 60
    children = []
    for n in range(workers):
        child = os.fork()
        if child == 0:
            worker(faults[n::workers], folder / f"worker-{n}.jsonl", until)
            os._exit(0)
        children.append(child)
    return children


def done_by_now(folder: Path) -> list[Done]:
    """Kind, kills, pairs and problems of each fault that was done so far."""
    texts = [path.read_text() for path in sorted(folder.glob("worker-*.jsonl"))]
    return [json.loads(line) for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]


def ended(children: list[int]) -> list[Done]:
    """Take the processes that ended out of the list; those that were lost are a problem."""
    found: list[Done] = []
    for child in list(children):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            children.remove(child)
            if status:
                found.append(("lost", 0, 0, [f"a worker of the soak ended with {os.waitstatus_to_exitcode(status)}"]))
    return found


def figures(done: list[Done], planned_count: int, seconds: float) -> dict[str, object]:
    """What docs/faults.json holds."""
    kinds = sorted({kind for kind, *_ in done})
    problems = [each for *_, found in done for each in found]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "kills": sum(kills for _, kills, _, _ in done),
        "pairs": sum(pairs for _, _, pairs, _ in done),
        "runs_compared": len(done),
        "runs_planned": planned_count,
        "rows_differ": len(problems),
        "by_kind": {kind: sum(each == kind for each, *_ in done) for kind in kinds},
        "strace": shutil.which("strace") is not None,
        "minutes": round(seconds / 60),
        "problems": problems[:50],
    }


def write(found: dict[str, object], to: Path) -> None:
    """The figures and the page that shows them; also while the soak goes on, which may be broken off."""
    (to / "faults.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (to / "faults.md").write_text(page.render(found), encoding="utf-8")


def main() -> int:
    """Returns 1 where anything was lost, doubled or differs."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=10_000)
    asked.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked.add_argument("--to", type=Path, default=page.DOCS)
    asked.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(30))
    said = asked.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        for each in ("fresh", "later", "copies"):
            (folder / each).mkdir()
        fresh = small_start(folder / "fresh")
        later = second_arrival(folder / "later", fresh)
        todo = planned(fresh, later, folder / "copies", random.Random(said.seed))
        print(f"{len(todo)} faults, seed {said.seed}", flush=True)
        children = started(todo, folder, said.workers, said.minutes)
        lost: list[Done] = []
        while children:
            time.sleep(min(_WRITTEN_EVERY_S, said.minutes * 6))
            lost += ended(children)
            found = figures(done_by_now(folder) + lost, len(todo), time.monotonic() - began)
            write(found, said.to)
    print(page.in_words(found))
    for each in found["problems"]:  # type: ignore[attr-defined]
        print(each)
    return int(bool(found["rows_differ"]))


if __name__ == "__main__":
    sys.exit(main())
