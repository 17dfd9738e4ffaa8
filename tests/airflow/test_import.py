"""The DAG file parses fast, without network, database or a study, and its DAGs are wired as docs/airflow.md says."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DAGS = PROJECT / "dags"
# The plugin is read by the API server only, never where DAG files are parsed.
PACKAGE = sorted(
    {*(PROJECT / "src" / "ingest_airflow").glob("*.py")} - {PROJECT / "src" / "ingest_airflow" / "plugin.py"}
)
PLAIN = ["associate_cohort", "erase_participant", "ingest_exports", "monitor_insomnia", "publish_warehouse",
         "withdraw_participant"]  # fmt: skip
STUDIES = """\
[north]
folder = "/srv/studies/north"
schedule = "30 */6 * * *"
decode_pool = "heavy"

[south-2]
folder = "/srv/studies/south"
deadline_hours = 0.5
"""
pytestmark = pytest.mark.xdist_group("airflow")


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory,
    child_environment: Callable[[Path, Path], dict[str, str]],
    python: str,
) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("home")
    env = child_environment(home, home) | {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nonexistent/folder/airflow.db",
    }
    (home / "studies.toml").write_text(STUDIES)
    environments = [
        {},
        {"INGEST_STUDIES": str(home / "studies.toml"), "INGEST_MART_POOL": "marts"},
        {"INGEST_STUDIES": "only=/srv/one"},
        {"INGEST_STUDIES": str(home / "missing.toml")},
    ]
    command = [*_without_network(), python, str(Path(__file__).with_name("import_probe.py")), str(DAGS),
               json.dumps(environments)]  # fmt: skip
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1]) | {"home": str(home)}


def _without_network() -> list[str]:
    """`unshare` with a network of its own that has a loopback only, where the machine lets us."""
    command = ["unshare", "--map-root-user", "--net"]
    try:
        able = subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        able = False
    return command if able else []


@pytest.fixture(scope="module")
def parsed(found: dict[str, Any]) -> dict[str, Any]:
    """Parsed without any setting."""
    return found["parses"][0]


@pytest.fixture(scope="module")
def several(found: dict[str, Any]) -> dict[str, Any]:
    """Parsed with the file STUDIES."""
    return found["parses"][1]


def test_all_dags_parse_without_errors(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert sorted(parsed["dags"]) == PLAIN


@pytest.mark.parametrize("which", [0, 1])
def test_row_76_parsing_takes_less_than_a_second_connects_to_nothing_and_reads_the_configuration_alone(
    found: dict[str, Any], which: int
) -> None:
    one = found["parses"][which]
    assert one["seconds"] < 1
    assert one["tried"] == []
    assert one["read"] == [[], [f"{found['home']}/studies.toml"]][which]


def test_row_76_parsing_needs_no_network(found: dict[str, Any]) -> None:
    if not _without_network():
        pytest.skip("unshare may not make a network of its own here; connections were refused all the same")
    assert found["interfaces"] == ["lo"]


def test_parsing_imports_no_stage_of_ingest(parsed: dict[str, Any]) -> None:
    ours = {name for name in parsed["imported"] if name.split(".")[0] == "ingest"}
    assert ours <= {"ingest", "ingest._core", "ingest._core.errors"}


def test_several_studies_have_dags_assets_and_settings_of_their_own(several: dict[str, Any]) -> None:
    assert several["errors"] == {}
    dags = several["dags"]
    assert sorted(dags) == sorted(f"{plain}__{name}" for plain in PLAIN for name in ("north", "south-2"))
    assert dags["publish_warehouse__north"]["assets"] == ["lake__north"]
    assert dags["ingest_exports__north"]["tasks"]["announce"]["outlets"] == [["lake__north", "x-ingest://north/lake"]]
    assert dags["ingest_exports__north"]["tags"] == ["ingest", "north"]
    assert dags["ingest_exports__north"]["cron"][0] == "30 */6 * * *"
    assert dags["ingest_exports__south-2"]["cron"][0] == "0 * * * *"
    pools = {name: dags[f"ingest_exports__{name}"]["tasks"]["decode"]["pool"] for name in ("north", "south-2")}
    assert pools == {"north": "heavy", "south-2": "default_pool"}
    assert {dags[f"publish_warehouse__{name}"]["tasks"]["mart"]["pool"] for name in ("north", "south-2")} == {"marts"}
    assert [dags[f"ingest_exports__{name}"]["deadlines"] for name in ("north", "south-2")] == [[], [1800]]


def test_one_of_several_keeps_its_ids_when_others_come(found: dict[str, Any]) -> None:
    assert sorted(found["parses"][2]["dags"]) == [f"{plain}__only" for plain in PLAIN]


def test_a_configuration_that_cannot_be_read_is_an_import_error_that_says_so(found: dict[str, Any]) -> None:
    [said] = found["parses"][3]["errors"].values()
    assert "INGEST_STUDIES: expected name=folder or a TOML file" in said
    assert found["parses"][3]["dags"] == {}


def test_ingest_exports_runs_hourly_with_an_interval(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["ingest_exports"]
    assert dag["timetable"] == "CronDataIntervalTimetable"
    assert dag["cron"] == ["0 * * * *", "UTC"]


def test_publish_warehouse_runs_on_the_lake(parsed: dict[str, Any]) -> None:
    assert parsed["dags"]["publish_warehouse"]["assets"] == ["lake"]


def test_associate_cohort_runs_daily(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["associate_cohort"]
    assert dag["timetable"] == "CronDataIntervalTimetable"
    assert dag["cron"] == ["0 4 * * *", "UTC"]


def test_monitor_insomnia_runs_daily_and_on_the_warehouse(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["monitor_insomnia"]
    assert dag["timed"] == "CronDataIntervalTimetable"
    assert dag["cron"] == ["0 6 * * *", "UTC"]
    assert dag["assets"] == ["warehouse"]


@pytest.mark.parametrize(
    ("dag_id", "names"),
    [
        ("erase_participant", ["for_good", "participant_id"]),
        ("withdraw_participant", ["keep", "on", "participant_id"]),
    ],
)
def test_forms_take_a_participant_id_and_never_a_ref(parsed: dict[str, Any], dag_id: str, names: list[str]) -> None:
    dag = parsed["dags"][dag_id]
    assert dag["timetable"] == "NullTimetable"
    assert sorted(dag["params"]) == names
    pattern = re.compile(dag["params"]["participant_id"]["pattern"])
    assert pattern.search("p0123456789abcdef0123")
    assert not any(map(pattern.search, ("K01", "P01", "p0123456789abcdef012", "xp0123456789abcdef0123")))
    assert {each["type"] for each in dag["params"].values()} <= {"string", "boolean"}
    assert dag["params"].get("on", {"format": "date"})["format"] == "date"


@pytest.mark.parametrize("dag_id", PLAIN)
def test_every_dag_runs_once_at_a_time_explains_itself_and_tells(parsed: dict[str, Any], dag_id: str) -> None:
    dag = parsed["dags"][dag_id]
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)
    assert [task for task in dag["tasks"] if f"`{task}`" not in dag["doc"]] == []
    assert dag["told"]
    assert dag["deadlines"] == []


WIRING = [
    ("associate_cohort", "associate", [], False, [], "all_success"),
    ("associate_cohort", "publish", ["associate"], False, ["warehouse"], "all_success"),
    ("erase_participant", "erase", [], False, ["warehouse"], "all_success"),
    ("ingest_exports", "plan", [], False, [], "all_success"),
    ("ingest_exports", "decode", ["plan"], True, [], "all_success"),
    ("ingest_exports", "announce", ["decode"], False, ["lake"], "all_done"),
    ("ingest_exports", "report_refusals", ["announce", "decode"], False, [], "none_failed"),
    ("monitor_insomnia", "summary", [], False, [], "all_success"),
    ("monitor_insomnia", "pages", [], False, [], "all_success"),
    ("monitor_insomnia", "check_expectations", ["pages", "summary"], False, [], "all_done"),
    ("publish_warehouse", "stale", [], False, [], "all_success"),
    ("publish_warehouse", "mart", ["stale"], True, [], "all_success"),
    ("publish_warehouse", "publish", ["mart"], False, ["warehouse"], "all_done"),
    ("publish_warehouse", "report_failures", ["mart", "publish"], False, [], "none_failed"),
    ("withdraw_participant", "withdraw", [], False, ["warehouse"], "all_success"),
]


@pytest.mark.parametrize(("dag_id", "task_id", "after", "mapped", "outlets", "trigger_rule"), WIRING)
def test_wiring(
    parsed: dict[str, Any],
    dag_id: str,
    task_id: str,
    after: list[str],
    mapped: bool,
    outlets: list[str],
    trigger_rule: str,
) -> None:
    task = parsed["dags"][dag_id]["tasks"][task_id]
    assert task["after"] == after
    assert task["mapped"] is mapped
    assert task["outlets"] == [[name, f"x-ingest://{name}"] for name in outlets]
    assert task["trigger_rule"] == trigger_rule
    assert bool(task["label"]) is mapped


def test_no_other_tasks(parsed: dict[str, Any]) -> None:
    tasks = sorted((dag_id, task) for dag_id, dag in parsed["dags"].items() for task in dag["tasks"])
    assert tasks == sorted(each[:2] for each in WIRING)


@pytest.mark.fault(77)
def test_every_task_gives_up_on_what_will_fail_again_and_retries_the_rest(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"].values():
        for task in dag["tasks"].values():
            assert task["gives_up_on"] == ["WrongUse", "Terminal"]
            assert task["retries"] == 4
            assert task["backoff"] > 1


def _imports(nodes: list[ast.stmt]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name for name in found if name.split(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize("file", PACKAGE, ids=lambda file: file.name)
def test_row_76_top_level_imports_are_the_standard_library_and_airflow_sdk(file: Path) -> None:
    ours = _imports(ast.parse(file.read_text()).body)
    assert {name for name in ours if name.split(".")[0] != "ingest_airflow"} <= {
        "airflow.sdk",
        "airflow.sdk.exceptions",
    }


def test_the_dag_folder_holds_one_file_that_calls_the_package() -> None:
    [file] = DAGS.glob("*.py")
    tree = ast.parse(file.read_text()).body
    assert _imports(tree) == {"ingest_airflow"}
    assert len(tree) == 3
