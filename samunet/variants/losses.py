"""The loss of every trained variant: soft Dice plus cross entropy, for plain labels, regions and the ignore label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from samunet.dataset.labels import OUTSIDE, LabelSpace
from samunet.processes import total

SMOOTH = 1e-5


def dice_and_cross_entropy(logits: Tensor, segmentation: Tensor, labels: LabelSpace, dice_share: float = 0.5) -> Tensor:
    """Weighted mean of soft Dice loss and cross entropy, in float32, over the batch of all processes.

    Plain labels: softmax, Dice over the foreground channels, categorical cross entropy. Regions: sigmoid, Dice over all
    channels, binary cross entropy. Ignored and unannotated voxels count in neither; a batch that holds nothing else has
    loss 0 (and gradients of 0).

    Arguments:
        logits: (B, K, ...), K = labels.channels, any floating type.
        segmentation: (B, ...) integer label values.
        dice_share: weight of the Dice loss; the cross entropy has the rest.

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
        entropy = functional.cross_entropy(logits, _class_numbers(target), reduction="none")
    entropy = total((entropy * valid).sum()) / total(valid.sum()).clamp(min=1)
    # Without a valid voxel the Dice term is the constant 0 through its smoothing terms, and the entropy 0 as well.
    return dice_share * dice + (1 - dice_share) * entropy


def _class_numbers(target: Tensor) -> Tensor:
    """The channel int64 (B, ...) whose target (B, K, ...) is 1, 0 where there is none.

    What `argmax` gives, which is slow along this axis on a processor.
    """
    channels = torch.arange(target.shape[1], dtype=target.dtype, device=target.device)
    return torch.einsum("bk...,k->b...", target, channels).long()


def deeply_supervised(
    outputs: Sequence[Tensor], segmentation: Tensor, labels: LabelSpace, padded: Sequence[int] | None = None
) -> Tensor:
    """nnU-Net's deep supervision: each output against nearest-neighbour labels, weighing half of the finer one's.

    Arguments:
        outputs: logits (B, K, ...) of the decoder's stages, finest first.
        segmentation: (B, ...) integer label values on the grid of the finest.
        padded: size of the grid that the coarser ones cover, which is the finest's with padding at the ends; None: the
            same.
    """
    weights = [0.5**stage for stage in range(len(outputs))]
    total_loss = segmentation.new_zeros((), dtype=torch.float32)
    for logits, weight in zip(outputs, weights, strict=True):
        targets = segmentation
        if logits.shape[2:] != segmentation.shape[1:]:
            whole = targets.float()
            if padded is not None:
                sizes = zip(padded, whole.shape[1:], strict=True)
                missing = [side for size, had in reversed([*sizes]) for side in (0, size - had)]
                whole = functional.pad(whole, missing, value=OUTSIDE)
            targets = functional.interpolate(whole[:, None], logits.shape[2:], mode="nearest-exact")[:, 0].long()
        # nnU-Net sums the two terms that are averaged there.
        total_loss = total_loss + weight / sum(weights) * 2 * dice_and_cross_entropy(logits, targets, labels)
    return total_loss


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
