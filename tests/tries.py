"""How many examples of a costly property are tried: few in `make test`, more under `make soak`."""

from __future__ import annotations

import os

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"


def tries(few: int) -> int:
    """`few`, or ten times as many under `make soak`."""
    return 10 * few if SOAK else few
