"""nnFormer (Zhou et al., arXiv 2109.03201): a U-shaped transformer in windows of volumes, skips joined by attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from samunet.networks.padding_3d import Axes, cropped_to, padded_to, whole_steps
from samunet.networks.window_attention_3d import WindowAttention3d

WIDTH = 192  # channels of the first stage, as published for Synapse; each stage has twice as many
HEADS, WINDOWS = (6, 12, 24, 48), (4, 4, 8, 4)  # of each stage
STAGES, BLOCKS = 4, 2
TOKEN: Axes = (2, 4, 4)  # voxels
STEP: Axes = (16, 32, 32)  # voxels that become one token of the deepest stage
EXPANSION = 4
DROPPED = 0.2  # of the residual branches of the deepest block in training; fewer before


class NnFormer(nn.Module):
    """Patches float32 (B, C, z, y, x) -> logits (B, K, ...) of three decoder stages, finest first.

    The finest has the patch's grid, the others a half and a quarter of that of `padded(patch)`, to which patches are
    padded inside. 150,054,210 parameters for 1 channel, 14 classes and patches of 64 x 128 x 128, 0.3 % fewer than the
    150.5 M that are published for Synapse (see UNETR++, arXiv 2212.04497): the layers of the authors' released code,
    which give the 149.3 M of 3D UX-Net's table (arXiv 2209.15076) for its patches of 96 x 96 x 96 and one head.

    Deviations: a window is at most the map along each axis by itself, where the authors shorten all sides to the
    shortest axis; padded tokens are not seen; each offset within a window has a bias of its own, where the authors'
    index gives some offsets the same.

    Arguments:
        channels, classes: C and K.
        patch: voxels (z, y, x), for which windows are laid out.
        width: channels of the first stage, a multiple of 6.
    """

    def __init__(self, channels: int, classes: int, patch: Axes, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(STAGES)]
        grid = [side // part for side, part in zip(self.padded(patch), TOKEN, strict=True)]
        windows = [_window(grid, stage) for stage in range(STAGES)]
        moved = [_shift(grid, windows[stage], stage) for stage in range(STAGES)]
        down = [rate.item() for rate in torch.linspace(0, DROPPED, STAGES * BLOCKS, device="cpu")]
        up = [rate.item() for rate in torch.linspace(0, DROPPED, (STAGES - 1) * BLOCKS, device="cpu")]
        self.embedding = Embedding(channels, width)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(widths[stage], HEADS[stage], windows[stage], moved[stage] if odd else (0, 0, 0),
                                  down[stage * BLOCKS + odd]) for odd in range(BLOCKS))) for stage in range(STAGES))
        self.norms = nn.ModuleList(nn.LayerNorm(each) for each in widths)
        self.merging = nn.ModuleList(Merging(each) for each in widths[:-1])
        self.expanding = nn.ModuleList(Expanding(each) for each in widths[:-1])
        self.joining = nn.ModuleList(
            JoiningBlock(widths[stage], HEADS[stage], windows[stage], (0, 0, 0), up[2 * (STAGES - 2 - stage)])
            for stage in range(STAGES - 1))
        self.refining = nn.ModuleList(
            Block(widths[stage], HEADS[stage], windows[stage], moved[stage], up[2 * (STAGES - 2 - stage) + 1])
            for stage in range(STAGES - 1))
        self.heads = nn.ModuleList(nn.ConvTranspose3d(each, classes, TOKEN, TOKEN) for each in widths[:-1])

    @staticmethod
    def padded(patch: Sequence[int]) -> Axes:
        """The shape (z, y, x) to which a patch is padded inside."""
        return whole_steps(patch, STEP)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Patches float32 (B, C, z, y, x) -> logits of three stages, finest first."""
        shape = images.shape[2:]
        shown = self.embedding(padded_to(images, self.padded(shape))).movedim(1, -1)
        skips = []
        for stage in range(STAGES):
            shown = self.stages[stage](shown)
            skips.append(self.norms[stage](shown))
            shown = self.merging[stage](shown) if stage < STAGES - 1 else skips[-1]
        logits: list[Tensor] = []
        for stage in reversed(range(STAGES - 1)):
            expanded = self.expanding[stage](shown)
            shown = self.refining[stage](self.joining[stage](expanded, skips[stage]))
            logits.insert(0, self.heads[stage](shown.movedim(-1, 1)))
        return [cropped_to(logits[0], shape), *logits[1:]]


def _window(grid: Sequence[int], stage: int) -> Axes:
    z, y, x = (min(WINDOWS[stage], side // 2**stage) for side in grid)
    return z, y, x


def _shift(grid: Sequence[int], window: Axes, stage: int) -> Axes:
    """Half a window, along axes that have more than one."""
    z, y, x = (part // 2 if side // 2**stage > part else 0 for side, part in zip(grid, window, strict=True))
    return z, y, x


class Embedding(nn.Module):
    """Four convolutions that take patches (B, C, z, y, x) to tokens of 2 x 4 x 4 voxels, (B, width, z, y, x)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.convolutions = nn.ModuleList([
            nn.Conv3d(channels, half, 3, (2, 2, 2), padding=1), nn.Conv3d(half, half, 3, padding=1),
            nn.Conv3d(half, width, 3, (1, 2, 2), padding=1), nn.Conv3d(width, width, 3, padding=1)])
        self.norms = nn.ModuleList([nn.LayerNorm(half), nn.LayerNorm(half), nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, images: Tensor) -> Tensor:
        """Patches -> tokens; the last convolution has no activation."""
        shown = images
        for layer, norm in zip(self.convolutions, self.norms, strict=True):
            shown = layer(shown)
            shown = shown if norm is self.norms[-1] else nn.functional.gelu(shown)
            shown = norm(shown.movedim(1, -1)).movedim(-1, 1)
        return shown


class Block(nn.Module):
    """A Swin block: attention in windows and a perceptron, both behind a norm and beside a residual path."""

    queried = False

    def __init__(self, width: int, heads: int, window: Axes, shift: Axes, dropped: float) -> None:
        super().__init__()
        self.dropped = dropped
        self.norm = nn.LayerNorm(width)
        self.attention = WindowAttention3d(width, heads, window, shift, queried=self.queried)
        self.perceptron = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, EXPANSION * width), nn.GELU(),
                                        nn.Linear(EXPANSION * width, width))

    def forward(self, shown: Tensor) -> Tensor:
        """Maps (B, z, y, x, width) -> the same."""
        return self.refined(shown, self.attention(self.norm(shown)))

    def refined(self, shown: Tensor, seen: Tensor) -> Tensor:
        """`shown` with what attention has seen, then through the perceptron."""
        joined = shown + self._branch(seen)
        return joined + self._branch(self.perceptron(joined))

    def _branch(self, branch: Tensor) -> Tensor:
        """Stochastic depth: in training, a share of the samples goes without; the others weigh more."""
        if not self.training or not self.dropped:
            return branch
        held = torch.rand(len(branch), 1, 1, 1, 1, device=branch.device) >= self.dropped
        return branch * held / (1 - self.dropped)


class JoiningBlock(Block):
    """Skip attention: the expanded map queries the encoder's; one norm serves both."""

    queried = True

    def forward(self, shown: Tensor, skip: Tensor | None = None) -> Tensor:
        """Maps (B, z, y, x, width) of decoder and encoder -> the same."""
        assert skip is not None
        return self.refined(shown + skip, self.attention(self.norm(skip), self.norm(shown)))


class Merging(nn.Module):
    """Half the grid, twice the channels: GELU, norm, a convolution of 3 with stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.convolution = nn.LayerNorm(width), nn.Conv3d(width, 2 * width, 3, 2, padding=1)

    def forward(self, shown: Tensor) -> Tensor:
        """Maps (B, z, y, x, width) -> (B, z/2, y/2, x/2, 2 width)."""
        return self.convolution(self.norm(nn.functional.gelu(shown)).movedim(-1, 1)).movedim(1, -1)


class Expanding(nn.Module):
    """Twice the grid, half the channels: norm, a transposed convolution of 2 with stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.convolution = nn.LayerNorm(2 * width), nn.ConvTranspose3d(2 * width, width, 2, 2)

    def forward(self, shown: Tensor) -> Tensor:
        """Maps (B, z, y, x, 2 width) -> (B, 2z, 2y, 2x, width)."""
        return self.convolution(self.norm(shown).movedim(-1, 1)).movedim(1, -1)
