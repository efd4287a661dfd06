"""Instance normalisation by hand, and against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from samunet.networks.instance_norm import InstanceNorm2d, InstanceNorm3d


def test_two_channels_by_hand() -> None:
    # Channel 0: 1 and 3, mean 2, deviation 1. Channel 1: 0 and 20, mean 10, deviation 10; doubled and moved by 5.
    norm = InstanceNorm2d(2, eps=0.0, affine=True).eval()
    norm.load_state_dict({"weight": torch.tensor([1.0, 2.0]), "bias": torch.tensor([0.0, 5.0])})
    found = norm(torch.tensor([[[[1.0, 3.0]], [[0.0, 20.0]]]]))
    assert found.flatten().tolist() == pytest.approx([-1, 1, 3, 7])


@pytest.mark.parametrize("ours, theirs, shape", [
    (InstanceNorm2d, nn.InstanceNorm2d, (3, 4, 9, 7)), (InstanceNorm3d, nn.InstanceNorm3d, (2, 4, 3, 9, 7))])
def test_values_are_those_of_torch(ours: type[nn.Module], theirs: type[nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm, reference, maps = ours(4, affine=True), theirs(4, affine=True), 3 * torch.randn(shape) + 1
    state = {"weight": torch.randn(4), "bias": torch.randn(4)}
    norm.load_state_dict(state), reference.load_state_dict(state)
    assert torch.equal(norm(maps), reference(maps))  # in training the same bytes
    torch.testing.assert_close(norm.eval()(maps), reference.eval()(maps), rtol=1e-5, atol=1e-5)
