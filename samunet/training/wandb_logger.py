"""The logger `wandb`: a run of the project `samunet` of Weights & Biases.

Its own environment variables choose another project (`WANDB_PROJECT`), entity or server, or keep the run on the disk
(`WANDB_MODE=offline`). Its files are in `wandb/` of the run's folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import wandb

from samunet.files import write_text


class WandbLogger:
    """A run's curves, settings and scores; a run of samunet that continues is the same run there. See `loggers.Logger`.
    """

    def __init__(self, folder: Path) -> None:
        # A folder that begins again from its first iteration has been emptied, and is another run.
        known = folder / "wandb_run.txt"
        name = known.read_text(encoding="utf-8") if known.is_file() else token_hex(4)
        write_text(known, name)
        self._run = wandb.init(project=os.environ.get("WANDB_PROJECT", "samunet"), id=name, resume="allow",
                               dir=str(folder), name=f"{folder.parent.name} {folder.stem}")

    def update_config(self, config: Mapping[str, Any]) -> None:
        """The settings."""
        self._run.config.update(dict(config), allow_val_change=True)

    def log(self, key: str, value: float, step: int) -> None:
        """One point of the curve `key`."""
        self._run.log({key: value}, step=step)

    def log_summary(self, values: Mapping[str, float]) -> None:
        """The scores, into the run's summary. The run is finished."""
        self._run.summary.update(dict(values))
        self._run.finish()
