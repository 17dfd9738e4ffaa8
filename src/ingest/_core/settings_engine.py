"""Where the work runs, and what Spark is told; never a credential."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

Engine = Literal["in_process", "processes", "spark"]
SparkKey = Annotated[str, Field(pattern=r"^spark\.[A-Za-z0-9_.-]+$")]
SparkConf = dict[SparkKey, bool | int | float | str]
# Those that Spark's own `spark.redaction.regex` hides, and what a name may mean besides.
_SECRET = re.compile(r"secret|password|passwd|token|credential|access[.]?key", re.IGNORECASE)


def without_secrets(said: SparkConf) -> SparkConf:
    """The same; raises ValueError where a key is that of a credential."""
    for key in said:
        if _SECRET.search(key):
            raise ValueError(f"{key} would hold a credential; give it to spark-submit or by the environment instead")
    return said


def as_conf(said: Mapping[str, bool | int | float | str]) -> dict[str, str]:
    """Keys and values as Spark reads them."""
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in said.items()}
