"""Which studies this Airflow serves, from the environment: what may be said of each, and how its DAGs are called."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from airflow.sdk import Asset

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Served:
    """A study and how its DAGs run. Without a `name` it is the only one, and the ids are the plain ones."""

    name: str = ""
    folder: str | None = None
    schedule: str = "0 * * * *"
    decode_pool: str = "default_pool"
    mart_pool: str = "default_pool"
    deadline_hours: float | None = None
    pages_url: str | None = None

    def dag_id(self, plain: str) -> str:
        """`ingest_exports`, or `ingest_exports__north` where several studies have DAGs."""
        return f"{plain}__{self.name}" if self.name else plain

    def asset(self, plain: str) -> Asset:
        """`lake` or `warehouse`, of this study."""
        where = f"{self.name}/{plain}" if self.name else plain
        return Asset(self.dag_id(plain), uri=f"x-ingest://{where}", group="ingest")

    @property
    def tags(self) -> list[str]:
        """For the list of DAGs."""
        return ["ingest", self.name] if self.name else ["ingest"]


def studies(environment: Mapping[str, str] = os.environ) -> list[Served]:
    """The studies of INGEST_STUDIES, `name=folder` with commas between or a TOML file; else the one of INGEST_STUDY.

    What holds for all is said as INGEST_SCHEDULE, INGEST_DECODE_POOL, INGEST_MART_POOL, INGEST_DEADLINE_HOURS,
    INGEST_PAGES_URL, what holds for one in its table of the file. Raises ValueError, naming what is wrong and where.
    """
    for_all = {each.name: environment[f"INGEST_{each.name.upper()}"] for each in fields(Served)
               if each.name not in ("name", "folder") and environment.get(f"INGEST_{each.name.upper()}")}  # fmt: skip
    said = environment.get("INGEST_STUDIES", "").strip()
    if not said:
        return [_checked(Served(folder=environment.get("INGEST_STUDY") or None), for_all, "environment")]
    tables = _inline(said) if "=" in said else _from_file(Path(said))
    return [_named(name, {**for_all, **table}) for name, table in tables.items()]


def _inline(said: str) -> dict[str, dict[str, Any]]:
    pairs = [each.strip().partition("=") for each in said.split(",") if each.strip()]
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise ValueError("INGEST_STUDIES: a name stands twice")
    return {name.strip(): {"folder": folder.strip()} for name, _, folder in pairs}


def _from_file(path: Path) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"INGEST_STUDIES: expected name=folder or a TOML file; {path}: {error}") from error
    strange = [name for name, table in tables.items() if not isinstance(table, dict)]
    if strange or not tables:
        raise ValueError(f"{path}: expected a table for each study, like [north]; found {strange or 'nothing'}")
    return tables


def _named(name: str, table: dict[str, Any]) -> Served:
    if not _NAME.fullmatch(name):
        raise ValueError(f"INGEST_STUDIES: a study's name is letters, digits, `_`, `.`, `-`; not {name!r}")
    if not table.get("folder"):
        raise ValueError(f"INGEST_STUDIES: study {name} names no folder")
    return _checked(Served(name=name), table, f"study {name}")


def _checked(served: Served, said: dict[str, Any], where: str) -> Served:
    known = [each.name for each in fields(Served) if each.name != "name"]
    strange = sorted(said.keys() - set(known))
    if strange:
        raise ValueError(f"{where}: no such key {', '.join(strange)}; there are {', '.join(known)}")
    texts = {name: str(value) for name, value in said.items() if name != "deadline_hours"}
    return replace(served, **texts, deadline_hours=_hours(said.get("deadline_hours"), where))


def _hours(said: Any, where: str) -> float | None:
    if said is None:
        return None
    try:
        hours = float(said)
    except (TypeError, ValueError):
        hours = 0.0
    if not hours > 0:
        raise ValueError(f"{where}: deadline_hours: expected a number above 0")
    return hours
