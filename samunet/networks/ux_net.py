"""3D UX-Net (Lee et al., arXiv 2209.15076): a U-Net whose encoder is made of depthwise convolutions of 7 voxels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from samunet.networks.padding_3d import cropped_to, padded_to, whole_steps

WIDTH = 48  # channels of the first stage, as published; each stage has twice as many
STAGES, BLOCKS = 4, 2
STEP = 2**STAGES  # voxels of the padded patch along each axis that become one in the deepest stage
EXPANSION = 4
SLOPE = 1e-2


class UxNet(nn.Module):
    """Patches float32 (B, C, z, y, x) -> logits (B, K, z, y, x), padded inside to whole steps of 16 voxels.

    53,006,461 parameters for 1 channel and 13 classes, published as 53.01 M. The authors' decoder is UNETR's
    (Hatamizadeh et al., arXiv 2103.10504): residual blocks on the image and on each stage, joined from coarse to fine.

    Deviations: no stochastic depth, whose published rate is 0.

    Arguments:
        channels, classes: C and K.
        width: channels of the first stage.
    """

    def __init__(self, channels: int, classes: int, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(STAGES + 1)]
        stem = nn.Sequential(nn.Conv3d(channels, width, 7, 2, padding=3), ChannelNorm(width))
        poolings = [nn.Sequential(ChannelNorm(fine), nn.Conv3d(fine, coarse, 2, 2))
                    for fine, coarse in pairwise(widths[:-1])]
        self.downsampling = nn.ModuleList([stem, *poolings])
        self.stages = nn.ModuleList(nn.Sequential(*(UxBlock(each) for _ in range(BLOCKS))) for each in widths[:-1])
        self.norms = nn.ModuleList(ChannelNorm(each) for each in widths[:-1])
        self.skips = nn.ModuleList(Residual(before, after)
                                   for before, after in zip([channels, *widths[:-1]], widths, strict=True))
        self.upsampling = nn.ModuleList(nn.ConvTranspose3d(2 * each, each, 2, 2, bias=False) for each in widths[:-1])
        self.joined = nn.ModuleList(Residual(2 * each, each) for each in widths[:-1])
        self.last = Residual(width, width)
        self.head = nn.Conv3d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Patches float32 (B, C, z, y, x) -> logits (B, K, z, y, x)."""
        shape = images.shape[2:]
        shown = padded_to(images, whole_steps(shape, (STEP,) * 3))
        maps = [shown]
        for downsample, stage, norm in zip(self.downsampling, self.stages, self.norms, strict=True):
            shown = stage(downsample(shown))
            maps.append(norm(shown))
        *skips, deepest = (skip(each) for skip, each in zip(self.skips, maps, strict=True))
        for depth in reversed(range(STAGES)):
            deepest = self.joined[depth](torch.cat([self.upsampling[depth](deepest), skips[depth]], 1))
        return cropped_to(self.head(self.last(deepest)), shape)


class UxBlock(nn.Module):
    """x + scaled(depthwise convolution of 7 voxels, norm over channels, four times as many channels and back).

    The two convolutions of one voxel are depthwise, too ("depthwise convolution scaling", section 3.2): each channel
    is widened by itself. The scale of each channel starts at 1e-6.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(width, width, 7, padding=3, groups=width),
            ChannelNorm(width),
            nn.Conv3d(width, EXPANSION * width, 1, groups=width),
            nn.GELU(),
            nn.Conv3d(EXPANSION * width, width, 1, groups=width),
        )
        self.scale = nn.Parameter(torch.full((width, 1, 1, 1), 1e-6))

    def forward(self, shown: Tensor) -> Tensor:
        """(B, width, z, y, x) -> the same."""
        return shown + self.scale * self.layers(shown)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each voxel of (B, width, z, y, x)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        """(B, width, z, y, x) -> the same."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class Residual(nn.Module):
    """UNETR's block: two convolutions of 3 voxels with instance norm; a third of 1 voxel where the width changes."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(before, after, 3, padding=1, bias=False), nn.InstanceNorm3d(after), nn.LeakyReLU(SLOPE),
            nn.Conv3d(after, after, 3, padding=1, bias=False), nn.InstanceNorm3d(after))
        self.shortcut: nn.Module = nn.Identity()
        if before != after:
            self.shortcut = nn.Sequential(nn.Conv3d(before, after, 1, bias=False), nn.InstanceNorm3d(after))

    def forward(self, shown: Tensor) -> Tensor:
        """(B, before, z, y, x) -> (B, after, z, y, x)."""
        return nn.functional.leaky_relu(self.layers(shown) + self.shortcut(shown), SLOPE)
