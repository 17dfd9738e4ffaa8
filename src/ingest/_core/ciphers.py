"""Keys of the lake's Parquet files: one for each table, derived from the study's key and of no use for anything else.

A key for each table, and not for each file, because DuckDB takes one key for all files that it reads together.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ingest._core.keys import CHECK, MARKER, read_key

_INFO = b"sleep-ingest lake parquet "
_KNOWN: dict[str, bytes] = {}


@dataclass(frozen=True)
class Cipher:
    """What opens a lake's encrypted files. `encrypts`: whether what is written is encrypted, too."""

    identity: Path
    encrypts: bool

    def key_of(self, table: str) -> bytes:
        """The key of a table's files, 32 bytes for AES-256. Raises what `keys.read_key` does."""
        return _expanded(self._study_key(), b"table " + table.encode())

    def key_id(self) -> str:
        """What tells keys apart and tells nothing of them. Raises what `keys.read_key` does."""
        return _expanded(self._study_key(), b"id")[:8].hex()

    def _study_key(self) -> bytes:
        # A key that a connection of Airflow holds is asked for once, not for each file: the check tells it.
        check = self.identity / CHECK
        said = check.read_text().strip() if check.exists() else ""
        if said not in _KNOWN or (self.identity / MARKER).exists():
            key = read_key(self.identity / "key")
            if not said:
                return key
            _KNOWN[said] = key
        return _KNOWN[said]


def _expanded(key: bytes, info: bytes) -> bytes:
    """HKDF-Expand of RFC 5869 to 32 bytes; the study's key is random already, so that nothing has to be extracted."""
    return hmac.new(key, _INFO + info + b"\x01", sha256).digest()
