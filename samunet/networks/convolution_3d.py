"""3D convolutions as a CPU computes them fastest."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolution3d(nn.Conv3d):
    """A convolution of stride 1 and one group, (B, C, d, h, w) -> (B, out, d, h, w)."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, d, h, w) -> (B, out, d, h, w)."""
        return convolved(maps, self.weight, self.bias)


class DisjointTransposed3d(nn.ConvTranspose3d):
    """A transposed convolution whose kernel is its stride, so that no two places of its input meet in its output."""

    def __init__(self, channels: int, out: int, stride: tuple[int, int, int]) -> None:
        super().__init__(channels, out, stride, stride)

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, d, h, w) -> (B, out, d, h, w), each side times its stride.

        In evaluation it is one matrix product and a change of order: on a CPU a quarter of the time of torch's
        kernel, with the same sums. In bfloat16 training, too, where torch's kernel damages memory: see
        `flat_convolutions`.
        """
        if self.training and not trained_in_bfloat16(maps):
            return super().forward(maps, output_size)
        assert self.bias is not None
        out, *stride = self.weight.shape[1:]
        batch, _, *sides = maps.shape
        placed = torch.matmul(self.weight.flatten(1).T, maps.flatten(2)).view(batch, out, *stride, *sides)
        joined = placed.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(
            batch, out, *(side * step for side, step in zip(sides, stride, strict=True)))
        return joined + self.bias.view(-1, 1, 1, 1)


def trained_in_bfloat16(maps: Tensor) -> bool:
    """Whether a backward pass may follow that computes in bfloat16 on a processor."""
    return maps.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()


def convolved(maps: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution of maps (B, C, d, h, w) with weight (out, C, k, k, k), k odd, and zeros beyond the border.

    For a batch of one with few and small maps, torch chooses a CPU kernel that takes 4 to 20 times as long as oneDNN's.
    """
    padding = [side // 2 for side in weight.shape[2:]]
    plain = maps.device.type == "cpu" and maps.dtype == weight.dtype == torch.float32
    if plain and torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu"):
        return torch.mkldnn_convolution(maps, weight, bias, padding, [1] * 3, [1] * 3, 1)
    return functional.conv3d(maps, weight, bias, padding=padding)
