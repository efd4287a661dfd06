"""Temperature scaling, and how far probabilities are from frequencies before and after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from samunet.dataset.labels import LabelSpace

LARGEST = 20.0
BINS = 15
VOXELS_PER_CASE = 20_000


@dataclass(frozen=True)
class Voxels:
    """Sampled voxels: `logits` float32 (K, n) and `targets` bool (K, n), the channels that the reference has there."""

    logits: np.ndarray
    targets: np.ndarray


def sampled(logits: np.ndarray, segmentation: np.ndarray, labels: LabelSpace, seed: int) -> Voxels:
    """At most `VOXELS_PER_CASE` voxels of a case, uniformly without replacement, from those that count.

    Arguments:
        logits: float32 (K, Z, Y, X) on the plan's grid.
        segmentation: reference label values int16 (Z, Y, X) there; ignored and unannotated voxels are never sampled.
        seed: of NumPy's default generator.
    """
    places = np.flatnonzero(labels.valid(segmentation))
    if len(places) > VOXELS_PER_CASE:
        places = np.sort(np.random.default_rng(seed).choice(places, VOXELS_PER_CASE, replace=False))
    chosen = segmentation.ravel()[places]
    return Voxels(logits.reshape(len(logits), -1)[:, places], np.stack(labels.channel_masks(chosen)))


def joined(voxels: list[Voxels]) -> Voxels:
    """The voxels of several cases."""
    return Voxels(np.concatenate([each.logits for each in voxels], 1),
                  np.concatenate([each.targets for each in voxels], 1))


def negative_log_likelihood(voxels: Voxels, labels: LabelSpace, temperature: float) -> float:
    """Mean over voxels of -log p(reference), in nats, p from logits / `temperature`; of regions, also over channels."""
    logits = torch.from_numpy(voxels.logits).double() / temperature
    targets = torch.from_numpy(voxels.targets)
    if labels.has_regions:
        return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, targets.double()))
    return float(-(logits.log_softmax(0) * targets).sum(0).mean())


def fit_temperature(voxels: Voxels, labels: LabelSpace) -> float:
    """The temperature of the least negative log-likelihood, in [1/20, 20] (Guo et al., ICML 2017, section 4.2).

    The likelihood is convex in 1 / temperature, so a bounded search along its logarithm finds the one minimum.
    """
    from scipy.optimize import minimize_scalar  # prediction, which fits nothing, starts faster without

    bound = np.log(LARGEST)
    found = minimize_scalar(lambda log: negative_log_likelihood(voxels, labels, float(np.exp(log))),
                            bounds=(-bound, bound), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def calibration_error(voxels: Voxels, labels: LabelSpace, temperature: float) -> float:
    """Expected calibration error in [0, 1]: |accuracy - mean confidence| of 15 equal bins of confidence, weighted by
    their voxels (Guo et al., ICML 2017, equation 3).

    Confidence is the highest probability, and a voxel is right where that channel is the reference's. Of regions,
    each channel of each voxel counts by itself, with the higher of p and 1 - p.
    """
    p = labels.activate(torch.from_numpy(voxels.logits).double() / temperature).numpy()
    if labels.has_regions:
        confidence, right = np.maximum(p, 1 - p).ravel(), ((p > 0.5) == voxels.targets).ravel()
    else:
        confidence = p.max(0)
        right = np.take_along_axis(voxels.targets, p.argmax(0)[None], 0)[0]
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, right.astype(float) - confidence, BINS)
    return float(np.abs(gaps).sum() / len(confidence))
