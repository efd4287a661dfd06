"""The transposed convolution by hand, and against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from samunet.networks.convolution_3d import DisjointTransposed3d


def test_a_voxel_becomes_its_value_times_the_kernel() -> None:
    # Two voxels, 1 and 10, along x; the kernel is (1, 2) along x; 0.5 is added everywhere.
    layer = DisjointTransposed3d(1, 1, (1, 1, 2)).eval()
    layer.load_state_dict({"weight": torch.tensor([1.0, 2.0]).view(1, 1, 1, 1, 2), "bias": torch.tensor([0.5])})
    assert layer(torch.tensor([1.0, 10.0]).view(1, 1, 1, 1, 2)).flatten().tolist() == [1.5, 2.5, 10.5, 20.5]


@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2), (3, 1, 2)])
def test_values_are_those_of_torch(stride: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    layer, reference, maps = DisjointTransposed3d(6, 4, stride), nn.ConvTranspose3d(6, 4, stride, stride), torch.randn(
        2, 6, 3, 5, 4)
    layer.load_state_dict(reference.state_dict())
    assert torch.equal(layer(maps), reference(maps))  # in training
    torch.testing.assert_close(layer.eval()(maps), reference(maps), rtol=1e-5, atol=1e-6)
