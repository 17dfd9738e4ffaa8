"""The study's key: where it is kept, and how one tells that it is the right one.

`identity/key` holds the key itself, or says where it is: `file:/run/secrets/study-key`, `env:INGEST_KEY`,
`airflow:study_key` (the password of a connection of Airflow). `identity/key-check` holds a keyed hash by which a wrong
key is told before anything is made with it. No message holds a key.
"""

from __future__ import annotations

import hmac
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ingest._core.errors import Terminal, Transient, WrongUse
from ingest._core.files import locked, write_bytes

KEY_BYTES = 32
FORMER, CHECK, MARKER, CHANGED = "former-keys", "key-check", "rekeying", "rekeyed"
_SOURCE = re.compile(r"(file|env|airflow):(\S(?:.*\S)?)")
_NAMES = {"file": re.compile(r"/.+"), "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
          "airflow": re.compile(r"[A-Za-z0-9_.-]{1,200}")}  # fmt: skip
_HELP = "expected file:/PATH, env:VARIABLE or airflow:CONNECTION"
_ask_airflow: list[Callable[[str], str | None]] = []


@contextmanager
def in_use(identity: Path, alone: bool = False) -> Iterator[None]:
    """Held by whatever derives ids and writes them down, and by a change of the key `alone`, which waits for them.

    Raises Transient where the key is being changed, and where what it waits for does not end.
    """
    identity.mkdir(mode=0o700, parents=True, exist_ok=True)
    what = "what works with the key of this study" if alone else "a change of the key of this study"
    with locked(identity / ".key.lock", what, wait=alone, shared=not alone):
        yield


def connections_from(ask: Callable[[str], str | None]) -> None:
    """Within Airflow: `ask` gives the password of a connection by its id, None where there is none."""
    _ask_airflow[:] = [ask]


def read_key(path: Path) -> bytes:
    """The key that `identity/key` holds or points to.

    Raises Terminal where it is missing, damaged or not the study's; Transient while it is being changed.
    """
    if path.with_name(MARKER).exists():
        raise Transient("the key of this study is being changed; if nobody does so now, `ingest rekey` completes it")
    return stored_key(path)


def stored_key(path: Path) -> bytes:
    """The same, also amid a change of the key."""
    try:
        said = path.read_text().strip()
    except FileNotFoundError as error:
        raise Terminal("identity/key is missing; `ingest run` makes one in a new study, else restore it") from error
    except UnicodeDecodeError as error:
        raise Terminal("identity/key is damaged; restore it from your backup") from error
    key = key_at(said) if _SOURCE.fullmatch(said) else _parsed(said, "identity/key")
    check = path.with_name(CHECK)
    if check.exists() and check.read_text().strip() != check_of(key):
        raise Terminal("the key is not the one this study was made with; bring that one back, or `ingest rekey` makes "
                       "everything anew with another")  # fmt: skip
    return key


def key_at(source: str) -> bytes:
    """The key of a source like `env:INGEST_KEY`; raises WrongUse where that is none, Terminal where there is no key."""
    match = _SOURCE.fullmatch(source)
    if match is None or not _NAMES[match[1]].fullmatch(match[2]):
        raise WrongUse(f"no such place of a key: {_HELP}")
    kind, name = match.groups()
    if kind == "env":
        return _parsed(os.environ.get(name), f"the environment variable {name}")
    if kind == "airflow":
        return _parsed(_password(name), f"the password of Airflow's connection {name}")
    try:
        return _parsed(Path(name).read_text(), "the file that identity/key names")
    except (OSError, UnicodeDecodeError) as error:
        raise Terminal("the file that identity/key names cannot be read; mount it, or correct identity/key") from error


def _password(connection: str) -> str | None:
    # As Airflow's own lookup does: the environment first.
    said = os.environ.get(f"AIRFLOW_CONN_{connection.upper()}")
    if said is None:
        return _ask_airflow[0](connection) if _ask_airflow else None
    try:
        found = json.loads(said)
        return str(found["password"]) if isinstance(found, dict) and found.get("password") else None
    except ValueError:
        return unquote(urlsplit(said).password or "") or None


def _parsed(said: str | None, where: str) -> bytes:
    if not said or not said.strip():
        raise Terminal(f"{where} holds no key; it is 64 hexadecimal digits")
    try:
        key = bytes.fromhex(said.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Terminal(f"{where} is damaged: expected 64 hexadecimal digits; restore it from your backup") from None
    return key


def check_of(key: bytes) -> str:
    """What tells a key, and tells nothing of it: HMAC-SHA256 of a constant."""
    return hmac.new(key, b"check", sha256).hexdigest()


def write_check(identity: Path, key: bytes) -> None:
    """Note which key the study is made with; one that stands stays."""
    if not (identity / CHECK).exists():
        write_bytes(identity / CHECK, check_of(key).encode() + b"\n", 0o600)


def former_keys(identity: Path, key: bytes) -> tuple[bytes, ...]:
    """The keys before this one, the latest first: tombstones and what was handed out were made with them."""
    path = identity / FORMER
    found = []
    for line in path.read_text().split() if path.exists() else ():
        found.append(_sealed(key, bytes.fromhex(line)))
        key = found[-1]
    return tuple(found)


def with_former(identity: Path, old: bytes, new: bytes) -> bytes:
    """The text of `former-keys` after a change of the key: each is sealed with the one after it, the latest first."""
    path = identity / FORMER
    before = path.read_text().split() if path.exists() else []
    return "".join(f"{line}\n" for line in [_sealed(new, old).hex(), *before]).encode()


def _sealed(by: bytes, key: bytes) -> bytes:
    # One key covers one other, so that the digits that hide it are used once.
    pad = hmac.new(by, b"former key", sha256).digest()
    return bytes(a ^ b for a, b in zip(pad, key, strict=True))
