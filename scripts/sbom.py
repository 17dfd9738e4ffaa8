"""Write a CycloneDX list of everything that requirements.lock installs, with versions and hashes: `make sbom`.

The same lock gives the same bytes. Where the packages came from is not said: each study has an index of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

VERSION = SchemaVersion.V1_6


def listed(lock: Path, project: Path) -> str:
    """The list as JSON."""
    command = [
        Path(sys.executable).with_name("cyclonedx-py"), "requirements", lock, "--pyproject", project,
        "--output-reproducible", "--no-validate", "--sv", VERSION.to_version(), "--of", "JSON", "-o", "-",
    ]  # fmt: skip
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    found["components"] = [_without_origin(each) for each in found["components"]]
    for tool in found["metadata"]["tools"]["components"]:
        tool.pop("externalReferences", None)
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def checked(text: str) -> str:
    """The same text; ends with what is wrong where it is no valid CycloneDX."""
    if (error := JsonStrictValidator(VERSION).validate_str(text)) is not None:
        raise SystemExit(f"what was made of requirements.lock is no valid CycloneDX {VERSION.to_version()}: {error}")
    return text


def _without_origin(component: dict[str, Any]) -> dict[str, Any]:
    """Hashes of the component itself, in place of those beside the address of an index."""
    hashes = [each for origin in component.pop("externalReferences", []) for each in origin.get("hashes", [])]
    component.pop("description", None)  # the line of the lock, hashes and all
    return {**component, "hashes": hashes}


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "sbom.cdx.json"
    target.write_text(checked(listed(root / "requirements.lock", root / "pyproject.toml")), encoding="utf-8")
    print(f"{target}: what requirements.lock installs, as CycloneDX {VERSION.to_version()}")
