"""Logits of voxels from four levels of features, the image, and maps of the prompts.

3DSAM-adapter's decoder (Gong et al., arXiv 2306.13465, section 3.4), and a finest stage of our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.networks.convolution_3d import Convolution3d, convolved
from samunet.planning.volumetric_channels import VolumetricChannels


@dataclass(frozen=True)
class PreparedPatch:
    """What all queries on a patch share, of batch B, or 1 for all of them.

    `last`: the last level (B, N, d, h, w). `coarse` (B, decoder channels, at half a token's side) and `fine` (B, fine
    channels, Z, Y, X): what the earlier levels and the image contribute to the two convolutions that join the inputs.
    """

    last: Tensor
    coarse: Tensor
    fine: Tensor


class JoiningConvolution(nn.Module):
    """A 3 x 3 x 3 convolution of `fixed` + `varying` channels, without bias, computed in two parts.

    A convolution of concatenated channels is the sum of one of each part, so the part that does not depend on prompts
    is computed once for all queries on a patch.
    """

    def __init__(self, fixed: int, varying: int, out: int) -> None:
        super().__init__()
        self.whole = Convolution3d(fixed + varying, out, 3, bias=False)
        self.count = fixed

    def prepare(self, maps: Tensor) -> Tensor:
        """The part of the `fixed` channels."""
        return convolved(maps, self.whole.weight[:, : self.count])

    def forward(self, prepared: Tensor, maps: Tensor) -> Tensor:
        """The whole, from `prepare` (B or 1, out, ...) and the `varying` channels (B, varying, ...)."""
        return prepared + convolved(maps, self.whole.weight[:, self.count :])


class VolumetricDecoder(nn.Module):
    """Four levels, the image and M maps of prompts -> logits (B, K, Z, Y, X).

    Each level passes two convolutions, is enlarged to half a token's side, and joined there with the image; a
    convolution and one of K channels follow. Differences from the publication: all channels of the image and M maps
    are joined, not one channel; the side of a token of 1 or 2 voxels along an axis is halved to 1; maps are enlarged
    without aligned corners, as the places of clicks are; logits are K, one of each query, not of background and
    target. A finest stage adds a correction at the voxels' resolution, so that structures thinner than half a token
    are not lost: the joined features, reduced to few channels, with image and maps, pass one more convolution.

    Arguments:
        sizes: channels.
        image: channels of the image.
        maps: M; may be 0.
        outputs: K.
        token: voxels (z, y, x) that one token covers.
    """

    def __init__(
        self, sizes: VolumetricChannels, image: int, maps: int, outputs: int, token: tuple[int, int, int]
    ) -> None:
        super().__init__()
        width, fine = sizes.decoder, sizes.fine
        self.scale = [min(2, size) for size in token]
        self.branches = nn.ModuleList(
            nn.Sequential(*_convolved(sizes.level, width), *_convolved(width, width)) for _ in range(4))
        self.join = JoiningConvolution(3 * width + image, width + maps, width)
        self.activate = nn.Sequential(nn.InstanceNorm3d(width), nn.ReLU())
        self.coarse = Convolution3d(width, outputs, 3, bias=False)
        self.reduce = Convolution3d(width, fine, 1)
        self.join_fine = JoiningConvolution(image, fine + maps, fine)
        self.activate_fine = nn.Sequential(nn.InstanceNorm3d(fine), nn.ReLU())
        self.fine = Convolution3d(fine, outputs, 1)

    def prepare(self, levels: list[Tensor], images: Tensor) -> PreparedPatch:
        """What does not depend on prompts, of levels (B, N, d, h, w) and images (B, C, Z, Y, X)."""
        grown = [self._grown(branch(level)) for branch, level in zip(self.branches[:3], levels[:3], strict=True)]
        small = functional.interpolate(images, grown[0].shape[2:], mode="area")
        coarse = self.join.prepare(torch.cat([*grown, small], 1))
        return PreparedPatch(levels[3], coarse, self.join_fine.prepare(images))

    def forward(self, prepared: PreparedPatch, last: Tensor, maps: Tensor | None = None) -> Tensor:
        """`last`: the last level, changed by prompts, (B, N, d, h, w); maps (B, M, Z, Y, X) -> (B, K, Z, Y, X)."""
        coarse = [self._grown(self.branches[3](last))]
        if maps is not None:
            coarse.append(functional.interpolate(maps, coarse[0].shape[2:], mode="area"))
        joined = self.activate(self.join(prepared.coarse, torch.cat(coarse, 1)))
        both = torch.cat([self.coarse(joined), self.reduce(joined)], 1)
        both = functional.interpolate(both, prepared.fine.shape[2:], mode="trilinear", align_corners=False)
        logits, reduced = both.split([self.coarse.out_channels, self.reduce.out_channels], 1)
        fine = reduced if maps is None else torch.cat([reduced, maps], 1)
        return logits.float() + self.fine(self.activate_fine(self.join_fine(prepared.fine, fine))).float()

    def _grown(self, maps: Tensor) -> Tensor:
        shape = [size * scale for size, scale in zip(maps.shape[2:], self.scale, strict=True)]
        return functional.interpolate(maps, shape, mode="trilinear", align_corners=False)


def _convolved(channels: int, out: int) -> list[nn.Module]:
    return [Convolution3d(channels, out, 3, bias=False), nn.InstanceNorm3d(out), nn.ReLU()]
