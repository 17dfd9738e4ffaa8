"""The questions of docs/queries.md asked of PostgreSQL as `ingest_analyst`, as a ratio to asking them as the owner.

    python benchmarks/roles.py [--people N] [--nights N] [--repeats N]

A private server is started for it, with the demo study. Row-level security holds for the analyst and not for the owner
of the tables, whose time is the floor; both see the same rows, since everybody in the demo study has consented to
everything. Both ask by turns, each in one session; of several times the least counts, with the rows fetched. A question
for a vendor's own number of a record, which no analyst may read, is left out and told.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from _measure import machine, table

WANTED = 2
ANALYST = "roles_ana"


def published(server: Any, root: Path, people: int, nights: int) -> str:
    """The demo study in a database of its own; its name."""
    from ingest._core.study import open_study
    from ingest.demo.study import make_study
    from ingest.pipeline import associate, run
    from ingest.publish.warehouse import publish_study
    from studies import silent

    make_study(root, people=people, nights=nights)
    study = open_study(root)
    run(study, silent)
    associate(study, silent)
    database: str = server.database()
    publish_study(replace(study, settings=study.settings.model_copy(update={"warehouse": server.url(database)})))
    with server.connect(database) as connection:
        connection.execute(f"CREATE ROLE {ANALYST} LOGIN IN ROLE ingest_analyst")
    return database


def may_ask(analyst: Any, sql: str) -> bool:
    """Whether the columns that the question names may be read."""
    from psycopg.errors import InsufficientPrivilege

    try:
        analyst.execute(f"EXPLAIN {sql}")
    except InsufficientPrivilege:
        return False
    return True


def measure(server: Any, database: str, repeats: int) -> list[dict[str, float]]:
    """By question: rows, and least seconds as owner and as analyst."""
    import queries

    found = []
    with server.connect(database) as owner, server.connect(database, ANALYST) as analyst:
        for each in (owner, analyst):
            each.execute("SET TIME ZONE 'UTC'")
        for sql in queries.answers(queries.PAGE.read_text(encoding="utf-8")):
            if not may_ask(analyst, sql):
                print(f"left out, since no analyst may ask it: {' '.join(sql.split())[:60]} ...")
                continue
            least, counts = [float("inf"), float("inf")], [0, 0]
            for _ in range(repeats):
                for number, each in enumerate((owner, analyst)):
                    begun = perf_counter()
                    counts[number] = len(each.execute(sql).fetchall())
                    least[number] = min(least[number], perf_counter() - begun)
            if counts[0] != counts[1]:
                raise SystemExit(f"the analyst sees {counts[1]} rows, the owner {counts[0]}: {sql}")
            found.append({"rows": counts[0], "owner": least[0], "analyst": least[1]})
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--nights", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    from servers import start_postgres

    print(machine(("psycopg",)))
    server = start_postgres()
    try:
        with TemporaryDirectory() as folder:
            database = published(server, Path(folder) / "study", given.people, given.nights)
            found = measure(server, database, given.repeats)
    finally:
        server.close()
    found.append({name: sum(row[name] for row in found) for name in ("rows", "owner", "analyst")})
    print(f"{given.people} people, {given.nights} nights, {len(found) - 1} questions\n")
    print(table([{"question": str(number) if number < len(found) else "all", "rows": f"{row['rows']:,.0f}",
                  "owner, ms": f"{row['owner'] * 1e3:.2f}", "analyst, ms": f"{row['analyst'] * 1e3:.2f}",
                  "analyst of owner": f"{row['analyst'] / row['owner']:.2f}"}
                 for number, row in enumerate(found, start=1)]))  # fmt: skip
    print(f"\nat most {WANTED} times the owner's time is wanted")


if __name__ == "__main__":
    main()
