"""The pseudo-Dice of a run that trains: of a few fixed windows of validation cases, for the eyes alone.

As nnU-Net's, it is the Dice of windows, not of cases. Nothing reads it: no weight, rate or choice depends on it, and a
run ends with the same weights with and without. One batch is predicted for each line of the log, which is at most one
iteration in 50, without its gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from samunet.dataset.labels import OUTSIDE, LabelSpace
from samunet.inputs.protocols import CaseInputs, Inputs
from samunet.preprocessing.arrays import labels_of
from samunet.processes import is_distributed
from samunet.training.experiment import Experiment
from samunet.variants.base import TrainedVariant
from samunet.variants.registry import entry

CASES = 4


@dataclass(frozen=True)
class Windows:
    """B windows of one case: what the network reads, and their label values int16 (B, N, rows, columns)."""

    inputs: Inputs
    segmentation: np.ndarray


class PseudoDice:
    """What computes it for `variant`, on windows that are read once."""

    def __init__(self, variant: TrainedVariant, windows: Sequence[Windows]) -> None:
        self._variant, self._windows = variant, windows

    def now(self) -> float:
        """The mean over classes of the Dice with the weights as they are, NaN where the windows show no class.

        Of each class all windows are one set of voxels. The network is in training mode afterwards.
        """
        network = self._variant.network
        device = next(network.parameters()).device
        counts = np.zeros((len(self._variant.labels.foreground), 2))
        network.eval()
        with torch.no_grad():
            for each in self._windows:
                logits = self._variant.logits(each.inputs.to(device)).float().transpose(0, 1).cpu().numpy()
                predicted = self._variant.labels.decode(logits, threshold=0.0)
                predicted = predicted.reshape(each.segmentation.shape)  # N is 1 where the network sees single slices
                counts += overlaps(predicted, each.segmentation, self._variant.labels)
        network.train()
        shown = counts[counts[:, 1] > 0]
        return float(np.mean(2 * shown[:, 0] / shown[:, 1])) if len(shown) else float("nan")


def overlaps(predicted: np.ndarray, reference: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """For each class the voxels that both show, and the sum of those that each shows: (F, 2).

    Ignored and unannotated voxels of `reference` do not count.
    """
    valid = labels.valid(reference)
    masks = [(labels.mask(predicted, label) & valid, labels.mask(reference, label) & valid)
             for label in labels.foreground]
    return np.array([[(one & other).sum(), one.sum() + other.sum()] for one, other in masks])


def pseudo_dice_of(experiment: Experiment, variant: TrainedVariant) -> PseudoDice | None:
    """What computes the pseudo-Dice of a run; None where the run validates nothing or it would cost too much.

    It would where what a network reads of a case takes registration, needs prompts, or where several processes train.
    """
    if not (experiment.request.validate and experiment.val_cases):
        return None
    if is_distributed() or variant.inputs_depend_on_model or entry(experiment.settings.variant).prompts:
        return None
    step = max(1, len(experiment.val_cases) // CASES)
    names = experiment.val_cases[::step][:CASES]
    count = max(1, experiment.settings.batch_size // len(names))
    cached: Mapping[str, Any] = experiment.embeddings(names) if variant.reads_embeddings else {}
    windows = []
    for name in names[: experiment.settings.batch_size]:
        case = experiment.store.load(name)
        inputs = variant.inputs_of(case, experiment.plans, experiment.encoder, cached=cached.get(name))
        windows.append(windows_of(inputs, labels_of(experiment.store, name), variant, count))
    return PseudoDice(variant, windows)


def windows_of(inputs: CaseInputs, segmentation: np.ndarray, variant: TrainedVariant, count: int) -> Windows:
    """`count` windows of a case, around slices that are spread over those with foreground, else over all.

    Of the tiles, that which shows most foreground there. `segmentation` is int16 (Z, Y, X).
    """
    labels, frame, slices = variant.labels, inputs.frame, variant.slices
    shown = np.any([labels.mask(segmentation, label) for label in labels.foreground], axis=0)
    planes = np.flatnonzero(shown.any(axis=(1, 2)))
    planes = planes if len(planes) else np.arange(len(segmentation))
    places, references = [], []
    for part in range(count):
        plane = int(planes[(2 * part + 1) * len(planes) // (2 * count)])
        tile = int(np.argmax([frame.cut(shown[plane], index, 0).sum() for index in range(len(frame.starts))]))
        first = first_around(plane, slices, len(segmentation))
        window = np.full((slices, *segmentation.shape[1:]), OUTSIDE, segmentation.dtype)
        low, high = max(first, 0), min(first + slices, len(segmentation))
        window[low - first : high - first] = segmentation[low:high]
        places.append((first, tile))
        references.append(frame.cut(window, tile, OUTSIDE))
    return Windows(inputs.read(places), np.stack(references))


def first_around(plane: int, slices: int, depth: int) -> int:
    """First of `slices` slices with `plane` in their middle, inside a case of `depth`; negative where it is shorter."""
    if depth <= slices:
        return -((slices - depth) // 2)
    return min(max(plane - slices // 2, 0), depth - slices)
