"""The study's key, and what is derived from it."""

from __future__ import annotations

import hmac
from hashlib import sha256
from pathlib import Path

from ingest._core.errors import Terminal
from ingest._core.files import digest

KEY_BYTES = 32


def read_key(path: Path) -> bytes:
    """The key in identity/; raises Terminal where it is missing or damaged."""
    try:
        key = bytes.fromhex(path.read_text().strip())
    except FileNotFoundError as error:
        raise Terminal("identity/key is missing; `ingest run` makes one in a new study, else restore it") from error
    except ValueError as error:
        raise Terminal("identity/key is damaged; restore it from your backup") from error
    if len(key) != KEY_BYTES:
        raise Terminal("identity/key is damaged; restore it from your backup")
    return key


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
