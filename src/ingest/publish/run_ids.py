"""Ids of runs and of entries of the audit, which sort by when they were made."""

from __future__ import annotations

import os
from datetime import datetime

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id(at: datetime) -> str:
    """A ULID: 48 bits of milliseconds and 80 random ones, in Crockford's letters (github.com/ulid/spec)."""
    number = (int(at.timestamp() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join(_LETTERS[(number >> shift) & 31] for shift in range(125, -1, -5))
