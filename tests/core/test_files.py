"""Locks of the study folder."""

from pathlib import Path

import pytest

from ingest._core import files
from ingest._core.errors import Transient


def test_who_waits_for_a_lock_does_not_wait_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_WAIT_S", 0.05)
    with (
        files.locked(tmp_path / ".lock", "the bench"),
        pytest.raises(Transient, match="the bench is busy in another process; run again"),
        files.locked(tmp_path / ".lock", "the bench", wait=True),
    ):
        pytest.fail("two have the lock")
