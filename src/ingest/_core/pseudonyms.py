"""What is derived from the study's key."""

from __future__ import annotations

import hmac
from hashlib import sha256

from ingest._core.files import digest
from ingest._core.keys import KEY_BYTES, read_key

__all__ = ["KEY_BYTES", "read_key"]


def participant_id(key: bytes, ref: str) -> str:
    """`p` and 20 hexadecimal digits of HMAC-SHA256(key, ref); a letter first, since hive readers count digits."""
    return "p" + hmac.new(key, ref.encode(), sha256).hexdigest()[:20]


def report_secret(key: bytes, ref: str) -> str:
    """What goes into the ids of a participant's reports: 128 bits in hexadecimal digits, written nowhere.

    The first byte is no part of UTF-8, so that it is nobody's pseudonym.
    """
    return hmac.new(key, b"\xff" + ref.encode(), sha256).hexdigest()[:32]


def tombstone_of(key: bytes, participant_id: str) -> str:
    """What stays of who was erased: HMAC-SHA256 of the participant_id, which neither it nor the ref follows from."""
    return hmac.new(key, b"tombstone/" + participant_id.encode(), sha256).hexdigest()


def keyed(key: bytes, *parts: str) -> str:
    """HMAC-SHA256 of the parts, hexadecimal; no two lists of parts share one."""
    return hmac.new(key, b"keyed/" + digest(*parts).encode(), sha256).hexdigest()


def id_in_release(key: bytes, release: str, participant_id: str) -> str:
    """The participant's id in a release that has ids of its own."""
    return "p" + keyed(key, "release", release, "participant", participant_id)[:20]
