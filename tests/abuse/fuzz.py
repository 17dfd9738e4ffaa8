"""Mutated fixtures against every decoder: `python tests/abuse/fuzz.py --inputs N [--seed S] [--workers W] [--to DIR]`.

Each input is a fixture bent in one to four ways: bits flipped, bytes cut, repeated, taken from another file, numbers
made huge, values of another type, nesting without end, bytes that no text has. It is claimed, decoded and harmonised as
a load does it. A fault is any error but the project's own, counts that do not add up, more CPU time or memory than an
input of its size may cost. With `--to`, the figures go to fuzz.json and, in words, to fuzz.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from exports import Came, Export, exports, taken
from ingest._core.errors import IngestError

CPU_S = 20
"""CPU seconds after which an input of at most `LARGEST` bytes counts as one that hangs."""
LARGEST = 1 << 18
GROWTH_MB = 400
"""By how much the memory of a process may grow while it decodes inputs of this size, one after the other."""
_WARM = 200
_EVERY = 500
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_VALUE = re.compile(rb'"[^"\\]*"(?!\s*:)|(?<=[:,])\s*-?\d[\d.]*')
_NUMBERS = (b"0", b"-1", b"1e400", b"-1e308", b"9" * 40, b"9223372036854775808", b"-9223372036854775809",
            b"2147483648", b"0.0000000001", b"NaN", b"Infinity", b"253402300800000", b"1e18", b"00", b"1_000",
            b"0x10", b"")  # fmt: skip
_TYPES = (b"null", b"true", b"[]", b"{}", b'""', b"0", b'[{"a":[null]}]', b'"2026-02-30T25:61:00"', b'"9999-12-31"',
          b'"0001-01-01T00:00:00Z"', b'"2026-03-29T02:30:00.000"', b'"\\ud800"', b'"\\u0000"')  # fmt: skip
_STRANGE = (b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n\n", b'"', b"'", b",", b";", b"\t", b"<",
            b"]]>", b"&x;", "\u2028".encode(), "\u0661\u0662".encode(), b"\x1a", b"\\", b"--", b"=1+1")  # fmt: skip
Way = Callable[[random.Random, bytes, bytes], bytes]


def _flip(rng: random.Random, data: bytes, other: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def _cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data))] if rng.random() < 0.7 else data[rng.randrange(len(data)) :]


def _drop(rng: random.Random, data: bytes, other: bytes) -> bytes:
    begin, length = _stretch(rng, data)
    return data[:begin] + data[begin + length :]


def _repeat(rng: random.Random, data: bytes, other: bytes) -> bytes:
    begin, length = _stretch(rng, data)
    return data[:begin] + data[begin : begin + length] * rng.choice((2, 3, 50)) + data[begin + length :]


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    begin, length = _stretch(rng, data)
    at, more = _stretch(rng, other)
    return data[:begin] + other[at : at + more] + data[begin + length :]


def _number(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return _replace(rng, data, _NUMBER, _NUMBERS)


def _type(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return _replace(rng, data, _VALUE, _TYPES)


def _deep(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at, count = rng.randrange(len(data) + 1), rng.choice((10, 70, 5000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"<a>", b"</a>"), (b"(", b")")))
    return data[:at] + opening * count + rng.choice((b"", closing * count)) + data[at:]


def _strange(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_STRANGE) * rng.choice((1, 1, 3)) + data[at:]


def _lines(rng: random.Random, data: bytes, other: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    rng.shuffle(lines) if rng.random() < 0.5 else lines.pop(rng.randrange(len(lines)))
    return b"".join(lines)


WAYS: tuple[Way, ...] = (_flip, _cut, _drop, _repeat, _splice, _number, _number, _type, _type, _deep, _strange, _lines)


def _stretch(rng: random.Random, data: bytes) -> tuple[int, int]:
    begin = rng.randrange(len(data))
    return begin, min(rng.choice((1, 4, 30, 300)), len(data) - begin)


def _replace(rng: random.Random, data: bytes, pattern: re.Pattern[bytes], by: tuple[bytes, ...]) -> bytes:
    begin = rng.randrange(len(data))
    match = pattern.search(data, begin) or pattern.search(data)
    return data if match is None else data[: match.start()] + rng.choice(by) + data[match.end() :]


def bent(seed: int, number: int) -> Export:
    """The input of a number: the same for the same seed, of each source in turn."""
    rng = random.Random(f"{seed}/{number}")
    sources = sorted({each.source for each in exports()})
    own = [each for each in exports() if each.source == sources[number % len(sources)]]
    export = rng.choice(own)
    name = rng.choice([name for name, data in export.files.items() if data] or list(export.files))
    data = export.files[name]
    donor = rng.choice(list(rng.choice(own if rng.random() < 0.7 else exports()).files.values())) or b"x"
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(WAYS)(rng, data or b"x", donor)[:LARGEST]
    return export.with_file(name, data)


class Hangs(BaseException):
    """No error a decoder may catch."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise Hangs


def wrong(came: Came) -> str | None:
    """What of the counts does not add up; None where all do."""
    for decoded in came.decoded:
        tally = decoded.tally
        fates = (tally.kept, tally.duplicate, tally.ignored.total(), tally.quarantined)
        if min(fates) < 0 or tally.read != sum(fates):
            return f"read {tally.read}, fates {fates}"
    return None


@dataclass
class Found:
    """What became of some inputs; `faults` are numbers of inputs with what was wrong."""

    inputs: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    grown_mb: float = 0


def tried(seed: int, numbers: range) -> Found:
    """These inputs, one after the other, in this process."""
    found = Found()
    signal.signal(signal.SIGVTALRM, _stop)
    first = 0.0
    for count, number in enumerate(numbers):
        export = bent(seed, number)
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)
        try:
            came = taken(export, archived=number % 2 == 1)
            problem = wrong(came)
            found.fates["rows" if came.tables else "refused"] += 1
        except IngestError:
            problem = None
            found.fates["refused"] += 1
        except Hangs:
            problem = f"more than {CPU_S} CPU seconds"
        except Exception as error:  # noqa: BLE001 - each is a fault, and told
            place = traceback.extract_tb(error.__traceback__)[-1]
            problem = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {str(error)[:80]}"
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        found.inputs += 1
        if problem:
            found.faults.append((number, f"{export.source} {export.situation}: {problem}"))
        if count == min(_WARM, len(numbers) // 2):
            first = _memory_mb()
        elif count > _WARM and count % _EVERY == 0:
            found.grown_mb = max(found.grown_mb, _memory_mb() - first)
    found.grown_mb = max(found.grown_mb, _memory_mb() - first)
    return found


def _memory_mb() -> float:
    said = Path("/proc/self/status").read_text()
    return int(said.split("VmRSS:")[1].split()[0]) / 1024


def _share(given: tuple[int, range]) -> Found:
    os.nice(10)
    return tried(*given)


def together(seed: int, inputs: int, workers: int) -> Iterator[Found]:
    """The same shared out among processes, each of which ends after ten thousand inputs."""
    shares = [(seed, range(begin, min(begin + 10_000, inputs))) for begin in range(0, inputs, 10_000)]
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(_share, shares)


def in_words(figures: dict[str, object]) -> str:
    """The figures as docs/fuzz.md shows them."""
    return (
        f"{figures['inputs']:,} inputs of seed {figures['seed']}: {figures['rows']:,} gave rows, "
        f"{figures['refused']:,} were refused whole, {figures['faults']} faults; a process grew by "
        f"{figures['grown_mb']} MB at most."
    )


def main() -> int:
    """Tries what is asked for and says what became of it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--inputs", type=int, default=1_000_000)
    asked.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(30))
    asked.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked.add_argument("--minutes", type=float, default=10_000)
    asked.add_argument("--to", type=Path)
    said = asked.parse_args()
    total, until = Found(), time.monotonic() + said.minutes * 60
    for found in together(said.seed, said.inputs, said.workers):
        total.inputs += found.inputs
        total.fates += found.fates
        total.faults += found.faults
        total.grown_mb = max(total.grown_mb, found.grown_mb)
        print(
            f"{total.inputs} of {said.inputs}, {len(total.faults)} faults, seed {said.seed}",
            file=sys.stderr,
            flush=True,
        )
        if time.monotonic() > until:
            break
    figures = {
        "inputs": total.inputs,
        "seed": said.seed,
        "rows": total.fates["rows"],
        "refused": total.fates["refused"],
        "faults": len(total.faults),
        "grown_mb": round(total.grown_mb),
    }
    print(in_words(figures))
    for number, what in sorted(total.faults):
        print(f"input {number}: {what}")
    if said.to:
        (said.to / "fuzz.json").write_text(json.dumps(figures, indent=1) + "\n")
        page = said.to / "fuzz.md"
        text = re.sub(r"(?s)(<!-- figures -->\n).*?(\n<!-- /figures -->)", lambda m: m[1] + in_words(figures) + m[2],
                      page.read_text())  # fmt: skip
        page.write_text(text)
    return int(bool(total.faults) or total.grown_mb > GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
