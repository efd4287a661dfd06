"""Volumes of a case whose voxels and tokens hold their own places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from samunet.inputs.protocols import Pick
from samunet.inputs.volumes import CaseVolumes, Volumes, on_cells
from samunet.planning.tiles import TileFrame
from samunet.planning.volume_rules import VolumePlan

PLAN = VolumePlan((4, 16, 12), (4, 16, 16), ((1, 1, 1),), ((3, 3, 3),), (2, 4, 4), (2, 4, 4))
DEPTH = 7


class Embeddings:
    """Channels slice, row and column, in voxels, of a grid of 8 x 8 tokens over 16 x 16 voxels."""

    frame, depth = TileFrame((16, 12), (16, 12), 1.0), DEPTH

    def read(self, picks: Sequence[Pick]) -> torch.Tensor:
        places = (torch.arange(8) + 0.5) * 2
        return torch.stack([torch.stack([torch.full((8, 8), float(plane)), places[:, None].expand(8, 8), places.expand(8, 8)])
                            for plane, _ in picks])


def image() -> np.ndarray:
    z, y, x = np.indices((DEPTH, 16, 12))
    return (10000 * z + 100 * y + x + 1)[None].astype(np.float32)


def test_image_and_embeddings_show_the_same_places() -> None:
    read = CaseVolumes(image, Embeddings(), PLAN).read([(2, 0), (3, 0)])
    np.testing.assert_array_equal(read.image[:, 0], np.stack([image()[0, 2:6], image()[0, 3:7]]))
    middles = torch.tensor([2.0, 6.0, 10.0, 14.0])
    for sample, slices in ((0, (2.5, 4.5)), (1, (3.5, 5.5))):  # two slices a cell
        expected = torch.stack(torch.meshgrid(torch.tensor(slices), middles, middles, indexing="ij"))
        torch.testing.assert_close(read.embeddings[sample], expected)


def test_slices_that_are_not_there_are_empty_and_have_their_neighbours_embeddings() -> None:
    read = CaseVolumes(image, Embeddings(), PLAN).read([(-2, 0), (5, 0)])
    assert not read.image[0, 0, :2].any() and not read.image[1, 0, 2:].any()
    np.testing.assert_array_equal(read.image[0, 0, 2:], image()[0, :2])
    np.testing.assert_array_equal(read.image[1, 0, :2], image()[0, 5:])
    assert read.embeddings[:, 0, :, 0, 0].tolist() == [[0.0, 0.5], [5.5, 6.0]]


def test_mirrored_stacks_are_mirrored_images_beside_what_mirrored_tiles_were_encoded_to() -> None:
    read = CaseVolumes(image, Embeddings(), PLAN, (1,)).read([(0, 0)])
    np.testing.assert_array_equal(read.image[0, 0], image()[0, :4, :, ::-1])
    assert read.embeddings[0, 2, 0, 0].tolist() == [2.0, 6.0, 10.0, 14.0]


def test_cells_beyond_the_tokens_take_the_last_ones() -> None:
    tokens = Embeddings().read([(0, 0)])
    wide = VolumePlan((1, 16, 12), (1, 16, 24), ((1, 1, 1),), ((3, 3, 3),), (1, 4, 4), (1, 4, 6))
    assert on_cells(tokens, torch.zeros(1, dtype=torch.long), wide)[2, 0, 0].tolist() == [2.0, 6.0, 10.0, 14.0, 15.0, 15.0]


def test_stacks_are_taken_by_rows() -> None:
    stacks = Volumes(torch.arange(6.0).view(3, 2), torch.arange(3.0))
    assert len(stacks) == 3
    assert stacks[1::2].image.tolist() == [[2.0, 3.0]] and stacks[1::2].embeddings.tolist() == [1.0]
