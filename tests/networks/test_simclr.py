from __future__ import annotations

import math

import pytest
import torch

from samunet.networks.simclr import Projected, contrastive_loss


def test_loss_by_hand() -> None:
    # Two images along two axes, both views equal: similarity to the partner 1 / 0.5, to the two others 0.
    projections = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 5.0]])
    assert float(contrastive_loss(projections)) == pytest.approx(math.log(math.e**2 + 2) - 2)
    # Partners at right angles, and each like one view of the other image.
    crossed = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert float(contrastive_loss(crossed)) == pytest.approx(math.log(math.e**2 + 2))


def test_projection_of_an_averaged_map() -> None:
    class Maps(torch.nn.Module):
        def forward(self, patches):
            return [patches, patches[:, :, :1]]

    network = Projected(Maps(), 3)
    patches = torch.arange(12.0).reshape(1, 3, 2, 2)
    assert torch.equal(network(patches), network.projection(torch.tensor([[0.5, 4.5, 8.5]])))
    assert network(patches).shape == (1, 256)
