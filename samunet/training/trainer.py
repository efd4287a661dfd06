"""The training loop of every variant that learns by gradient on cached embeddings."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from samunet.console import progress
from samunet.training.checkpoints import LATEST, Progress, load_latest, save_latest
from samunet.training.logbook import Entry, Logbook
from samunet.training.sampling import LabelSlices, Sampler, read_batch
from samunet.training.settings import ITERATIONS_PER_EPOCH
from samunet.variants.base import EmbeddingVariant

if TYPE_CHECKING:
    from samunet.preprocessing.embeddings import CaseEmbeddings

POLY_POWER = 0.9
GRADIENT_NORM = 12.0
MEASURED_ITERATIONS = 10


@dataclass(frozen=True)
class TrainingSet:
    """The training cases, index by index: names, embeddings, labels."""

    names: Sequence[str]
    embeddings: Sequence[CaseEmbeddings]
    labels: Sequence[LabelSlices]


class Optimization:
    """The optimiser, its schedule and its loss scaling: one `step` per batch."""

    def __init__(self, variant: EmbeddingVariant, device: torch.device) -> None:
        self.variant, self.device = variant, device
        variant.network.to(device).train()
        self.parameters = [parameter for parameter in variant.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, variant.learning_rate, weight_decay=variant.weight_decay)
        self.mixed = device.type == "cuda"
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.mixed)

    def step(self, embeddings: Tensor, segmentation: Tensor, learning_rate: float) -> float:
        """One update; returns the batch's loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, enabled=self.mixed):
            logits = self.variant.logits(embeddings.to(self.device))
        loss = self.variant.loss(logits, segmentation.to(self.device))
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.parameters, GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()


def train(
    variant: EmbeddingVariant, cases: TrainingSet, sampler: Sampler, iterations: int, folder: Path, device: torch.device
) -> float:
    """Train `variant` in place, going on from `folder`'s latest checkpoint if there is one.

    All randomness hangs on (seed, iteration, sample), so a run that was stopped anywhere and goes on ends with the same
    weights as one that was not (on one machine, with the same versions and thread count, on the CPU).

    Returns:
        Seconds of training over all sittings.

    Raises:
        RuntimeError: a loss that is not finite; names the iteration and the cases.
    """
    optimization = Optimization(variant, device)
    done = Progress(0, 0.0)
    if (folder / LATEST).is_file():
        done = load_latest(folder / LATEST, variant, optimization.optimizer, optimization.scaler)
    logbook = Logbook(folder, done.iteration)
    losses: list[float] = []
    started = time.perf_counter()

    for iteration in progress(range(done.iteration, iterations), "training", iterations - done.iteration):
        rate = poly_learning_rate(variant.learning_rate, iteration, iterations)
        losses.append(_iterate(optimization, cases, sampler, iteration, rate))
        if (iteration + 1) % ITERATIONS_PER_EPOCH == 0 or iteration + 1 == iterations:
            seconds = time.perf_counter() - started
            # The log first: a line that the checkpoint does not know is dropped on resume, a lost one would stay lost.
            logbook.add(Entry(iteration + 1, sum(losses) / len(losses), rate, seconds))
            done = Progress(iteration + 1, done.seconds + seconds)
            save_latest(folder / LATEST, variant, optimization.optimizer, optimization.scaler, done)
            losses, started = [], time.perf_counter()

    logbook.draw()
    return done.seconds


def measured_iterations(
    variant: EmbeddingVariant, cases: TrainingSet, sampler: Sampler, minutes: float, device: torch.device
) -> int:
    """How many iterations fit in `minutes`, from the time that a few take on a copy of the variant. At least 1."""
    optimization = Optimization(copy.deepcopy(variant), device)
    _iterate(optimization, cases, sampler, 0, variant.learning_rate)  # warms up, not counted
    started = time.perf_counter()
    for iteration in range(MEASURED_ITERATIONS):
        _iterate(optimization, cases, sampler, iteration, variant.learning_rate)
    seconds = (time.perf_counter() - started) / MEASURED_ITERATIONS
    return max(1, int(minutes * 60 / seconds))


def poly_learning_rate(initial: float, iteration: int, iterations: int) -> float:
    """nnU-Net's polynomial schedule: initial * (1 - iteration / iterations) ** 0.9."""
    return initial * (1 - iteration / iterations) ** POLY_POWER


def _iterate(optimization: Optimization, cases: TrainingSet, sampler: Sampler, iteration: int, rate: float) -> float:
    picks = sampler.picks(iteration)
    # Layers that draw at random (dropout) get their seed from the iteration as well, never from what ran before.
    torch.manual_seed(int(np.random.SeedSequence([sampler.seed, iteration]).generate_state(1, np.uint64)[0]))
    loss = optimization.step(*read_batch(picks, cases.embeddings, cases.labels), rate)
    if not math.isfinite(loss):
        names = ", ".join(sorted({cases.names[pick.case] for pick in picks}))
        raise RuntimeError(f"the loss is {loss} at iteration {iteration}, cases {names}")
    return loss
