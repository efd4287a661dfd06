"""The decoder: its published size, its formula, and structures thinner than half a token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from samunet.networks.convolution_3d import Convolution3d
from samunet.networks.volumetric_decoder import JoiningConvolution, VolumetricDecoder
from samunet.planning.volumetric_channels import VolumetricChannels

SIZES = VolumetricChannels.of(96)  # levels of 32 channels, 16 in the decoder, 8 in its finest stage


def test_parameters_of_the_decoder_are_the_published_ones_and_ours() -> None:
    with torch.device("meta"):
        made = VolumetricDecoder(VolumetricChannels.of(768), 1, 4, 1, (4, 4, 4))
    branches = 4 * (27 * 256 * 128 + 27 * 128 * 128)
    join = 27 * (4 * 128 + 1) * 128
    logits = 27 * 128 * 2
    assert round((branches + join + logits) / 1e6, 2) == 7.09
    maps = 27 * 4 * 128
    one_logit_less = 27 * 128
    finest = (128 * 16 + 16) + 27 * (16 + 1 + 4) * 16 + (16 + 1)
    found = sum(each.numel() for each in made.parameters())
    assert found == branches + join + logits + maps - one_logit_less + finest


def test_a_joining_convolution_is_that_of_all_channels() -> None:
    made = JoiningConvolution(2, 3, 4)
    fixed, varying = torch.randn(1, 2, 3, 4, 5), torch.randn(2, 3, 3, 4, 5)
    with torch.no_grad():
        expected = made.whole(torch.cat([fixed.expand(2, -1, -1, -1, -1), varying], 1))
        torch.testing.assert_close(made(made.prepare(fixed), varying), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [1, 3])
def test_a_convolution_is_torch_s_with_its_gradients(side: int) -> None:
    made, maps = Convolution3d(2, 3, side), torch.randn(1, 2, 3, 4, 5)
    outputs = made(maps), functional.conv3d(maps, made.weight, made.bias, padding=side // 2)
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(each.square().sum(), list(made.parameters())) for each in outputs]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def by_formula(made: VolumetricDecoder, levels: list[Tensor], image: Tensor, maps: Tensor, half: list[int]) -> Tensor:
    """The publication's decoder on all channels at once, then the finest stage; one query."""

    def pooled(volume: Tensor) -> Tensor:
        return functional.adaptive_avg_pool3d(volume, half)

    def activated(volume: Tensor) -> Tensor:
        mean, variance = volume.mean((2, 3, 4), keepdim=True), volume.var((2, 3, 4), keepdim=True, unbiased=False)
        return ((volume - mean) / (variance + 1e-5).sqrt()).clamp_min(0)

    def convolution(volume: Tensor, weight: Tensor) -> Tensor:
        return functional.conv3d(volume, weight, padding=weight.shape[-1] // 2)

    grown = []
    for branch, level in zip(made.branches, levels, strict=True):
        level = activated(convolution(activated(convolution(level, branch[0].weight)), branch[3].weight))
        grown.append(functional.interpolate(level, half, mode="trilinear"))
    everything = torch.cat([*grown[:3], pooled(image), grown[3], pooled(maps)], 1)
    joined = activated(convolution(everything, made.join.whole.weight))
    coarse = functional.interpolate(convolution(joined, made.coarse.weight), image.shape[2:], mode="trilinear")
    reduced = functional.interpolate(made.reduce(joined), image.shape[2:], mode="trilinear")
    fine = activated(convolution(torch.cat([image, reduced, maps], 1), made.join_fine.whole.weight))
    return coarse + made.fine(fine)


@pytest.mark.parametrize(
    "token, half", [((4, 4, 4), [4, 4, 6]), ((1, 2, 16), [2, 4, 6]), ((3, 5, 6), [4, 4, 6])]
)
def test_it_is_the_formula_and_halves_a_token_s_side_down_to_1(token: tuple[int, int, int], half: list[int]) -> None:
    torch.manual_seed(0)
    made = VolumetricDecoder(SIZES, 2, 3, 4, token)
    levels = [torch.randn(1, 32, 2, 2, 3) for _ in range(4)]
    shape = [side * size for side, size in zip(token, (2, 2, 3), strict=True)]
    image, maps = torch.randn(1, 2, *shape), torch.randn(1, 3, *shape)
    last = torch.randn(1, 32, 2, 2, 3)
    with torch.no_grad():
        found = made(made.prepare(levels, image), last, maps)
        expected = by_formula(made, [*levels[:3], last], image, maps, half)
    assert found.shape == (1, 4, *shape)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_line_of_one_voxel_is_learned_from_the_image() -> None:
    """Levels know nothing here; half a token is 4 voxels, so without the finest stage Dice is 0.4 at most."""
    torch.manual_seed(0)
    made = VolumetricDecoder(SIZES, 1, 0, 1, (8, 8, 8))
    target = torch.zeros(1, 1, 16, 16, 16)
    target[:, :, 5, 9] = 1
    image, levels = target + 0.1 * torch.randn(target.shape), [torch.zeros(1, 32, 2, 2, 2)] * 4
    optimizer = torch.optim.AdamW(made.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        prepared = made.prepare(levels, image)
        logits = made(prepared, prepared.last)
        functional.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(20.0)).backward()
        optimizer.step()
    found = logits > 0
    assert 2 * float((found * target).sum()) / float(found.sum() + target.sum()) > 0.9
