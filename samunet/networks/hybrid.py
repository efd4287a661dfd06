"""A small 3D U-Net whose third stage is joined with SAM's embeddings."""

from __future__ import annotations

import math
from typing import Any

import torch
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn.functional import pad

from samunet.networks.convolution_3d import DisjointTransposed3d
from samunet.networks.flat_convolutions import compute_by_slices
from samunet.networks.instance_norm import InstanceNorm3d
from samunet.networks.space_to_depth import depth_to_space, space_to_depth
from samunet.networks.unet import SLOPE
from samunet.planning.volume_rules import JOINING_STAGE, VolumePlan

WIDTHS = (16, 32, 64, 96, 128, 128)
CONVOLUTIONS = 2  # a stage


class Hybrid(nn.Module):
    """Volumes (B, C, *shape) and their embeddings (B, D, *cells) -> logits (B, K, *shape).

    samunet's own: a token of SAM covers 16 x 16 input pixels, so fine structures drown, and a slice's embedding knows
    nothing of the slices beside it. A convolutional stem sees voxels in 3D, a quarter of the way down it is joined with
    the embeddings, projected to as many channels and normalised; deeper stages give context, the decoder has skips from
    all. nnSAM (Li et al., arXiv 2309.16967) joins MobileSAM's embeddings to a skip of a 2D nnU-Net.

    Arguments:
        channels: C. embedding_channels: D; 0: the network is a U-Net on voxels alone. classes: K.
        plan: shapes, strides and kernels; strides of fewer stages end the network earlier. The voxels of a place of the
            first stage, `plan.place`, are its channels, and the finest logits are those of each of them.
        dropped: chance with which a volume's embeddings are all set to 0 in training, so that the stem learns by
            itself, too.
    """

    def __init__(self, channels: int, embedding_channels: int, classes: int, plan: VolumePlan, dropped: float) -> None:
        super().__init__()
        self.plan, self.dropped = plan, dropped
        stages, voxels = len(plan.strides), math.prod(plan.place)
        self.joining = min(JOINING_STAGE, stages - 1)
        self.encoder, self.up, self.decoder, self.heads = (nn.ModuleList() for _ in range(4))
        for stage, (stride, kernel) in enumerate(zip(plan.strides, plan.kernels, strict=True)):
            self.encoder.append(_convolutions(
                WIDTHS[stage - 1] if stage else channels * voxels, WIDTHS[stage], kernel, stride))
        self.joins = embedding_channels > 0
        if self.joins:
            width = WIDTHS[self.joining]
            self.project = nn.Sequential(nn.Conv3d(embedding_channels, width, 1), nn.InstanceNorm3d(width, affine=True))
            self.join = _convolutions(2 * width, width, plan.kernels[self.joining], 1)
        for stage in range(stages - 1):
            stride = plan.strides[stage + 1]
            self.up.append(DisjointTransposed3d(WIDTHS[stage + 1], WIDTHS[stage], stride))
            self.decoder.append(_convolutions(2 * WIDTHS[stage], WIDTHS[stage], plan.kernels[stage], 1))
        for stage in range(max(stages - 1, 1)):
            self.heads.append(nn.Conv3d(WIDTHS[stage], classes if stage else classes * voxels, 1))
        self.apply(InitWeights_He(SLOPE))
        compute_by_slices(self)

    def forward(self, image: Tensor, embeddings: Tensor) -> list[Tensor]:
        """Logits of each decoder stage, finest first, (B, K, ...); only the finest while in evaluation mode.

        Those of coarser stages cover the padded shape.
        """
        stages = self._decoded(image, embeddings)
        read = len(stages) if self.training else 1
        finest, *coarser = [head(features) for head, features in zip(self.heads, stages[:read], strict=False)]
        return [_cropped(depth_to_space(finest, self.plan.place), image), *coarser]

    def features(self, image: Tensor, embeddings: Tensor) -> Tensor:
        """What the head of the finest stage reads: (B, 16, *shape); `plan.place` must be one voxel."""
        return _cropped(self._decoded(image, embeddings)[0], image)

    def _decoded(self, image: Tensor, embeddings: Tensor) -> list[Tensor]:
        """Features of each decoder stage, finest first, on the padded shape's places; of the only encoder stage, if one
        is.
        """
        after = [size for axis in (2, 1, 0) for size in (0, self.plan.padded[axis] - image.shape[axis - 3])]
        features = space_to_depth(pad(image, after), self.plan.place)
        skips = []
        for stage, convolutions in enumerate(self.encoder):
            features = convolutions(features)
            if self.joins and stage == self.joining:
                features = self.join(torch.cat([features, self._projected(embeddings)], 1))
            skips.append(features)
        if not self.decoder:  # a tile of under 8 voxels is never halved
            return [features]
        decoded = []
        for stage in reversed(range(len(self.decoder))):
            features = self.decoder[stage](torch.cat([self.up[stage](features), skips[stage]], 1))
            decoded.append(features)
        return decoded[::-1]

    def _projected(self, embeddings: Tensor) -> Tensor:
        projected = self.project(embeddings)
        if self.training and self.dropped:
            retained = torch.rand(len(projected), 1, 1, 1, 1, device=projected.device) >= self.dropped
            projected = projected * retained
        return projected


def _cropped(volume: Tensor, image: Tensor) -> Tensor:
    slices, rows, columns = image.shape[2:]
    return volume[:, :, :slices, :rows, :columns]


def _convolutions(channels: int, width: int, kernel: tuple[int, ...], stride: Any) -> nn.Module:
    return StackedConvBlocks(
        CONVOLUTIONS, nn.Conv3d, channels, width, kernel, stride, conv_bias=True, norm_op=InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True, "negative_slope": SLOPE})
