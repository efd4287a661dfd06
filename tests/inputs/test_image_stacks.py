from __future__ import annotations

from collections.abc import Sequence

import torch

from samunet.inputs.image_stacks import CaseImageStacks, planes_of
from samunet.inputs.protocols import Pick
from samunet.planning.tiles import TileFrame


class Pictures:
    """Two pictures for each slice and tile, full of 10 * slice + tile; remembers what was asked for."""

    frame, depth = TileFrame((8, 4), (4, 4), 1.0), 4

    def __init__(self) -> None:
        self.asked: list[Pick] = []

    def read(self, picks: Sequence[Pick]) -> torch.Tensor:
        self.asked += picks
        return torch.tensor([10.0 * plane + tile for plane, tile in picks]).view(-1, 1, 1, 1, 1).expand(-1, 2, 3, 16, 16)


def values(stacks: torch.Tensor) -> list[list[float]]:
    assert stacks.shape[1:] == (3, 2, 3, 16, 16)
    return stacks[:, :, 0, 0, 0, 0].tolist()


def test_stacks_begin_at_the_picked_slices() -> None:
    assert values(CaseImageStacks(Pictures(), 3, (16, 16)).read([(0, 0), (1, 1), (0, 1)])) == [[0, 10, 20], [11, 21, 31], [1, 11, 21]]


def test_beyond_an_end_the_slice_at_that_end_is_repeated() -> None:
    assert values(CaseImageStacks(Pictures(), 3, (16, 16)).read([(-2, 0), (3, 1)])) == [[0, 0, 0], [31, 31, 31]]
    assert planes_of(-1, 5, 3) == [0, 0, 1, 2, 2]


def test_what_a_tile_does_not_cover_is_cut_off() -> None:
    class Numbered(Pictures):
        def read(self, picks: Sequence[Pick]) -> torch.Tensor:
            return torch.arange(256.0).view(1, 1, 1, 16, 16).expand(len(picks), 1, 3, 16, 16)

    stacks = CaseImageStacks(Numbered(), 3, (2, 4)).read([(0, 0)])
    assert stacks[0, 2, 0, 1].tolist() == [[0, 1, 2, 3], [16, 17, 18, 19]]


def test_a_slice_of_several_stacks_is_made_once() -> None:
    pictures = Pictures()
    CaseImageStacks(pictures, 3, (16, 16)).read([(-1, 0), (0, 0), (1, 0), (1, 1)])
    assert sorted(pictures.asked) == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]
