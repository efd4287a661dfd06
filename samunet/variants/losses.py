"""The loss of every trained variant: soft Dice plus cross entropy, for plain labels, regions and the ignore label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from samunet.dataset.labels import LabelSpace
from samunet.networks.processes import total

SMOOTH = 1e-5


def dice_and_cross_entropy(logits: Tensor, segmentation: Tensor, labels: LabelSpace) -> Tensor:
    """Mean of soft Dice loss and cross entropy, in float32, over the whole batch, in however many processes it lies.

    Plain labels: softmax, Dice over the foreground channels, categorical cross entropy. Regions: sigmoid, Dice over all
    channels, binary cross entropy. Voxels of the ignore label count in neither; a batch that holds nothing else has
    loss 0 (and gradients of 0). Negative label values are background.

    Arguments:
        logits: (B, K, ...), K = labels.channels, any floating type.
        segmentation: (B, ...) integer label values.

    Returns:
        Scalar, in [0, infinity).
    """
    logits = logits.float()
    valid = labels.valid(segmentation)
    target = torch.stack([mask & valid for mask in labels.channel_masks(segmentation)], dim=1).float()
    weight = valid.unsqueeze(1).float()
    if labels.has_regions:
        probabilities = torch.sigmoid(logits)
        dice = soft_dice_loss(probabilities, target, weight)
        entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
    else:
        probabilities = torch.softmax(logits, dim=1)
        dice = soft_dice_loss(probabilities[:, 1:], target[:, 1:], weight)
        entropy = functional.cross_entropy(logits, target.argmax(1), reduction="none")
    entropy = total((entropy * valid).sum()) / total(valid.sum()).clamp(min=1)
    # Without a valid voxel the Dice term is the constant 0 through its smoothing terms, and the entropy 0 as well.
    return (dice + entropy) / 2


def soft_dice_loss(probabilities: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - mean over channels of (2 sum(p t) + s) / (sum(p) + sum(t) + s), sums over batch and voxels, s = 1e-5.

    Arguments:
        probabilities, target: float32 (B, K, ...), in [0, 1].
        weight: float32 (B, 1, ...), 1 where a voxel counts, else 0.
    """
    axes = [axis for axis in range(probabilities.ndim) if axis != 1]
    overlap = total((probabilities * target * weight).sum(axes))
    sizes = total((probabilities * weight).sum(axes) + (target * weight).sum(axes))
    return 1 - ((2 * overlap + SMOOTH) / (sizes + SMOOTH)).mean()
