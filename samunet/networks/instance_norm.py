"""Instance normalisation that predicts in fewer passes over memory."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import group_norm


class InstanceNorm2d(nn.InstanceNorm2d):
    """(B, C, h, w) -> the same; see `_normalised`."""

    def forward(self, maps: Tensor) -> Tensor:
        """Each channel of each sample with mean 0 and variance 1, then scaled and shifted."""
        return super().forward(maps) if self.training else _normalised(maps, self)


class InstanceNorm3d(nn.InstanceNorm3d):
    """(B, C, d, h, w) -> the same; see `_normalised`."""

    def forward(self, maps: Tensor) -> Tensor:
        """Each channel of each sample with mean 0 and variance 1, then scaled and shifted."""
        return super().forward(maps) if self.training else _normalised(maps, self)


def _normalised(maps: Tensor, norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> Tensor:
    """Group normalisation with a group for each channel (Wu and He, ECCV 2018, section 3: the same function).

    On a CPU torch's kernel takes a half to a quarter of the time of its instance normalisation, which is a batch
    normalisation of a reshaped batch. Sums are in another order, so the last bits differ; training keeps torch's own.
    """
    return group_norm(maps, norm.num_features, norm.weight, norm.bias, norm.eps)
