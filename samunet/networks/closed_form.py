"""A segmentation network's class head, fitted in closed form from the features of labelled voxels."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from samunet.networks.hybrid import Hybrid

MARGIN = 5.0  # the logit that a member of a class is fitted to; others to its negative
PENALTY = 1e-2  # features leave an instance normalisation, so that their scale is about 1

Sample = tuple[Tensor, Tensor, Tensor, Tensor]


def ridge_head(
    features: Tensor, targets: Tensor, weight: Tensor, penalty: Tensor | float = PENALTY
) -> tuple[Tensor, Tensor]:
    """Weighted ridge regression: the (W, b) of least sum_v w_v |W f_v + b - t_v|^2 + penalty |W|^2, sum_v w_v = 1.

    b carries no penalty. Differentiable in all arguments: the head of R2-D2 (Bertinetto et al. 2019, section 3), with
    weights and a free constant.

    Arguments:
        features: float (V, C). targets: float (V, K). weight: float (V,), at least 0, of any sum above 0.
        penalty: above 0, in units of the features' variance.

    Returns:
        weight (K, C) and bias (K,) of a linear layer.
    """
    share = (weight / weight.sum())[:, None]
    middle, mean = (share * features).sum(0), (share * targets).sum(0)
    centred = features - middle
    weighted = share * centred
    gram = centred.T @ weighted + penalty * torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
    fitted = torch.linalg.solve(gram, weighted.T @ (targets - mean)).T
    return fitted, mean - fitted @ middle


def balanced(targets: Tensor) -> Tensor:
    """Weights (V,) under which each class has the same sum, of membership bool (V, K).

    A class is a row that occurs: one channel of plain labels, a set of channels of regions.
    """
    codes = (targets.long() * 2 ** torch.arange(targets.shape[1], device=targets.device)).sum(1)
    _, number, counts = torch.unique(codes, return_inverse=True, return_counts=True)
    return 1 / (len(counts) * counts[number].float())


@torch.no_grad()
def fit_head(network: Hybrid, samples: Iterable[Sample], penalty: float = PENALTY) -> None:
    """Fit the head of the finest decoder stage to labelled volumes, in place; nothing, where no voxel is labelled.

    Members of a class are fitted to logits of MARGIN, others to -MARGIN, in float64, classes weighing alike. The heads
    of coarser stages stay as they are: they count in training alone.

    Arguments:
        samples: each image float32 (B, C, *shape), embeddings float32 (B, D, *cells), membership bool (B, K, *shape) of
            the head's K channels, and bool (B, *shape), which voxels count.
    """
    features, targets = [], []
    was_training = network.training
    network.eval()
    for image, embeddings, members, counted in samples:
        voxels = network.features(image, embeddings).movedim(1, -1)
        features.append(voxels[counted])
        targets.append(members.movedim(1, -1)[counted])
    network.train(was_training)
    seen, known = torch.cat(features).double(), torch.cat(targets)
    if not len(seen):
        return
    head = network.heads[0]
    assert isinstance(head, nn.Conv3d) and head.bias is not None
    weight, bias = ridge_head(seen, (known.double() * 2 - 1) * MARGIN, balanced(known).double(), penalty)
    head.weight.copy_(weight[:, :, None, None, None])
    head.bias.copy_(bias)
