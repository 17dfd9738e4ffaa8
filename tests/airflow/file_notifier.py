"""A notifier as an operator might write one: appends a line to a file. Found by Airflow on PYTHONPATH."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier


class FileNotifier(BaseNotifier):
    """Appends `{"dag": ..., "event": ..., "message": ...}`; `message` is rendered by Airflow."""

    template_fields = ("message",)

    def __init__(self, path: str, message: str = "{{ ingest_message }}") -> None:
        super().__init__()
        self.path = path
        self.message = message

    def notify(self, context: Any) -> None:
        line = json.dumps({"event": context["ingest_event"], "message": self.message})
        with Path(self.path).open("a") as file:
            file.write(f"{line}\n")
