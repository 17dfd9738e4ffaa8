"""A session of Spark: the one that is there, or one started by what study.yaml and spark-submit say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ingest._core.errors import WrongUse
from ingest._core.settings_engine import as_conf

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OLDEST_JAVA = 17
_JAVA = "Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless), on PATH or where JAVA_HOME says"
_QUIET = Path(__file__).with_name("log4j2.properties")
_FRUGAL = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # it hands on ids; its compiler would be most of the work
_DEFAULTS = {
    "spark.app.name": "sleep-ingest",
    "spark.master": "local[*,4]",  # each core, and four attempts at a task, as on a cluster
    "spark.ui.enabled": "false",  # a port that anybody on the machine may look at
    "spark.ui.showConsoleProgress": "false",
    "spark.executor.extraJavaOptions": _FRUGAL,
    "spark.driver.extraJavaOptions": f'{_FRUGAL} -Dlog4j2.configurationFile="{_QUIET.as_uri()}"',
}
_LOCAL = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
_ALWAYS = {"spark.speculation": "false"}  # two attempts at once at one task would only wait for each other
_ATTEMPTS = re.compile(r"local\[[^],]*(?:,\s*(\d+))?\]|local")


def started(said: Mapping[str, str | int | float | bool]) -> tuple[SparkSession, bool]:
    """A session, and whether it was started here (and is to be stopped). What spark-submit was given wins over `said`.

    Raises WrongUse where PySpark or Java is missing, or Spark cannot be started.
    """
    try:
        from py4j.protocol import Py4JError
        from pyspark import SparkConf
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise WrongUse("engine: spark needs PySpark: pip install 'sleep-ingest[spark]'") from error
    running = SparkSession.getActiveSession()
    if running is not None:
        return running, False
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        _check_java()
    try:
        given = dict(SparkConf().getAll())
        conf = {**_DEFAULTS, **as_conf(said), **given, **_ALWAYS}
        if conf["spark.master"].startswith("local"):
            conf = {**_LOCAL, **conf}
        os.environ.setdefault("PYSPARK_PYTHON", conf.get("spark.pyspark.python", sys.executable))
        return SparkSession.builder.config(map=conf).getOrCreate(), True  # type: ignore[arg-type]
    except (Py4JError, PySparkException) as error:
        told = first_line(error)
        raise WrongUse(f"Spark could not be started ({told}); see `spark` in study.yaml and docs/scale.md") from None


def attempts(session: SparkSession) -> int:
    """How often Spark tries a task before it gives the job up."""
    conf = session.sparkContext.getConf()
    local = _ATTEMPTS.fullmatch(conf.get("spark.master") or "")
    if local is not None:
        return int(local[1] or 1)
    return int(conf.get("spark.task.maxFailures") or 4)


def first_line(error: Exception) -> str:
    """What Spark says went wrong, without the names of classes before it and the trace after it."""
    lines = [line for line in str(error).splitlines() if not line.startswith("An error occurred while calling")]
    line = next((each for each in lines if each.strip(" :")), type(error).__name__)
    return re.sub(r"(?:[a-z_]\w*\.){2,}\w+: ", "", line.lstrip(": "))[:300]


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin" if home else None)
    if program is None:
        raise WrongUse(f"engine: spark needs {_JAVA}")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - Java
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    if match is None or int(match[1]) < OLDEST_JAVA:
        raise WrongUse(f"engine: spark needs {_JAVA}; found {match[1] if match else 'one that does not run'}")
