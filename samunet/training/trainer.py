"""The training loop of every variant that learns by gradient."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed._composable.replicate import replicate
from torch.utils.checkpoint import checkpoint

from samunet.console import progress
from samunet.inputs.batches import Batch, Batches
from samunet.inputs.protocols import Inputs
from samunet.inputs.read_ahead import read_ahead
from samunet.processes import is_distributed, local_rows, rank, wait_for_all
from samunet.training.checkpoints import LATEST, Progress, load_latest, save_latest
from samunet.training.logbook import Entry, Logbook
from samunet.training.loggers import Loggers
from samunet.training.settings import ITERATIONS_PER_EPOCH
from samunet.variants.base import TrainedVariant
from samunet.variants.precision import dtype_of

POLY_POWER = 0.9
GRADIENT_NORM = 12.0
# The first iterations find batches that were read before the clock started, and are not counted.
WARM_UP_ITERATIONS, MEASURED_ITERATIONS = 3, 10


class Optimization:
    """The optimiser, its schedule and its loss scaling: one `step` per batch."""

    def __init__(self, variant: TrainedVariant, device: torch.device) -> None:
        self.variant, self.device = variant, device
        variant.network.to(device).train()
        if is_distributed():
            # DDP that leaves the module's class and names as they are. A U-Net's coarsest logits have no loss.
            replicate(variant.network, find_unused_parameters=True)
        self.parameters = [parameter for parameter in variant.network.parameters() if parameter.requires_grad]
        self.optimizer = variant.optimizer(self.parameters)
        self.dtype = dtype_of(variant, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)

    def step(self, inputs: Inputs, segmentation: Tensor, learning_rate: float) -> float:
        """One update; returns the batch's loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            outputs = self._outputs(local_rows(inputs).to(self.device))
        loss = self.variant.loss(outputs, local_rows(segmentation).to(self.device))
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.parameters, GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def _outputs(self, inputs: Inputs) -> Tensor | list[Tensor]:
        """The outputs that the loss reads, of a whole batch of the configured size, whatever memory holds.

        Where fewer samples go through the network at once, each part's graph is dropped and computed again for its
        gradient, with the same random numbers. So the parts' gradients add up to that of the loss of the whole batch,
        whose Dice is no sum over samples, for one more pass forward. Several processes have a part each already.
        """
        few = self.variant.micro_batch
        if few is None or len(inputs) <= few or is_distributed():
            return self.variant.outputs(inputs)
        # The random state is saved of the devices of those arguments that are tensors, so one is given.
        parts: list[Any] = [
            checkpoint(lambda part, _: self.variant.outputs(part), inputs[start : start + few], self.parameters[0],
                       use_reentrant=False) for start in range(0, len(inputs), few)]
        return torch.cat(parts)


def train(
    variant: TrainedVariant, batches: Batches[Any], iterations: int, folder: Path, device: torch.device,
    loggers: Loggers | None = None, pseudo_dice: Callable[[], float] | None = None,
) -> float:
    """Train `variant` in place, resuming from `folder`'s latest checkpoint if there is one.

    All randomness hangs on (seed, iteration, sample), so a run that was stopped anywhere and goes on ends with the same
    weights as one that was not (on one machine, with the same versions and thread count, on the CPU). Several processes
    (`processes`) share each batch; the first writes, and passes the lines of its log on to `loggers`.
    `pseudo_dice` is called for each line, for display alone.

    Returns:
        Seconds of training over all sittings.

    Raises:
        RuntimeError: a loss that is not finite; names the iteration and the cases.
    """
    optimization = Optimization(variant, device)
    done = Progress(0, 0.0)
    if (folder / LATEST).is_file():
        done = load_latest(folder / LATEST, variant, optimization.optimizer, optimization.scaler)
    wait_for_all()  # before the first one writes what others might still read
    logbook = Logbook(folder, done.iteration, loggers) if rank() == 0 else None
    losses: list[float] = []
    started = time.perf_counter()

    # The next batches are read while the head trains on this one.
    with closing(read_ahead(map(batches.read, range(done.iteration, iterations)))) as ahead:
        for batch in progress(ahead, "training", iterations - done.iteration):
            rate = poly_learning_rate(variant.learning_rate, batch.iteration, iterations)
            rate *= warmed_up(variant.warmup_share, batch.iteration, iterations)
            losses.append(_iterate(optimization, batches.seed, batch, rate))
            reached = batch.iteration + 1
            if reached % ITERATIONS_PER_EPOCH == 0 or reached == iterations:
                seconds = time.perf_counter() - started
                done = Progress(reached, done.seconds + seconds)
                if logbook:
                    # The log first: a line that the checkpoint does not know is dropped on resume, a lost one would
                    # stay lost.
                    shown = pseudo_dice() if pseudo_dice else None
                    logbook.add(Entry(reached, sum(losses) / len(losses), rate, seconds, shown))
                    save_latest(folder / LATEST, variant, optimization.optimizer, optimization.scaler, done)
                losses, started = [], time.perf_counter()

    if logbook:
        logbook.draw()
    return done.seconds


def seconds_per_iteration(
    variant: TrainedVariant, batches: Batches[Any], device: torch.device,
    iterations: int = MEASURED_ITERATIONS,
) -> float:
    """Seconds that one iteration of training takes, the mean of a few on a copy of the variant."""
    optimization = Optimization(copy.deepcopy(variant), device)
    started = 0.0
    first = batches.settled
    with closing(read_ahead(map(batches.read, range(first, first + WARM_UP_ITERATIONS + iterations)))) as ahead:
        for batch in ahead:
            _iterate(optimization, batches.seed, batch, variant.learning_rate)
            if batch.iteration == first + WARM_UP_ITERATIONS - 1:
                started = time.perf_counter()  # before the wait for the next batch, which counts as well
    return (time.perf_counter() - started) / iterations


def poly_learning_rate(initial: float, iteration: int, iterations: int) -> float:
    """nnU-Net's polynomial schedule: initial * (1 - iteration / iterations) ** 0.9."""
    return initial * (1 - iteration / iterations) ** POLY_POWER


def warmed_up(share: float, iteration: int, iterations: int) -> float:
    """Part of the rate that an iteration has: rising linearly to 1 over the first `share` of the iterations."""
    return min(1.0, (iteration + 1) / max(1.0, share * iterations))


def _iterate(optimization: Optimization, seed: int, batch: Batch, rate: float) -> float:
    # Layers that draw at random (dropout) get their seed from the iteration as well, never from what ran before.
    torch.manual_seed(int(np.random.SeedSequence([seed, batch.iteration]).generate_state(1, np.uint64)[0]))
    loss = optimization.step(batch.inputs, batch.segmentation, rate)
    if not math.isfinite(loss):
        names = ", ".join(sorted(set(batch.names)))
        raise RuntimeError(f"the loss is {loss} at iteration {batch.iteration}, cases {names}")
    return loss
