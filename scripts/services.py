"""The servers the tests need, from Debian's packages: finds PostgreSQL, installs it where it is missing and can be had.

Prints the folder of PostgreSQL's programs. Where there is none it says why and what to do, and ends with 1 where
CI=true: there a test must not be skipped. `--where` only looks. The package's own cluster is never made or started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = 15
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/no-cluster-for-ingest.conf")
HINT = "install PostgreSQL (Debian: apt-get install postgresql) to run the tests that need it"


def postgres_programs() -> Path | None:
    """The folder with initdb and postgres: the newest of Debian's, else what PATH has."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found = [path for path in found if path.parent.name.isdecimal() and int(path.parent.name) >= OLDEST]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def install() -> str:
    """Install PostgreSQL with apt-get; returns why it could not be done, empty where it was."""
    if shutil.which("apt-get") is None:
        return "there is no apt-get here"
    if os.geteuid() != 0:
        return "apt-get needs root"
    print("Installing PostgreSQL from Debian's packages (once)", file=sys.stderr)
    NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    NO_CLUSTER.write_text("create_main_cluster = false\n")
    try:
        for words in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", "postgresql"]):
            done = subprocess.run(
                ["apt-get", *words, "-y", "-o", "DPkg::Lock::Timeout=120"],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdout=sys.stderr,
                check=False,
            )
    finally:
        NO_CLUSTER.unlink(missing_ok=True)
    return "" if done.returncode == 0 else f"apt-get install postgresql ended with {done.returncode}"


def main() -> int:
    """What the Makefile and tests/servers.py call."""
    programs, why = postgres_programs(), "it is not installed"
    if programs is None and "--where" not in sys.argv[1:]:
        why = install()
        programs = postgres_programs()
    if programs is None:
        print(f"No PostgreSQL: {why}; {HINT}", file=sys.stderr)
        return 1 if os.environ.get("CI") == "true" else 0
    print(programs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
