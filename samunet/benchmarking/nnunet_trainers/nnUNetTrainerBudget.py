"""nnU-Net's trainer with a budget. nnU-Net finds it in its folder of external trainers; samunet never imports it."""

from __future__ import annotations

import copy
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

ITERATIONS_PER_EPOCH = 10
WARM_UP, MEASURED = 2, 5
CHECKPOINTS = 20


class nnUNetTrainerBudget(nnUNetTrainer):  # type: ignore[misc]  # nnU-Net has no annotations
    """Trains for SAMUNET_ITERATIONS or SAMUNET_MINUTES (on this machine), and fits the learning-rate schedule to that.

    On a CPU it uses SAMUNET_THREADS threads instead of all cores. Everything else is nnU-Net's: loss, optimiser,
    augmentation, sampling. An epoch has 10 iterations and one of validation, because 250 would exceed small budgets.
    The training cases are not predicted at the end: samunet predicts the fold's validation cases with nnUNetv2_predict.
    `budget.json` in the output folder records what was done.
    """

    def __init__(self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any],
                 device: torch.device = torch.device("cuda")) -> None:  # noqa: B008 - nnU-Net's signature
        super().__init__(plans, configuration, fold, dataset_json, device)
        if device.type == "cpu":
            torch.set_num_threads(int(os.environ["SAMUNET_THREADS"]))
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = ITERATIONS_PER_EPOCH, 1

    def on_train_start(self) -> None:
        """Set the number of epochs and the schedule by the budget."""
        super().on_train_start()
        path = Path(self.output_folder) / "budget.json"
        if path.is_file():
            budget = json.loads(path.read_text(encoding="utf-8"))
        else:
            budget = self._budget()
            path.write_text(json.dumps(budget), encoding="utf-8")
        self.num_epochs = math.ceil(budget["iterations"] / ITERATIONS_PER_EPOCH)
        self.save_every = max(1, self.num_epochs // CHECKPOINTS)
        self.lr_scheduler = PolyLRScheduler(self.optimizer, self.initial_lr, self.num_epochs)
        self._started = time.perf_counter()
        # Time of the training part of this process's epochs: with waiting for batches, without validation and files.
        self._training = {"iterations": 0, "seconds": 0.0, "processor_seconds": 0.0}

    def on_train_epoch_start(self) -> None:
        """Start the clocks of an epoch."""
        super().on_train_epoch_start()
        self._epoch_started = time.perf_counter(), time.process_time()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Add the epoch's time."""
        self._training["iterations"] += len(train_outputs)
        self._training["seconds"] += time.perf_counter() - self._epoch_started[0]
        self._training["processor_seconds"] += time.process_time() - self._epoch_started[1]
        super().on_train_epoch_end(train_outputs)

    def on_train_end(self) -> None:
        """Write budget.json."""
        super().on_train_end()
        path = Path(self.output_folder) / "budget.json"
        budget = json.loads(path.read_text(encoding="utf-8"))
        done = self.num_epochs * ITERATIONS_PER_EPOCH
        budget |= {"iterations": done, "batch_size": self.batch_size, "seconds": time.perf_counter() - self._started,
                   "training_alone": self._training, "threads": torch.get_num_threads(),
                   "parameters": sum(each.numel() for each in self.network.parameters())}
        path.write_text(json.dumps(budget), encoding="utf-8")

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Does not predict the training cases."""

    def _budget(self) -> dict[str, float]:
        if "SAMUNET_ITERATIONS" in os.environ:
            return {"iterations": int(os.environ["SAMUNET_ITERATIONS"])}
        initial = copy.deepcopy((self.network.state_dict(), self.optimizer.state_dict()))
        for iteration in range(WARM_UP + MEASURED):
            if iteration == WARM_UP:
                started = time.perf_counter()
            self.train_step(next(self.dataloader_train))
        seconds = (time.perf_counter() - started) / MEASURED
        self.network.load_state_dict(initial[0])
        self.optimizer.load_state_dict(initial[1])
        return {"iterations": max(1, int(float(os.environ["SAMUNET_MINUTES"]) * 60 / seconds)),
                "minutes": float(os.environ["SAMUNET_MINUTES"])}
