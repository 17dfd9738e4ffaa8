"""Whose rows they are, as far as harmonising needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Person:
    """A participant: the pseudonym, the study's ref (never written anywhere), the home zone and how it is
    known: `roster` or `assumed`. `secret`, made with the study's key and written nowhere either, goes into the ids of
    what the participant reports, so that nobody without the key can try which record id of a log made one.
    """

    participant_id: str
    ref: str
    zone_name: str
    time_basis: str
    secret: str = field(repr=False)
