"""An Airflow of its own for each test: a folder, a study, an environment. It only runs in subprocesses."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[2]
REFS = {"K01": "Canary-Alma", "K02": "Canary-Bo"}


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROJECT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def airflow_env() -> ModuleType:
    """scripts/airflow_env.py as a module."""
    return _script("airflow_env")


@pytest.fixture(scope="session")
def run_airflow() -> ModuleType:
    """scripts/run_airflow.py as a module."""
    return _script("run_airflow")


@pytest.fixture(scope="module")
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def faster(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where Airflow was installed without bytecode, keep it once for the session: seconds for each start."""
    found = importlib.util.find_spec("airflow")
    assert found is not None
    assert found.origin is not None
    if Path(importlib.util.cache_from_source(found.origin)).exists():
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode"))}


@pytest.fixture(scope="session")
def child_environment(airflow_env: ModuleType, faster: dict[str, str]) -> Callable[..., dict[str, str]]:
    """environment(home, study, port) of airflow_env, without the settings of the machine the tests run on."""
    return lambda home, study, port=8080: airflow_env.environment(home, study, port) | faster


@pytest.fixture(scope="session")
def make_study() -> Callable[[Path], Path]:
    """Writes a study of two people and ten nights whose refs and one wrong unit can be searched for.

    One export of five is refused (a folder the roster does not know) and one is partial (two rows of a log).
    """
    from ingest.demo import study as demo

    def make(root: Path) -> Path:
        demo.make_study(root, people=len(REFS), nights=10)
        for ref, name in REFS.items():
            (root / "landing" / ref).rename(root / "landing" / name)
            for table in (root / "roster.csv", *root.glob(f"landing/{name}/logs/*.csv")):
                kept = table.stat()
                text = table.read_text().replace(f"{ref},", f"{name},").replace("handful", "Canary-handful")
                table.write_text(text)
                os.utime(table, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        return root

    return make


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
