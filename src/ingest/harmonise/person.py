"""Whose rows they are, as far as harmonising needs to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """A participant: the pseudonym, the study's ref (never written anywhere), the home zone and how it is
    known: `roster` or `assumed`.
    """

    participant_id: str
    ref: str
    zone_name: str
    time_basis: str
