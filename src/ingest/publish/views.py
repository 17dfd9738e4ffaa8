"""The warehouse's views for people: one SQL text for DuckDB and PostgreSQL, from views/*.sql.

In a text, the lines between `-- each exposure:` and `-- end` stand once for each substance and unit, those between
`-- each scale:` and `-- end` once for each questionnaire that the study carries to nights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ingest._core import contract
from ingest._core.contract import VIEW
from ingest._core.files import digest
from ingest._core.settings import Settings

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs a SELECT and returns its rows."""
Run = Callable[[str], object]
"""Runs a statement that gives none."""
# What the longest column of an exposure adds to its name; PostgreSQL cuts names after 63 bytes without a word.
_LONGEST = max(
    (len(field["name"]) - len("{exposure}") for field in contract.schemas()["night_wide"]["fields"]), default=0
)
_MAX_NAME = 63 - _LONGEST
_BLOCK = re.compile(r"^ *-- each (exposure|scale):\n(.*?)^ *-- end\n", re.M | re.S)
_SAME = {
    "postgresql": (
        "SELECT coalesce(pg_get_viewdef(to_regclass('{view}')) = pg_get_viewdef(to_regclass('{probe}')), false)"
    ),
    # A view that was just made is not yet in the words of one that was read from a file: names stand in quotes.
    "duckdb": (
        "SELECT count(*) = 2 AND count(DISTINCT replace(replace(replace(sql, '\"', ''), 'TEMP VIEW', 'VIEW'), "
        "'{probe}', '{view}')) = 1 FROM duckdb_views() WHERE view_name IN ('{view}', '{probe}') "
        "AND database_name IN (current_database(), 'temp')"
    ),
}
_GAP = re.compile(r"\{(\w+)\}")
_TYPES = {
    "string": "text",
    "number": "double precision",
    "integer": "bigint",
    "boolean": "boolean",
    "date": "date",
    "instant": "timestamp with time zone",
    "clock": "timestamp",
}


@dataclass(frozen=True)
class Columns:
    """What the columns of night_wide depend on: substances with their units, and recall windows by instrument."""

    exposures: tuple[tuple[str, str], ...]
    recall_days: tuple[tuple[str, int], ...]

    def blocks(self) -> dict[str, list[Mapping[str, str]]]:
        """What to put into the gaps of a block, once for each of its copies."""
        names = exposure_names(self.exposures)
        return {
            "exposure": [
                {"exposure": names[key], "substance": _literal(key[0]), "unit": _literal(key[1])}
                for key in self.exposures
            ],
            "scale": [
                {"scale": name.lower(), "instrument": _literal(name), "days": str(days)}
                for name, days in self.recall_days
            ],
        }


def columns_of(settings: Settings, ask: Ask) -> Columns:
    """The columns for this study: its substances, or those the warehouse holds, in the units the warehouse holds."""
    held = ask("SELECT DISTINCT substance, unit FROM night_exposure")
    chosen = set(settings.exposure.substances)
    exposures = sorted((substance, unit) for substance, unit in held if not chosen or substance in chosen)
    return Columns(tuple(exposures), tuple(sorted(settings.scales.recall_days.items())))


def exposure_names(exposures: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Names like `kratom_g` that SQL takes without quotes and that differ from each other."""
    names: dict[tuple[str, str], str] = {}
    for substance, unit in sorted(exposures):
        name = re.sub(r"[^a-z0-9_]", "_", f"{substance}_{unit}".lower())
        name = f"_{name}" if name[0].isdigit() else name
        if len(name) > _MAX_NAME or name in names.values():
            name = f"{name[: _MAX_NAME - 9]}_{digest(substance, unit)[:8]}"
        names[substance, unit] = name
    return names


def fields(view: str, columns: Columns) -> list[dict[str, Any]]:
    """Fields of a view as it stands in a warehouse with these columns, in the form of `contract.fields`."""
    blocks = columns.blocks()
    before: list[dict[str, Any]] = []
    repeated: dict[str, list[dict[str, Any]]] = {}
    for field in contract.fields(view, contract.PUBLISH):
        if "each" in field:
            repeated.setdefault(field["each"], []).append(field)
        else:
            before.append(field)
    for kind, templates in repeated.items():
        for gaps in blocks[kind]:
            before += [{**each, "name": _filled(each["name"], gaps)} for each in templates]
    return before


def select(view: str, columns: Columns) -> str:
    """The view's SELECT, with its comments."""
    text = (resources.files("ingest.publish") / "views" / f"{view}.sql").read_text(encoding="utf-8")
    blocks = columns.blocks()
    return _BLOCK.sub(lambda found: "".join(_filled(found[2], gaps) for gaps in blocks[found[1]]), text)


def statements(view: str, columns: Columns, name: str | None = None) -> list[str]:
    """Statements that make the view, under its own name or another, with the schema's texts as comments."""
    named = name or view
    schema = contract.schemas()[view]
    wanted = fields(view, columns)
    listed = ", ".join(
        f'CAST("{each["name"]}" AS {_TYPES[contract.kind(each)]}) AS "{each["name"]}"' for each in wanted
    )
    made = [
        f"CREATE VIEW {named} AS SELECT {listed} FROM ({select(view, columns)}) AS of_view",  # noqa: S608 - names of schemas/
        f"COMMENT ON VIEW {named} IS {_literal(schema['description'])}",
    ]
    return [
        *made,
        *(f'COMMENT ON COLUMN {named}."{field["name"]}" IS {_literal(field["description"])}' for field in wanted),
    ]


def make_views(settings: Settings, ask: Ask, run: Run, engine: str) -> None:
    """Bring the views to the rows and settings there are; to be called in the publishing transaction.

    A view that is as it should be is not made anew, since on PostgreSQL that would wait for everybody who reads it.
    """
    columns = columns_of(settings, ask)
    for view in contract.tables(VIEW):
        made, *comments = statements(view, columns)
        if not _stands(view, columns, ask, run, engine):
            if engine == "duckdb":
                # DROP would look for it in every database that is attached.
                run(made.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
            else:
                run(f"DROP VIEW IF EXISTS {view}")
                run(made)
        for comment in comments:
            run(comment)


def views_stand(settings: Settings, ask: Ask, run: Run, engine: str) -> bool:
    """True if every view is as `make_views` would make it."""
    columns = columns_of(settings, ask)
    return all(_stands(view, columns, ask, run, engine) for view in contract.tables(VIEW))


def drop_views(run: Run) -> None:
    """Take the views away, before their tables change; `make_views` makes them again."""
    for view in contract.tables(VIEW):
        run(f"DROP VIEW IF EXISTS {view}")


def _stands(view: str, columns: Columns, ask: Ask, run: Run, engine: str) -> bool:
    """Whether the engine, in its own words, has the same text for the view as for one made now."""
    probe = f"probe_{view}"
    run(statements(view, columns, probe)[0].replace("CREATE VIEW", "CREATE TEMP VIEW", 1))
    ((same,),) = ask(_SAME[engine].format(view=view, probe=probe))
    run(f"DROP VIEW {probe}")
    return bool(same)


def _filled(text: str, gaps: Mapping[str, str]) -> str:
    return _GAP.sub(lambda found: gaps[found[1]], text)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
