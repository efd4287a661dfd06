"""The logger `tensorboard`: event files that TensorBoard shows, in `tensorboard/` of the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class TensorBoardLogger:
    """A run's curves, its settings as text and its scores; a run that continues adds a file. See `loggers.Logger`."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder / "tensorboard"))
        self._step = 0

    def update_config(self, config: Mapping[str, Any]) -> None:
        """The settings as text, in Markdown's form of code."""
        lines = json.dumps(config, indent=2, default=str).splitlines()
        self._writer.add_text("settings", "\n".join(f"    {line}" for line in lines))

    def log(self, key: str, value: float, step: int) -> None:
        """One point of the curve `key`."""
        self._writer.add_scalar(key, value, step)
        self._step = step

    def log_summary(self, values: Mapping[str, float]) -> None:
        """The scores, each as one point at the last step, under `validation/`. The file is closed."""
        for key, value in values.items():
            self._writer.add_scalar(f"validation/{key}", value, self._step)
        self._writer.close()
