"""One convolution instead of a magnified volume: the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.networks.patch_embedding_3d import PatchEmbedding3d, interpolation_taps

WIDTH = 6


def embedding(channels: int, token: tuple[int, int, int]) -> PatchEmbedding3d:
    torch.manual_seed(0)
    made = PatchEmbedding3d(nn.Conv2d(3, WIDTH, 16, 16), channels, token)
    nn.init.normal_(made.depth_weight)
    nn.init.normal_(made.depth_bias)
    return made


def literal(made: PatchEmbedding3d, images: Tensor) -> Tensor:
    """The publication's steps: magnify, embed every slice, mix 16 slices."""
    three = torch.einsum("kc,bczyx->bkzyx", made.channels, images)
    shape = [16 * size // side for size, side in zip(images.shape[2:], made.token, strict=True)]
    large = functional.interpolate(three, shape, mode="trilinear", align_corners=False)
    slices = large.transpose(1, 2).flatten(0, 1)
    tokens = functional.conv2d(slices, made.weight, made.bias, stride=16).unflatten(0, (len(images), -1))
    mixed = functional.conv3d(tokens.transpose(1, 2), made.depth_weight[:, None, :, None, None], made.depth_bias,
                              stride=(16, 1, 1), groups=WIDTH)
    return mixed.permute(0, 2, 3, 4, 1)


def test_taps_by_hand() -> None:
    taps = interpolation_taps(8)  # samples at 1/2 (s + 1/2) - 1/2 = -0.25, 0.25, 0.75, ..., 7.25 voxels
    assert taps[0].tolist() == [0.25, 0.75] + [0] * 8
    assert taps[1].tolist() == [0, 0.75, 0.25] + [0] * 7
    assert taps[15].tolist() == [0] * 8 + [0.75, 0.25]
    assert torch.equal(interpolation_taps(16), torch.eye(16, 18).roll(1, 1))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("token", [(4, 4, 4), (1, 4, 4), (5, 3, 16)])
def test_it_is_magnifying_embedding_and_mixing(token: tuple[int, int, int], channels: int) -> None:
    made = embedding(channels, token)
    shape = [count * side for count, side in zip((2, 3, 2), token, strict=True)]
    images = torch.randn(2, channels, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = made(images), literal(made, images)
    assert found.shape == (2, 2, 3, 2, WIDTH)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_at_the_start_equal_slices_have_the_tokens_of_one() -> None:
    torch.manual_seed(0)
    made = PatchEmbedding3d(nn.Conv2d(3, WIDTH, 16, 16), 1, (3, 8, 8))
    image = torch.randn(1, 1, 1, 16, 24)
    large = functional.interpolate(image[:, :, 0], (32, 48), mode="bilinear").expand(-1, 3, -1, -1)
    with torch.no_grad():
        found = made(image.expand(-1, -1, 6, -1, -1))
        expected = functional.conv2d(large, made.weight, made.bias, stride=16).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected[:, None].expand(-1, 2, -1, -1, -1), rtol=1e-5, atol=1e-5)


def test_channels_of_the_image() -> None:
    rows = {1: [[1]] * 3, 2: [[1, 0], [0, 1], [0.5, 0.5]], 3: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    for count, expected in rows.items():
        made = embedding(count, (4, 4, 4))
        assert made.channels.tolist() == expected and not isinstance(made.channels, nn.Parameter)
    assert isinstance(embedding(4, (4, 4, 4)).channels, nn.Parameter)
