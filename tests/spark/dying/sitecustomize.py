"""In Spark's Python workers of a test: whoever first comes to a rename that a file in INGEST_TEST_DOOM names, fails.

`kill-<folder>` ends the worker by SIGKILL, `full-<folder>` has the disk be full, before a file comes to stand in that
folder of a lake. The file goes with it, so that it happens once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

_DOOM = Path(os.environ["INGEST_TEST_DOOM"])


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "os.rename":
        return
    for armed in _DOOM.iterdir():
        what, _, folder = armed.name.partition("-")
        if f"/lake/{folder}/" not in str(arguments[1]):
            continue
        try:
            armed.unlink()
        except FileNotFoundError:
            continue
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, "full")


sys.addaudithook(_hook)
