"""The command as a person meets it: through a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from studies import (
    as_json,
    command,
    files,
    fitbit_log,
    fitbit_nights,
    land,
    make_study,
    pid,
    rows,
)

MARCH = datetime(2026, 3, 1, 23)


@pytest.fixture(scope="module")
def three_nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three nights of one person, run."""
    root = make_study(tmp_path_factory.mktemp("cli") / "study")
    land(root, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3)))
    assert command("--study", root, "run").returncode == 0
    return root


@pytest.fixture
def study(three_nights: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(three_nights, tmp_path / "study")
    return tmp_path / "study"


def test_help_imports_nothing_heavy() -> None:
    code = ("import sys, ingest.cli\n"
            "heavy = {'pyarrow', 'duckdb', 'pandas', 'sqlalchemy', 'numpy', 'rich', 'airflow'}\n"
            "print(sorted(heavy & set(sys.modules)))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_imports_no_statistics(study: Path) -> None:
    land(study, "K01/more/sleep-2026-04-01.json", as_json(fitbit_nights(datetime(2026, 4, 1, 23), 1, 9000)))
    code = ("import sys\nfrom ingest.cli import app\n"
            f"app(['--study', {str(study)!r}, 'run'], standalone_mode=False)\n"
            "print(sorted({'statsmodels', 'scipy', 'airflow'} & set(sys.modules)))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "rebuilt    1 participants" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command() -> None:
    done = command("--help")
    assert done.returncode == 0
    for name in ("init", "demo", "run", "status", "quarantine", "query", "verify", "convert", "backfill", "dictionary"):
        assert f" {name} " in done.stdout


@pytest.mark.parametrize(
    ("words", "nearest"), [(("statsu",), "status"), (("quarantin",), "quarantine"), (("run", "--stric"), "--strict")]
)
def test_a_typo_gets_the_nearest(words: tuple[str, ...], nearest: str) -> None:
    done = command(*words)
    assert done.returncode == 2
    assert nearest in done.stderr
    assert "Traceback" not in done.stderr


def test_init_makes_a_study_in_a_new_or_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        root = tmp_path / name
        assert command("init", root).returncode == 0
        text = (root / "study.yaml").read_text()
        assert text.endswith("\n")
        assert "\nnights:\n  merge_gap_min:" in text
        assert yaml.safe_load(text)["study"] == name
        assert (root / "landing").is_dir()
        assert (root / "identity" / "key").stat().st_mode & 0o777 == 0o600
        assert (root / "identity").stat().st_mode & 0o777 == 0o700
        assert command("--study", root, "run").returncode == 0


def test_init_leaves_a_folder_with_something_in_it_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = command("init", tmp_path)
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert files(tmp_path) == {"mine.txt": b"mine"}


def test_exit_codes(study: Path, tmp_path: Path) -> None:
    """0 all well, 1 quarantined with --strict, 2 wrong use, 3 an invariant, 4 try again."""
    assert command("--study", tmp_path / "nowhere", "run").returncode == 2
    land(study, "K01/bad/diary.json", b"{}")
    strict = command("--study", study, "run", "--strict")
    assert strict.returncode == 1
    assert "1 refused" in strict.stdout
    assert command("--study", study, "run", "--strict").returncode == 0
    (study / "identity" / "key").unlink()
    lost = command("--study", study, "run")
    assert lost.returncode == 3
    assert "identity/key" in lost.stderr
    assert "Traceback" not in lost.stderr


@pytest.mark.fault(21)
def test_a_store_that_is_held_by_another_is_tried_again_later(study: Path) -> None:
    """Exit 4: the same command may work later."""
    import sqlite3

    holder = sqlite3.connect(study / "identity" / "arrivals.sqlite")
    holder.execute("begin exclusive")
    code = ("import sqlite3, sys\nreal = sqlite3.connect\n"
            "sqlite3.connect = lambda path, timeout: real(path, timeout=0.1)\n"
            f"sys.argv = ['ingest', '--study', {str(study)!r}, 'run']\n"
            "from ingest.cli import main\nmain()")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    holder.close()
    assert done.returncode == 4
    assert "run again" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("quiet_secnds: 3", ("line 3", "quiet_secnds", "quiet_seconds")),
        ("quiet_seconds: -3", ("line 3", "quiet_seconds")),
        ("nights:\n  merge_gap_min: soon", ("line 4", "nights.merge_gap_min")),
        ("time_zone: Europe/Olso", ("line 3", "time_zone")),
        ("nights: [", ("study.yaml",)),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(tmp_path: Path, line: str, words: tuple[str, ...]) -> None:
    root = make_study(tmp_path / "study")
    (root / "study.yaml").write_text(f"study: s\nhistory: keep\n{line}\n")
    done = command("--study", root, "run")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []


def test_query_writes_csv_to_stdout(study: Path) -> None:
    done = command("--study", study, "query", "select night_date, tst_min from night order by 1", "--format", "csv")
    assert done.returncode == 0
    assert done.stdout == "night_date,tst_min\n2026-03-01,456\n2026-03-02,456\n2026-03-03,456\n"


@pytest.mark.parametrize("sql", ["delete from night", "drop table night", "create table x as select 1"])
def test_a_query_that_writes_is_refused(study: Path, sql: str) -> None:
    before = (study / "warehouse.duckdb").read_bytes()
    done = command("--study", study, "query", sql)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert (study / "warehouse.duckdb").read_bytes() == before


def test_convert_without_a_study_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    export = tmp_path / "sleep-2026-03-01.json"
    export.write_bytes(as_json(fitbit_nights(MARCH, 3)))
    for name in ("one", "two"):
        done = command("convert", export, "--time-zone", "Europe/Oslo", "--to", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "3 records read = 3 kept" in done.stdout
    assert set(files(tmp_path / "one")) == {f"{table}.parquet" for table in ("sleep_session", "sleep_stage", "night",
                                                                            "night_source")}  # fmt: skip
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert command("convert", export, "--time-zone", "Europe/Olso", "--to", tmp_path / "x").returncode == 2


def test_convert_says_which_file_and_what_it_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    bad = fitbit_log(7001, datetime(2026, 4, 1, 23), startTime="soon")
    (folder / "sleep-2026-04-01.json").write_bytes(as_json([bad]))
    (folder / "sleep_score.csv").write_text("timestamp,overall_score,resting_heart_rate\n2026-04-02T06:00:00Z,80,58\n")
    done = command("convert", folder, "--time-zone", "Europe/Oslo", "--to", tmp_path / "out")
    assert "sleep-2026-04-01.json: record 1, sleep: impossible_time: " in done.stdout
    assert "also there: 1 sleep scores without log id" in done.stdout
    taken = command("convert", folder, "--time-zone", "Europe/Oslo", "--to", folder / "sleep_score.csv")
    assert (taken.returncode, "Traceback" in taken.stderr) == (2, False)


def test_a_run_says_who_was_rebuilt_and_why_when_asked(study: Path) -> None:
    land(study, "K01/more/sleep-2026-04-01.json", as_json(fitbit_nights(datetime(2026, 4, 1, 23), 1, 9000)))
    first = command("--study", study, "run", "--explain")
    assert first.returncode == 0
    assert first.stdout.splitlines()[-1] == f"rebuilt    {pid(study)}: 1 export new"
    again = command("--study", study, "run", "--explain").stdout
    assert "rebuilt    0 participants" in again
    assert pid(study) not in again


@pytest.mark.fault(12)
def test_verify_finds_and_repairs_a_flipped_byte(study: Path) -> None:
    before = files(study / "lake")
    (path,) = (study / "lake" / "sleep_session").rglob("*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    found = command("--study", study, "verify")
    assert found.returncode == 3
    assert [line for line in found.stdout.splitlines() if line.startswith("I1: sleep_session")]
    repaired = command("--study", study, "verify", "--repair")
    assert "1 damaged exports" in repaired.stdout
    assert command("--study", study, "run").returncode == 0
    whole = command("--study", study, "verify")
    assert whole.returncode == 0, whole.stdout
    assert whole.stdout.count("holds") >= 6
    assert files(study / "lake") == before


def test_quarantine_shows_the_value_only_when_asked(study: Path) -> None:
    bad = fitbit_log(7001, datetime(2026, 4, 1, 23), startTime="Zebrowski")
    land(study, "K01/more/sleep-2026-04-01.json", as_json([bad]))
    assert command("--study", study, "run").returncode == 0
    plain = command("--study", study, "quarantine")
    assert "impossible_time" in plain.stdout
    assert "Zebrowski" not in plain.stdout
    assert "Zebrowski" in command("--study", study, "quarantine", "--show").stdout
    other = command("--study", study, "quarantine", "--reason", "misfiled")
    assert (other.returncode, other.stdout) == (0, "Nothing with this reason; there are impossible_time\n")


def test_status_counts_what_the_run_counted(study: Path) -> None:
    done = command("--study", study, "status")
    assert done.returncode == 0
    assert pid(study) in done.stdout
    assert "2026-03-03" in done.stdout


def test_dictionary_is_readable_by_machines() -> None:
    assert json.loads(command("dictionary", "--format", "json").stdout)
    assert command("dictionary", "--format", "tex").returncode == 2


def test_demo_goes_all_the_way(tmp_path: Path) -> None:
    done = command("demo", tmp_path / "demo", "--people", "2", "--nights", "10")
    assert done.returncode == 0, done.stderr
    assert "records " in done.stdout
    assert rows(tmp_path / "demo", "select count(distinct participant_id) from night") == [(2,)]
