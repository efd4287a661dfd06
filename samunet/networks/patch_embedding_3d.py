"""Segment Anything's patch embedding on volumes: one convolution of the voxels as they are, magnified by no array.

The publication (3DSAM-adapter, arXiv 2306.13465, section 3.2) magnifies a volume until a token covers 16 voxels along
each axis, embeds every slice with the frozen 16 x 16 convolution, and mixes the slices of a token with a trained
depthwise convolution of kernel and stride 16. Linear interpolation, the frozen convolution and the trained one are all
linear, so their product is computed instead: a convolution whose stride is the token, and whose kernel reaches one
voxel beyond it on each side, where the interpolation does. Nothing is approximated.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.planning.encoder_spec import PATCH_SIZE


class PatchEmbedding3d(nn.Module):
    """Volumes (B, C, Z, Y, X) -> tokens (B, d, h, w, D) float32.

    Frozen: the 2D convolution. Trained: the depthwise convolution `depth_weight` (D, 16) and `depth_bias` (D,), and,
    for more than three channels of the image, the map to SAM's three. One channel is replicated to all three; of two,
    the third is the mean; three stay as they are. Difference from the publication: the depthwise convolution starts as
    the mean over depth (weights 1/16, bias 0) instead of PyTorch's random values, so that equal slices start with the
    tokens of the 2D encoder.

    Arguments:
        projection: SAM's convolution, 3 -> D, 16 x 16.
        channels: C.
        token: voxels (z, y, x) that one token covers, each 1 to 16.
    """

    def __init__(self, projection: nn.Conv2d, channels: int, token: tuple[int, int, int]) -> None:
        super().__init__()
        assert projection.bias is not None  # SAM's has one
        self.weight, self.bias, self.token = projection.weight, projection.bias, token
        width = projection.out_channels
        self.depth_weight = nn.Parameter(torch.full((width, PATCH_SIZE), 1 / PATCH_SIZE))
        self.depth_bias = nn.Parameter(torch.zeros(width))
        self.channels: Tensor
        self.taps_z: Tensor
        self.taps_y: Tensor
        self.taps_x: Tensor
        if channels > 3:
            self.channels = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(3, channels), a=math.sqrt(5)))
        else:
            self.register_buffer("channels", _fixed_channels(channels), persistent=False)
        for axis, size in zip("zyx", token, strict=True):
            self.register_buffer(f"taps_{axis}", interpolation_taps(size), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, Z, Y, X), sides multiples of the token -> (B, d, h, w, D) float32."""
        plane = torch.einsum("dkij,kc,iy,jx->dcyx", self.weight.float(), self.channels, self.taps_y, self.taps_x)
        kernel = (self.depth_weight @ self.taps_z)[:, None, :, None, None] * plane[:, :, None]
        bias = self.bias.float() * self.depth_weight.sum(1) + self.depth_bias
        # Interpolation beyond the outer voxels' centres continues with their values.
        padded = functional.pad(images.float(), (1,) * 6, mode="replicate")
        return functional.conv3d(padded, kernel, bias, stride=self.token).permute(0, 2, 3, 4, 1)


def interpolation_taps(token: int) -> Tensor:
    """Weights with which PATCH_SIZE samples of a token mix its voxels and the two beside it: float32 (16, token + 2).

    Linear interpolation without aligned corners: sample s is at (s + 1/2) token / 16 - 1/2 voxels, the first voxel of
    the token being 0 and the one before it -1.
    """
    places = (torch.arange(PATCH_SIZE, dtype=torch.float64) + 0.5) * token / PATCH_SIZE - 0.5 + 1
    voxels = torch.arange(token + 2, dtype=torch.float64)
    return (1 - (places[:, None] - voxels).abs()).clamp_min(0).float()


def _fixed_channels(channels: int) -> Tensor:
    rows = {1: [[1.0]] * 3, 2: [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]}
    return torch.tensor(rows[channels]) if channels in rows else torch.eye(3)
