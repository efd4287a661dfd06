"""The visual sampler: its published size, what padding and polarity do, and which prompts the image sees."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from samunet.networks.visual_sampler import LAYERS, SamplerLayer, VisualSampler
from samunet.networks.volumetric_prompts import PromptTensors
from samunet.planning.volumetric_channels import VolumetricChannels

PATCH = (4, 8, 8)
SIZES = VolumetricChannels.of(96)  # 32 channels


def sampler(classes: int = 2) -> VisualSampler:
    torch.manual_seed(0)
    return VisualSampler(SIZES, classes, PATCH)


def level(batch: int = 1) -> Tensor:
    return torch.randn(batch, SIZES.level, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def clicks(*polarity: int, class_: int = 0) -> PromptTensors:
    places = torch.tensor([[1.0, 2.0, 5.0], [3.0, 6.5, 1.0], [2.0, 4.0, 4.0]])[None, : len(polarity)]
    return PromptTensors(torch.tensor([class_]), places, torch.tensor([list(polarity)], dtype=torch.int64),
                         torch.full((1, 0, 2, 3), math.nan), torch.zeros(1, *PATCH))


def test_parameters_of_the_published_form_and_ours() -> None:
    with torch.device("meta"):
        made = VisualSampler(VolumetricChannels.of(768), 3, (128,) * 3)
    queries = 10 * 256
    among = 4 * (256 * 256 + 256)
    perceptron = 256 * 2048 + 2048 + 2048 * 256 + 256
    image = 3 * (256 * 128 + 128) + 128 * 256 + 256
    norms = 4 * 2 * 256
    published = LAYERS * (queries + among + perceptron + image + norms)
    assert round(published / 1e6, 2) == 2.90
    ours = 2 * 256 + 256 + 3 * 256  # polarity, box, three classes
    assert sum(each.numel() for each in made.parameters()) == published + ours


def test_a_layer_by_its_formula() -> None:
    torch.manual_seed(0)
    layer, image, points = SamplerLayer(16, 32), torch.randn(1, 5, 16), torch.randn(1, 2, 16)

    def attention(part: torch.nn.Module, tokens: Tensor, others: Tensor) -> Tensor:
        mixed = []
        for query, key, value in zip(*(each.chunk(8, -1) for each in (part.query(tokens), part.key(others),
                                                                      part.value(others))), strict=True):
            mixed.append((query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])).softmax(-1) @ value)
        return part.out(torch.cat(mixed, -1))

    of_class = torch.randn(1, 1, 16)
    with torch.no_grad():
        tokens = torch.cat([layer.queries[None] + of_class, points], 1)
        tokens = layer.norm_tokens(tokens + layer.norm_mixed(attention(layer.among, tokens, tokens)))
        queries = layer.norm_queries(tokens[:, :10] + layer.mlp(tokens[:, :10]))
        expected = layer.norm_image(image + attention(layer.to_queries, image, queries)), tokens[:, 10:]
        found = layer(image, points, torch.ones(1, 2, dtype=torch.bool), of_class)
    for each, other in zip(found, expected, strict=True):
        torch.testing.assert_close(each, other)


def test_tokens_of_prompts_are_features_plus_embeddings_of_kind_and_class() -> None:
    made = sampler()
    # The middle of the token at (0, 1, 2) is at voxel (1, 3, 5), the box's centre is that of the token at (1, 3, 0).
    several = replace(clicks(0, class_=1), points=torch.tensor([[[1.0, 3.0, 5.0]]]),
                      boxes=torch.tensor([[[[2.0, 6.0, 0.0], [4.0, 8.0, 2.0]]]]))
    of_class = made.class_embed.weight[1]
    point = level()[0, :, 0, 1, 2] + made.polarity_embed.weight[0] + of_class
    box = level()[0, :, 1, 3, 0] + made.box_embed.weight[0] + of_class
    with torch.no_grad():
        image, tokens = level().flatten(2).transpose(1, 2), torch.stack([point, box])[None]
        for layer in made.layers:
            image, tokens = layer(image, tokens, torch.ones(1, 2, dtype=torch.bool), of_class[None, None])
        found = made(level(), several)
    torch.testing.assert_close(found, image.transpose(1, 2).unflatten(2, (2, 4, 4)))


def test_padding_changes_nothing() -> None:
    made, plain = sampler(), clicks(1, 0)
    padded = replace(clicks(1, 0, -1), boxes=torch.full((1, 2, 2, 3), math.nan))
    with torch.no_grad():
        torch.testing.assert_close(made(level(), padded), made(level(), plain))
        # The third click does change it where it is none of padding.
        assert not torch.allclose(made(level(), clicks(1, 0, 1)), made(level(), plain), atol=1e-3)


def test_polarity_class_and_box_are_seen() -> None:
    made = sampler()
    box = replace(clicks(), boxes=torch.tensor([[[[0.0, 0.0, 0.0], [2.0, 4.0, 4.0]]]]))
    with torch.no_grad():
        answers = [made(level(), each) for each in (clicks(), clicks(1), clicks(0), clicks(1, class_=1), box)]
    for number, answer in enumerate(answers):
        assert all(float((answer - other).abs().max()) > 1e-2 for other in answers[:number])


def test_the_order_of_clicks_does_not_matter() -> None:
    made, plain = sampler(), clicks(1, 0, 1)
    turned = replace(plain, points=plain.points[:, [2, 0, 1]], polarity=plain.polarity[:, [2, 0, 1]])
    with torch.no_grad():
        torch.testing.assert_close(made(level(), turned), made(level(), plain))


def test_sampled_tokens_replace_those_of_this_patch() -> None:
    made, plain = sampler(), clicks(1)
    token = level()[:, :, 0, 1, 2]  # the middle of the token at (0, 1, 2) is at voxel (1, 3, 5)
    there = replace(plain, points=torch.tensor([[[1.0, 3.0, 5.0]]]))
    elsewhere = replace(plain, points=torch.tensor([[[-40.0, 3.0, 5.0]]]), tokens=token[:, None])
    with torch.no_grad():
        torch.testing.assert_close(made(level(), elsewhere), made(level(), there))


@pytest.mark.parametrize("points", [0, 2])
def test_one_level_serves_several_queries(points: int) -> None:
    made = sampler()
    several = PromptTensors(torch.tensor([0, 1, 1]), torch.rand(3, points, 3) * 4,
                            torch.ones(3, points, dtype=torch.int64), torch.rand(3, 1, 2, 3), torch.zeros(3, *PATCH))
    with torch.no_grad():
        torch.testing.assert_close(made(level(), several), made(level().expand(3, -1, -1, -1, -1), several))
