"""Decoding of one prompt an image against segment-anything's own call."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import MaskDecoder

from samunet.networks.mask_decoding import decode_masks
from samunet.networks.sam import build_mask_decoder, build_prompt_encoder

GRID = 8


@pytest.fixture(scope="module")
def decoder() -> MaskDecoder:
    torch.manual_seed(0)
    return build_mask_decoder().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def positions() -> torch.Tensor:
    torch.manual_seed(1)
    return build_prompt_encoder(16 * GRID).get_dense_pe()


def test_many_prompts_on_one_image(decoder, positions) -> None:
    torch.manual_seed(2)
    image, sparse, dense = torch.randn(1, 256, GRID, GRID), torch.randn(5, 3, 256), torch.randn(5, 256, GRID, GRID)
    masks, ratings = decode_masks(decoder, image.expand(5, -1, -1, -1), positions, sparse, dense)
    expected = decoder.predict_masks(image, positions, sparse, dense)
    assert masks.shape == (5, 4, 4 * GRID, 4 * GRID) and ratings.shape == (5, 4)
    torch.testing.assert_close((masks, ratings), expected, rtol=1e-4, atol=1e-5)


def test_one_prompt_on_each_of_many_images(decoder, positions) -> None:
    torch.manual_seed(3)
    images, sparse, dense = torch.randn(4, 256, GRID, GRID), torch.randn(4, 2, 256), torch.randn(1, 256, GRID, GRID)
    masks, ratings = decode_masks(decoder, images, positions, sparse, dense)
    for index in range(4):
        one = slice(index, index + 1)
        expected = decoder.predict_masks(images[one], positions, sparse[one], dense)
        torch.testing.assert_close((masks[one], ratings[one]), expected, rtol=1e-4, atol=1e-5)
    # Prompts and images belong together: another order of the prompts is another answer.
    swapped, _ = decode_masks(decoder, images, positions, sparse.flip(0), dense)
    assert not torch.allclose(swapped, masks, atol=1e-3)
