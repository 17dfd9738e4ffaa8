"""What the tests need from Debian's packages (PostgreSQL, Chromium, strace, Java); installs what is missing.

Prints the folder of PostgreSQL's programs; with `chromium`, `strace` or `java` as first word the path of that. Where
there is none it says why and what to do, and ends with 1 where CI=true: there a test must not be skipped. `--where`
only looks. Without a word all are seen to. The package's own cluster is never made or started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OLDEST = 15
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/no-cluster-for-ingest.conf")


@dataclass(frozen=True)
class Service:
    """A program from Debian's `package`; `found` says where it is."""

    name: str
    package: str
    found: Callable[[], Path | None]

    @property
    def hint(self) -> str:
        return f"install {self.name} (Debian: apt-get install {self.package}) to run the tests that need it"


def postgres_programs() -> Path | None:
    """The folder with initdb and postgres: the newest of Debian's, else what PATH has."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found = [path for path in found if path.parent.name.isdecimal() and int(path.parent.name) >= OLDEST]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def chromium() -> Path | None:
    """The browser: Debian's, else what PATH has under another name."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return Path(found) if found else None


def java() -> Path | None:
    """Java as Spark will find it: where JAVA_HOME says, else on PATH."""
    home = os.environ.get("JAVA_HOME")
    return found_on_path("java", f"{home}/bin" if home else None)


def found_on_path(program: str, path: str | None = None) -> Path | None:
    """Where PATH, or `path`, has it."""
    found = shutil.which(program, path=path)
    return Path(found) if found else None


SERVICES = {
    "postgresql": Service("PostgreSQL", "postgresql", postgres_programs),
    "chromium": Service("Chromium", "chromium", chromium),
    "strace": Service("strace", "strace", lambda: found_on_path("strace")),
    "java": Service("Java", "openjdk-17-jre-headless", java),
}


def install(service: Service) -> str:
    """Install it with apt-get; returns why it could not be done, empty where it was."""
    if shutil.which("apt-get") is None:
        return "there is no apt-get here"
    if os.geteuid() != 0:
        return "apt-get needs root"
    print(f"Installing {service.name} from Debian's packages (once)", file=sys.stderr)
    NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    NO_CLUSTER.write_text("create_main_cluster = false\n")
    try:
        for words in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", service.package]):
            done = subprocess.run(
                ["apt-get", *words, "-y", "-o", "DPkg::Lock::Timeout=120"],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdout=sys.stderr,
                check=False,
            )
    finally:
        NO_CLUSTER.unlink(missing_ok=True)
    return "" if done.returncode == 0 else f"apt-get install {service.package} ended with {done.returncode}"


def see_to(service: Service, only_look: bool) -> bool:
    """Print where it is, installed first where it can be; False where it is not to be had, which is then said."""
    where, why = service.found(), "it is not installed"
    if where is None and not only_look:
        why = install(service)
        where = service.found()
    if where is None:
        print(f"No {service.name}: {why}; {service.hint}", file=sys.stderr)
        return False
    print(where)
    return True


def main(words: list[str]) -> int:
    """What the Makefile and the tests call."""
    only_look = "--where" in words
    wanted = [word for word in words if word != "--where"] or (["postgresql"] if only_look else list(SERVICES))
    strange = [word for word in wanted if word not in SERVICES]
    if strange:
        print(f"services: no such service {', '.join(strange)}; there are {', '.join(SERVICES)}", file=sys.stderr)
        return 2
    there = [see_to(SERVICES[word], only_look) for word in wanted]
    return 0 if all(there) or os.environ.get("CI") != "true" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
