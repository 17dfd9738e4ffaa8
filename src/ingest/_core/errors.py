"""The exception tree. Its classes say what happens next, so callers never read messages.

`Terminal`: the same call will fail again (exit 3, no retry). `Transient`: the same call may work later
(exit 4, retried). `WrongUse`: the person at the terminal can put it right at once (exit 2).
`Refused` is raised inside one file's decoding and ends as a quarantine row; it never stops a run.
"""

from __future__ import annotations


class IngestError(Exception):
    """Base of all errors of this package; `exit_code` is what the command ends with."""

    exit_code = 3


class WrongUse(IngestError):
    """A command, a setting or a roster that cannot be right as it stands."""

    exit_code = 2


class Terminal(IngestError):
    """Will fail again in the same way; needs a person."""


class Transient(IngestError):
    """May succeed when tried again: disk full, lock held, server away."""

    exit_code = 4


class Changed(Transient):
    """A file of landing was written to or replaced while it was read; the next look takes it up as it is then."""


class Unreachable(Transient):
    """A store or server does not answer; whatever else it would be asked for would wait in vain, too."""


class Again(Transient):
    """Likely to succeed when tried again at once: a deadlock that another session won."""


class Refused(IngestError):
    """A file, member or record that cannot be used.

    `reason` is a rule's name, `detail` says what was expected, what came (its kind, never its text) and what
    to do. Neither may hold content or names.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
