"""`make demo`: a synthetic study through the real DAGs, and what came of it.

    python scripts/demo.py FOLDER

FOLDER must be new, empty, or a demo study of before, which is made anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from airflow_env import run_dags

from ingest._core.errors import WrongUse
from ingest.demo.study import make_study

INGEST = Path(sys.executable).with_name("ingest")
EXPOSURE = (
    "SELECT participant_id, night_date, amount_6h, amount_day, round(hours_since_last_dose, 1) AS hours,"
    " waso_min, tst_min FROM night_exposure JOIN night USING (participant_id, night_date)"
    " WHERE anchor = 'usual' AND substance = 'kratom' AND amount_6h IS NOT NULL ORDER BY 1, 2 LIMIT 6"
)


def main(folder: Path) -> None:
    """Make the study, run both DAGs with `airflow dags test`, show the result."""
    if (folder / "study.yaml").exists() and "study: demo\n" in (folder / "study.yaml").read_text():
        shutil.rmtree(folder)
    print(f"Writing a synthetic study to {folder}: 12 people, 120 nights each", flush=True)
    facts = make_study(folder)
    run_dags(folder, folder / ".airflow", lambda line: print(line, flush=True))
    print(flush=True)
    _ingest(folder, "associate")
    _ingest(folder, "status")
    _ingest(folder, "report", "--all")
    print("What was taken before each night (first lines of night_exposure, beside the night):", flush=True)
    _ingest(folder, "query", EXPOSURE)
    print(
        f"\nTrue effect in these data: a dose in the {facts.late_window_h} h before bedtime adds {facts.late_wake_min}"
        f" min of wake; {folder}/README.md says what else is in them.\nType next:\n"
        f"  export PATH=$PWD/.venv/bin:$PATH INGEST_STUDY={folder}\n"
        "  ingest quarantine\n"
        '  ingest query "SELECT * FROM night ORDER BY participant_id, night_date LIMIT 5"\n'
        "  ingest dictionary | less"
    )


def _ingest(folder: Path, *arguments: str) -> None:
    subprocess.run([INGEST, "--study", folder, *arguments], check=True)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (WrongUse, RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(f"demo: {error}")
