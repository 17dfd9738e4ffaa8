"""A change of the key where the warehouse is a server's: roles, audit and rows follow, and nothing of before stays."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from faults.small import FROZEN, Forked, copied, ran, small_study
from ingest import rekey as module
from ingest._core import clock
from ingest._core.audit_ids import audit_ids
from ingest._core.contract import published_tables
from ingest._core.study import open_study
from ingest.publish.postgres_warehouse import PostgresWarehouse
from ingest.publish.query import query
from ingest.publish.reading import opened
from ingest.rekey import rekey
from ingest.report.audit import audit
from ingest.report.verify import verify
from privacy.test_rekey import NEW, at_new_key
from publish.test_consent import _naming as naming_in
from servers import Postgres
from studies import SAY_WHEN, change_settings, files, pid
from tries import SOAK
from unpacked import of_database

ANALYST, CLINICIAN = "rekey_ana", "rekey_clio"


@dataclass
class Held:
    """A study, and the name of its database."""

    root: Path
    database: str


def frozen(root: Path, before: Callable[[], object] = lambda: None) -> None:
    """The change in this process, with the clock of the runs; only for processes of their own."""
    clock.now = lambda: FROZEN  # type: ignore[assignment]
    pa.set_cpu_count(1)  # type: ignore[no-untyped-call]
    before()
    rekey(open_study(root), at_new_key(root))


def made(root: Path, server: Postgres, key: str) -> Held:
    """The small study with a clinician, published to a database of its own."""
    database = server.database()
    small_study(root, warehouse=server.url(database))
    (root / "identity" / "key").write_text(key + "\n")
    (root / "clinicians.csv").write_text(f"clinician,participant_ref\n{CLINICIAN},K01\n")
    (root / "consents.csv").write_text("participant_ref,scope,from_on,until_on\nK02,substance_use,,\n")
    ran(root)
    return Held(root, database)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres) -> Held:
    """The study after its run, with logins of an analyst and a clinician."""
    held = made(tmp_path_factory.mktemp("before") / "study", postgres_server, "5a" * 32)
    with postgres_server.connect(held.database) as connection:
        connection.execute(f"CREATE ROLE {ANALYST} LOGIN IN ROLE ingest_analyst")
        connection.execute(f"CREATE ROLE {CLINICIAN} LOGIN IN ROLE ingest_clinician")
    return held


def twin(held: Held, server: Postgres, root: Path) -> Held:
    """A copy that a test may change, database and all."""
    copied(held.root, root)
    name = server.database()
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {name}")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {held.database}")
    change_settings(root, warehouse=server.url(name))
    return Held(root, name)


def tables(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the database but when they were published, in an order of their own."""
    with opened(open_study(root)) as reader:
        return {name: sorted(reader.rows(f"select * from {name}"), key=repr)
                for name in published_tables() if name not in SAY_WHEN}  # fmt: skip


def seen(server: Postgres, held: Held, user: str, table: str) -> set[str]:
    """Whose rows of a table a login sees."""
    with server.connect(held.database, user) as connection:
        return {who for (who,) in connection.execute(f"SELECT DISTINCT participant_id FROM {table}").fetchall()}  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def made_with_it(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres, before: Held) -> Held:
    """The same study, made with the new key from the start."""
    return made(tmp_path_factory.mktemp("new") / "study", postgres_server, NEW)


def words_of(held: Held) -> set[str]:
    """Former ids of people, sessions and uses."""
    rows = tables(held.root)
    ids = {row[0] for name in ("sleep_session", "substance_use") for row in rows[name]}
    return {pid(held.root, "K01"), pid(held.root, "K02"), *ids}


def holds(held: Held, wanted: Held, former: set[str], server: Postgres) -> None:
    """The database is that of a study made with the new key, for each role, and no file of it has a former id."""
    assert tables(held.root) == tables(wanted.root)
    assert files(held.root / "lake") == files(wanted.root / "lake")
    said = of_database(open_study(held.root))
    assert [word for word in former if word in said] == []
    assert naming_in(server, held.database, former) == []
    one, other = pid(held.root, "K01"), pid(held.root, "K02")
    assert seen(server, held, ANALYST, "night") - {"_study", "_cohort"} == {one}
    assert seen(server, held, ANALYST, "substance_use") == {one, other}
    assert seen(server, held, CLINICIAN, "night") == {one}
    assert verify(open_study(held.root)) == []
    assert not any((held.root / "identity" / each).exists() for each in ("rekeying", "rekeyed"))


def test_the_database_is_one_made_with_the_new_key(
    before: Held, made_with_it: Held, postgres_server: Postgres, tmp_path: Path
) -> None:
    held = twin(before, postgres_server, tmp_path / "study")
    former, one = words_of(before), pid(before.root, "K01")
    assert len(former) > 6
    asked = f"select count(*) from night where participant_id = '{one}'"
    query(open_study(held.root), asked, "csv", io.BytesIO())
    link = audit_ids(held.root / "identity")[one]
    assert naming_in(postgres_server, held.database, former) != []
    assert seen(postgres_server, held, CLINICIAN, "night") == {one}
    process = Forked(lambda: frozen(held.root))
    assert process.wait() == 0, process.said[-3000:]
    holds(held, made_with_it, former, postgres_server)
    said = [(row["action"], row["state"]) for row in audit(open_study(held.root)).rows]
    assert [each for each in said if each[0] not in ("run", "query")] == [
        ("rekey", "begun"), ("publish", "begun"), ("publish", "ended"), ("rekey", "ended"),
    ]  # fmt: skip
    # Entries of before are about the same person, by an audit_id that does not change.
    assert audit_ids(held.root / "identity") == {pid(held.root, "K01"): link}
    about = audit(open_study(held.root), "K01")
    assert [(row["action"], row["audit_id"]) for row in about.rows] == [("query", link)] * 2
    assert about.breaks == []


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def amid_the_change() -> None:
    """Killed when the lake is in its place and the key is not."""
    module.sync_folder = _die  # type: ignore[attr-defined]


def amid_the_transaction() -> None:
    """Killed before the commit."""
    PostgresWarehouse.admit = _die  # type: ignore[method-assign,assignment]


def amid_the_rewriting() -> None:
    """Killed after the commit, before former rows are out of the files."""
    PostgresWarehouse._each = _die  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize("how", [amid_the_transaction, amid_the_rewriting, *([amid_the_change] if SOAK else [])])
def test_killed_and_called_again_it_ends_the_same(
    how: Callable[[], None], before: Held, made_with_it: Held, postgres_server: Postgres, tmp_path: Path
) -> None:
    held = twin(before, postgres_server, tmp_path / "study")
    former = words_of(before)
    process = Forked(lambda: frozen(held.root, how))
    assert process.wait() == -9, process.said[-3000:]
    now = tables(held.root)
    assert now == (tables(made_with_it.root) if how is amid_the_rewriting else tables(before.root))
    again = Forked(lambda: frozen(held.root))
    assert again.wait() == 0, again.said[-3000:]
    holds(held, made_with_it, former, postgres_server)
