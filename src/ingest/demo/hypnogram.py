"""Nights as the device would see them: stretches of stages with exactly the wake that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from ingest.demo.fitbit_takeout import SHORT_WAKE_S, Run

EPOCH_S = 30
_SHORTEST_LONG = SHORT_WAKE_S // EPOCH_S + 1
_LONGEST_SHORT = SHORT_WAKE_S // EPOCH_S
_SHORT_WAKE_EPOCHS = 20
_CYCLE_EPOCHS = 190


def staged_runs(rng: Generator, asleep: int, awake: int, first: int, last: int) -> tuple[Run, ...]:
    """A staged night of `first` + `asleep` + `awake` + `last` epochs of 30 s.

    `first` and `last` are the wake before sleep onset and after the final awakening; `awake` is the wake
    between them, to the epoch.
    """
    pieces = _with_wakes(_cycles(rng, asleep), _bouts(rng, awake), rng)
    head = [Run("wake", first * EPOCH_S)] if first else []
    tail = [Run("wake", last * EPOCH_S)] if last else []
    return (*head, *pieces, *tail)


def classic_runs(rng: Generator, asleep: int, restless: int) -> tuple[Run, ...]:
    """A night without stages, in minutes: `asleep` minutes asleep, `restless` minutes restless or awake."""
    bouts: list[int] = []
    while sum(bouts) < restless:
        bouts.append(min(int(rng.integers(1, 7)), restless - sum(bouts)))
    if len(bouts) >= asleep:
        bouts = [restless] if restless else []
    cuts = _positions(rng, len(bouts), asleep)
    runs, before = [], 0
    for cut, bout in zip(cuts, bouts, strict=True):
        level = "awake" if bout >= 5 and rng.random() < 0.3 else "restless"
        runs += [Run("asleep", (cut - before) * 60), Run(level, bout * 60)]
        before = cut
    return (*runs, Run("asleep", (asleep - before) * 60))


def _cycles(rng: Generator, asleep: int) -> list[tuple[str, int]]:
    count = max(1, round(asleep / _CYCLE_EPOCHS))
    shares: list[tuple[str, float]] = []
    for i in range(count):
        late = i / count
        jitter = rng.uniform(0.8, 1.2, 4)
        deep, rem = 0.30 * (1 - late), 0.10 + 0.22 * late
        light = 1 - deep - rem
        shares += [
            ("light", light * 0.4 * jitter[0]),
            ("deep", deep * jitter[1]),
            ("light", light * 0.6 * jitter[2]),
            ("rem", rem * jitter[3]),
        ]
    whole = sum(share for _, share in shares)
    pieces, spent, so_far = [], 0, 0.0
    for stage, share in shares:
        so_far += share
        upto = round(asleep * so_far / whole)
        if upto > spent:
            pieces.append((stage, upto - spent))
            spent = upto
    return pieces


def _bouts(rng: Generator, awake: int) -> list[int]:
    """Wake bouts in epochs that sum to `awake`: some short ones, the rest in long ones."""
    short_left = awake if awake < _SHORT_WAKE_EPOCHS + _SHORTEST_LONG else _SHORT_WAKE_EPOCHS
    left = awake - short_left
    bouts = []
    while left:
        bout = min(left, int(rng.integers(_SHORTEST_LONG, 25)))
        bout = left if left - bout < _SHORTEST_LONG else bout
        bouts.append(bout)
        left -= bout
    while short_left:
        bout = min(short_left, 1 + int(rng.integers(0, _LONGEST_SHORT) * rng.random()))
        bouts.append(bout)
        short_left -= bout
    return [bouts[i] for i in rng.permutation(len(bouts))]


def _positions(rng: Generator, count: int, length: int) -> list[int]:
    """`count` different places strictly inside 0..length, in order."""
    return sorted(int(place) + 1 for place in rng.choice(length - 1, size=count, replace=False))


def _with_wakes(pieces: list[tuple[str, int]], bouts: Sequence[int], rng: Generator) -> list[Run]:
    places = _positions(rng, len(bouts), sum(length for _, length in pieces))
    wakes = list(zip(places, bouts, strict=True))
    runs: list[Run] = []
    at = 0
    for stage, length in pieces:
        end = at + length
        while wakes and wakes[0][0] <= end:
            place, bout = wakes.pop(0)
            if place > at:
                runs.append(Run(stage, (place - at) * EPOCH_S))
            runs.append(Run("wake", bout * EPOCH_S, short=bout <= _LONGEST_SHORT))
            at = place
        if end > at:
            runs.append(Run(stage, (end - at) * EPOCH_S))
            at = end
    return runs
