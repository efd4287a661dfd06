"""Episodes of a start's meta-learning: few labelled patients of a synthetic family, and others to segment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, one_hot

from samunet.networks.start import SLOTS
from samunet.pretraining.anatomy import LABELS, PARTITION
from samunet.pretraining.batches import MERGED_SHARE
from samunet.pretraining.random_numbers import integer, uniform
from samunet.pretraining.start_volumes import Kind, bends, make_family, volume_plan

PATIENTS = {1: 3, 2: 3, 3: 4}  # of an episode, by how many of them are labelled
PRIOR_SHARE = 0.5  # of episodes with transported labels
MISPLACED = (0.015, 0.06)  # standard deviation of the bend of transported labels, of a slice's longer side
SHIFTED = 0.7  # of that: the largest shift
TRANSPORTS = 2  # label maps that are averaged, as registration averages those of several supports
PARTITION_SHARE = 0.25  # of the background partition's regions that are as likely a class as an object is
SMALLEST_CLASS = 32  # voxels among the labelled patients; smaller regions are no class of an episode
MISSING_SHARE = 0.2  # of episodes whose classes may be missing in all patients without labels

_FLAT, _FULL = (1, 3, 3), (3, 3, 3)
_ONE, _PLANE, _ALL = (1, 1, 1), (1, 2, 2), (2, 2, 2)
# The plans of hippocampus (cropped, isotropic) and ACDC (thick slices) in smaller volumes, and one beside each.
KINDS = (
    Kind(volume_plan((24, 48, 48), (_ONE, _ALL, _ALL, _PLANE), (_FULL,) * 4), (0.8, 1.2)),
    Kind(volume_plan((4, 112, 112), (_ONE, _PLANE, _PLANE, _PLANE), (_FLAT, _FLAT, _FULL, _FULL)), (4.0, 8.0)),
    Kind(volume_plan((32, 40, 40), (_ONE, _ALL, _ALL, _ALL), (_FULL,) * 4), (0.8, 1.2)),
    Kind(volume_plan((8, 80, 80), (_ONE, _PLANE, _ALL, _ALL), (_FLAT, _FULL, _FULL, _FULL)), (2.0, 4.0)),
)


@dataclass(frozen=True)
class Episode:
    """One family, the first `labelled` of whose patients are labelled.

    Arguments:
        kind: of the volumes.
        inputs: float (P, 1 + SLOTS, Z, Y, X): the image and transported labels, zeros in episodes without these.
        classes: uint8 (P, Z, Y, X), 0 background. A class may be missing in any patient, but not in all labelled ones.
        labelled: 1 to 3.
        prior: whether labels are transported.
    """

    kind: Kind
    inputs: Tensor
    classes: Tensor
    labelled: int
    prior: bool


def make_episode(kind: Kind, labelled: int, prior: bool, generator: torch.Generator) -> Episode:
    """An episode with 1 to SLOTS classes."""
    family = make_family(kind, PATIENTS[labelled], generator)
    classes = random_classes(family.labels, labelled, generator)
    transported = torch.zeros(len(classes), SLOTS, *classes.shape[1:], device=classes.device)
    if prior:
        transported = _transported(classes, kind.thick, generator)
    return Episode(kind, torch.cat([family.image, transported], 1), classes, labelled, prior)


def random_episode(seed: int, step: int, kinds: tuple[Kind, ...]) -> Episode:
    """The episode of (seed, step) on a CPU; kinds take turns."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    labelled = integer(1, max(PATIENTS), generator)
    prior = bool(uniform(0, 1, generator, 1) < PRIOR_SHARE)
    return make_episode(kinds[step % len(kinds)], labelled, prior, generator)


def random_classes(labels: Tensor, labelled: int, generator: torch.Generator) -> Tensor:
    """Some labels of the anatomy become classes 1, 2, ..., and others parts of these or background.

    The largest label is background, unless no other is visible.

    Arguments:
        labels: uint8 (P, Z, Y, X), of `anatomy.LABELS`.
        labelled: the number of patients, the first ones, in which a class must be visible.

    Returns:
        uint8 of the same shape.
    """
    voxels = torch.bincount(labels[:labelled].flatten().long(), minlength=LABELS)
    visible, largest = voxels >= SMALLEST_CLASS, int(voxels.argmax())
    if uniform(0, 1, generator) >= MISSING_SHARE:
        visible &= torch.bincount(labels[labelled:].flatten().long(), minlength=LABELS) >= SMALLEST_CLASS
    # In random order, objects first except for some regions of the partition: most datasets label objects.
    order = uniform(0, 1, generator, LABELS)
    order[:PARTITION] += uniform(0, 1, generator, PARTITION) >= PARTITION_SHARE
    order = order.argsort()
    candidates = order[visible[order] & (order != largest)]
    if not len(candidates):
        return (labels == largest).to(torch.uint8)
    chosen = candidates[: integer(1, min(SLOTS, len(candidates)), generator)]
    merged = uniform(0, 1, generator, LABELS) < MERGED_SHARE
    into = torch.randint(1, len(chosen) + 1, (LABELS,), generator=generator, device=labels.device)
    table = torch.where(merged, into, torch.zeros_like(into))
    table[largest] = 0
    table[chosen] = torch.arange(1, len(chosen) + 1, device=labels.device)
    return table.to(torch.uint8)[labels.long()]


def _transported(classes: Tensor, thick: bool, generator: torch.Generator) -> Tensor:
    """What registration would make of other patients' labels: the patient's own, bent and shifted, in random slots.

    A stand-in that takes no time; registration's own errors are not random.

    Returns:
        float (P, SLOTS, Z, Y, X) in [0, 1].
    """
    patients, shape = len(classes), classes.shape[1:]
    shares = one_hot(classes.long(), SLOTS + 1)[..., 1:].movedim(-1, 1).float()
    shares = shares[:, torch.randperm(SLOTS, generator=generator, device=classes.device)]
    voxels = uniform(*MISPLACED, generator, 1) * max(shape[1:])
    size = torch.tensor(shape[::-1], device=classes.device)
    axes = [(torch.arange(count, device=classes.device) + 0.5) * 2 / count - 1 for count in shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
    answers = []
    for _ in range(TRANSPORTS):
        move = bends(patients, (shape[0], shape[1], shape[2]), generator) * voxels
        move = move + SHIFTED * voxels * uniform(-1, 1, generator, patients, 3, 1, 1, 1)
        if thick:
            move[:, 2] = 0  # a slice's labels come from the same slice
        grid = places + move.movedim(1, -1) * 2 / size
        answers.append(grid_sample(shares, grid, padding_mode="border", align_corners=False))
    return torch.stack(answers).mean(0)
