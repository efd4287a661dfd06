"""Ridge regression from embeddings to labels, in closed form and differentiable."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge(seen: Tensor, target: Tensor, unseen: Tensor, penalty: Tensor | float) -> Tensor:
    """Predictions (B, m, K) for `unseen` (B, m, D) of the ridge regression from `seen` (B, n, D) to `target` (B, n, K).

    The penalty includes the constant, so predictions from few cells shrink towards 0.
    """
    middle = seen.mean(1, keepdim=True)
    seen, unseen = (torch.cat([each - middle, torch.ones_like(each[..., :1])], -1) for each in (seen, unseen))
    gram = seen.transpose(1, 2) @ seen + penalty * torch.eye(seen.shape[-1], device=seen.device)
    return unseen @ torch.linalg.solve(gram, seen.transpose(1, 2) @ target)
