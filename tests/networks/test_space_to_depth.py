"""Cells as channels, by hand, and there and back."""

from __future__ import annotations

import torch

from samunet.networks.space_to_depth import depth_to_space, space_to_depth


def test_a_cell_by_hand() -> None:
    # One slice of 2 x 4 pixels in two channels; a cell is 1 x 2 x 2.
    image = torch.tensor([[[[0, 1, 2, 3], [4, 5, 6, 7]]], [[[10, 11, 12, 13], [14, 15, 16, 17]]]]).float()[None]
    cells = space_to_depth(image, (1, 2, 2))
    assert cells.shape == (1, 8, 1, 1, 2)
    assert cells[0, :, 0, 0, 0].tolist() == [0, 1, 4, 5, 10, 11, 14, 15]
    assert cells[0, :, 0, 0, 1].tolist() == [2, 3, 6, 7, 12, 13, 16, 17]


def test_in_the_plane_it_is_torchs() -> None:
    image = torch.randn(2, 3, 1, 6, 8)
    expected = torch.nn.functional.pixel_unshuffle(image[:, :, 0], 2)
    assert torch.equal(space_to_depth(image, (1, 2, 2))[:, :, 0], expected)


def test_there_and_back() -> None:
    volume = torch.randn(2, 3, 4, 6, 8)
    for cell in ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 3, 4)):
        assert torch.equal(depth_to_space(space_to_depth(volume, cell), cell), volume)
