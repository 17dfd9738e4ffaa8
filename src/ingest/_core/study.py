"""A study is a folder: study.yaml, roster.csv, landing/, lake/, the warehouse, identity/."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ingest._core.ciphers import Cipher
from ingest._core.clock import travelled
from ingest._core.errors import Terminal, WrongUse
from ingest._core.files import inside, locked
from ingest._core.object_files import ObjectPath
from ingest._core.objects import store
from ingest._core.places import Place, with_cipher
from ingest._core.roster import Roster, RosterEntry, load_roster
from ingest._core.settings import Settings, load_settings
from ingest._core.settings_storage import is_url
from ingest._core.tombstones import tombstones

PARTICIPANT_FILES = ("time_zones.csv", "phases.csv", "consents.csv", "roster.csv")
"""Tables that people keep, with a row for each participant or more."""


@dataclass(frozen=True)
class Study:
    """An opened study folder."""

    root: Path
    settings: Settings
    roster: Roster

    @property
    def landing(self) -> Path:
        """The folder in which exports arrive; never written to. Raises Terminal where they arrive elsewhere."""
        if self.landing_url is not None:
            raise Terminal("the landing of this study is no folder but a prefix in an object store")
        return self.root / "landing"

    @property
    def landing_url(self) -> str | None:
        """The prefix in an object store below which exports arrive; None where landing is a folder."""
        said = self.settings.landing
        return said if is_url(said) else None

    @property
    def lake(self) -> Place:
        """Parquet files and their manifests: a folder, or a prefix in an object store; says what opens them."""
        said = self.settings.lake
        bare = ObjectPath(said, store(self.settings.object_storage)) if is_url(said) else self.root / said
        return with_cipher(bare, Cipher(self.identity, self.settings.lake_encryption))

    @property
    def identity(self) -> Path:
        """The key, the link table and the arrivals; mode 0700, files 0600."""
        return self.root / "identity"

    @property
    def warehouse(self) -> Path:
        """The published DuckDB file; raises Terminal where the warehouse is a server's."""
        if self.warehouse_url is not None:
            raise Terminal("the warehouse of this study is no file but a database of a server")
        return inside(self.root, self.settings.warehouse)

    @property
    def warehouse_url(self) -> str | None:
        """The published PostgreSQL database, password and all; None where the warehouse is a file."""
        said = self.settings.warehouse
        return said if "://" in said else None

    def zone_of(self, entry: RosterEntry) -> tuple[str, str]:
        """The participant's zone, with periods of travel as clock.zone takes them, and how it is known: `roster`
        or `assumed`.
        """
        home = entry.time_zone or self.settings.time_zone
        return travelled(home, entry.travel), "assumed" if entry.time_zone is None else "roster"


def open_study(root: Path) -> Study:
    """Read study.yaml, roster.csv and the tables beside it; raises WrongUse where they cannot be used."""
    if not root.is_dir():
        raise WrongUse(f"{root} is no folder; `ingest init DIR` makes a study, `--study DIR` says where it is")
    return Study(root, load_settings(root / "study.yaml"), read_roster(root))


def read_roster(root: Path) -> Roster:
    """The roster of the study in `root` as it stands now; raises WrongUse where a table cannot be used."""
    zones, phases, consents, roster = (root / name for name in PARTICIPANT_FILES)
    return load_roster(roster, zones, phases, consents, tombstones(root / "identity").holds)


def consent_lock(root: Path) -> AbstractContextManager[None]:
    """Held, by one process at a time, while somebody's consent is written down or rows are committed by it."""
    return locked(root / "identity" / ".consent.lock", "the roster", wait=True)
