"""`csv`: the training log as a table `log.csv` in the run's folder, one row for each value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CsvLogger:
    """See `samunet.training.loggers.Logger`. A run that continues appends to its table."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.csv"

    def update_config(self, config: Mapping[str, Any]) -> None:
        """Rows without a step: the settings."""
        for name, value in config.items():
            self._write("", name, value)

    def log(self, key: str, value: float, step: int) -> None:
        """A row of one value after `step` iterations."""
        self._write(step, key, value)

    def log_summary(self, values: Mapping[str, float]) -> None:
        """Rows of the scores."""
        for name, value in values.items():
            self._write("end", name, value)

    def _write(self, step: int | str, name: str, value: Any) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(f'{step},"{name}","{value}"\n')
