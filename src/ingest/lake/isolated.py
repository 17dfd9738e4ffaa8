"""One export in a process of its own, whose memory is bounded: what it needs too much of, it alone goes without."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ingest._core import errors
from ingest._core.errors import IngestError, Refused, Transient
from ingest._core.files import storage_error
from ingest._core.logs import log

TOO_LITTLE_MEMORY = "needs_more_memory"
DIED = "decoder_died"
_DONE, _NO_MEMORY = 0, 12
_ENDED_FROM_OUTSIDE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
Counts = dict[str, int]


def isolated(work: Callable[[], Counts], limit_mb: int) -> Counts:
    """What `work` returns, called in a forked process that may take `limit_mb` MB of address space more than this
    one has taken.

    Raises Refused where that was too little or the process died of itself, and the errors of this package that
    `work` raises. Whoever kills the process kills `work` only.
    """
    told, end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(told)
            code = _child(work, limit_mb, end)
        finally:
            os._exit(code)
    os.close(end)
    with os.fdopen(told, "rb") as stream:
        said = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == _DONE:
        return _outcome(said)
    if -code in _ENDED_FROM_OUTSIDE:
        raise Transient("decoding was ended from outside; run again")
    if code in (_NO_MEMORY, -signal.SIGKILL):
        raise Refused(
            TOO_LITTLE_MEMORY,
            f"decoding needs more than the {limit_mb} MB that decode_memory_mb of study.yaml allows; raise it where "
            "there is more, or hand the export in in parts",
        )
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    raise Refused(DIED, f"the process that decoded it died ({how}); please report it with the decoder's version")


def _child(work: Callable[[], Counts], limit_mb: int, end: int) -> int:
    try:
        _bound(limit_mb)
        said: object = work()
    except MemoryError:
        return _NO_MEMORY
    except (IngestError, OSError) as error:
        known = storage_error(error) if isinstance(error, OSError) else error
        if not isinstance(known, IngestError):
            log.error("decoding broke off: %s", type(error).__name__)
            return 1
        said = [type(known).__name__, str(known)]
    with os.fdopen(end, "wb") as stream:
        stream.write(json.dumps(said).encode())
    return _DONE


def _bound(limit_mb: int) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) if sys.platform == "linux" else 0
    most = pages * resource.getpagesize() + (limit_mb << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _outcome(said: bytes) -> Counts:
    outcome = json.loads(said)
    if isinstance(outcome, list):
        name, text = outcome
        raise getattr(errors, name, errors.Terminal)(text)
    found: Counts = outcome
    return found
