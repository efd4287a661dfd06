"""3D convolutions that PyTorch's bfloat16 on a processor gets wrong in training, computed in 2D."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from samunet.networks.convolution_3d import DisjointTransposed3d, trained_in_bfloat16

# Where kernels are deep, PyTorch's own are right, and faster, for as many slices, and from three on for smaller planes.
THIN, THINNEST, LARGE_PLANE = 8, 3, 16 * 16


class SliceConv3d(nn.Conv3d):
    """`nn.Conv3d` that is trained in bfloat16 as a 2D convolution of slices, where its kernel is flat or volumes thin.

    There PyTorch 2.14's own writes beyond its memory in the backward pass (processors with AMX or AVX512-BF16): seen
    were ended processes with 3 x 96 x 96 voxels and more, and gradients that are NaN with 3 and 4 x 40 x 34, of 128
    channels, and with 2 slices of 3 x 3 pixels and more. A deep kernel reads a slice and its neighbours as channels.
    """

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, Z, Y, X) -> (B, O, Z', Y', X')."""
        (deep, *_), (step, *plane_step), margins = self.kernel_size, self.stride, self.padding
        assert not isinstance(margins, str)
        margin, *plane_margin = margins
        depth, plane = volume.shape[2], math.prod(volume.shape[3:]) / math.prod(plane_step)
        right = deep > 1 and (depth >= THIN or (depth >= THINNEST and plane <= LARGE_PLANE))
        if right or not trained_in_bfloat16(volume):
            return super().forward(volume)
        padded = pad(volume, (0, 0, 0, 0, margin, margin)) if margin else volume
        last = padded.shape[2] - deep
        neighbours = torch.cat([padded[:, :, first : last + first + 1 : step] for first in range(deep)], 1)
        slices = neighbours.transpose(1, 2).flatten(0, 1)
        kernel = self.weight.transpose(1, 2).flatten(1, 2)
        answers = conv2d(slices, kernel, self.bias, tuple(plane_step), tuple(plane_margin))
        return answers.unflatten(0, (len(volume), -1)).transpose(1, 2)


def compute_by_slices(network: nn.Module) -> None:
    """Give convolutions the form above, in place, and transposed ones that of `DisjointTransposed3d` where it fits.

    Names and values of the network's weights stay.
    """
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = SliceConv3d
        elif type(module) is nn.ConvTranspose3d and module.kernel_size == module.stride and module.bias is not None:
            module.__class__ = DisjointTransposed3d
