"""Who may look: a token, told at the login, then a session of which the browser keeps an id that no page can read.

The token comes in the body of the login or in the header `Authorization`, never in an address, and is kept here as a
hash only. Sessions live in memory and end with the process.
"""

from __future__ import annotations

import hmac
import secrets
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic

from ingest._core.errors import WrongUse
from ingest._core.files import write_bytes

COOKIE = "ingest_session"
SESSION_S = 12 * 3600
LEAST_CHARACTERS = 20
_MOST_SESSIONS = 1000


class Access:
    """Compares tokens and keeps sessions; without a token everybody may look."""

    def __init__(self, token: str | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._token = _hash(token) if token is not None else None
        self._sessions: dict[bytes, float] = {}
        self._clock = clock

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a token."""
        return self._token is None

    def is_token(self, said: str) -> bool:
        """Whether it is the token; takes as long whatever was said."""
        return self._token is not None and hmac.compare_digest(_hash(said), self._token)

    def begin(self) -> str:
        """The id of a new session."""
        now = self._clock()
        self._sessions = {key: end for key, end in self._sessions.items() if end > now}
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        made = secrets.token_urlsafe(32)
        self._sessions[_hash(made)] = now + SESSION_S
        return made

    def end(self, session: str) -> None:
        """Forget a session."""
        self._sessions.pop(_hash(session), None)

    def allows(self, authorization: str | None, session: str | None) -> bool:
        """Whether who sends these may look."""
        if self.is_open:
            return True
        kind, _, said = (authorization or "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(said.strip()):
            return True
        return session is not None and self._sessions.get(_hash(session), 0.0) > self._clock()


def token_of(environment: str | None, file: Path | None) -> str | None:
    """The token of the variable INGEST_SERVE_TOKEN or of a file, which is made where there is none, for its owner
    only; None where neither is named.

    Raises WrongUse for a token that can be guessed or a file that others may read.
    """
    if file is None:
        return None if not environment else _good(environment, "INGEST_SERVE_TOKEN")
    try:
        if not file.exists():
            write_bytes(file, f"{secrets.token_urlsafe(32)}\n".encode(), 0o600)
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise WrongUse(f"--token-file: others may read {file}; `chmod 600` it, better make a new one")
        return _good(file.read_text(encoding="ascii").strip(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"--token-file: {file} cannot be used: {error}") from None


def _good(token: str, where: str) -> str:
    if len(token) < LEAST_CHARACTERS:
        raise WrongUse(f"{where}: expected a token of {LEAST_CHARACTERS} characters or more, got {len(token)}")
    return token


def _hash(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogateescape")).digest()
