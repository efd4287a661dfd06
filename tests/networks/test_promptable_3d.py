"""The networks as a whole: queries, batches, and that they learn what prompts mean."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.networks.promptable_3d import Automatic3d, Promptable3d
from samunet.networks.sam import EncoderSize, build_image_encoder
from samunet.networks.volumetric_prompts import PromptTensors

SMALL = EncoderSize(24, 4, 3, 3, (1, 3), 64)
TOKENS = [((8, 16, 16), (4, 4, 4)), ((3, 28, 20), (1, 4, 4)), ((10, 12, 30), (5, 2, 10))]


def network(
    patch: tuple[int, int, int] = (8, 16, 16), token: tuple[int, int, int] = (4, 4, 4), channels: int = 1
) -> Promptable3d:
    torch.manual_seed(0)
    return Promptable3d(build_image_encoder(SMALL, 64), channels=channels, classes=2, patch=patch, token=token,
                        checkpointed=False)


def image(*shape: int, batch: int = 1, channels: int = 1) -> Tensor:
    return torch.randn(batch, channels, *shape, generator=torch.Generator().manual_seed(1))


def prompts(patch: tuple[int, int, int], queries: int = 3) -> PromptTensors:
    """Three queries: two clicks for class 0; one click and a box for class 1; a mask for class 1."""
    random, sides = torch.Generator().manual_seed(2), torch.tensor(patch)
    polarity = torch.tensor([[1, 0], [1, -1], [-1, -1]])
    boxes = torch.full((3, 1, 2, 3), math.nan)
    boxes[1, 0] = torch.stack([sides * 0.2, sides * 0.8])
    previous = torch.zeros(3, *patch)
    previous[2, :, : patch[1] // 2] = 1
    whole = PromptTensors(torch.tensor([0, 1, 1]), torch.rand(3, 2, 3, generator=random) * sides, polarity, boxes,
                          previous)
    return row(whole, slice(queries))


def row(whole: PromptTensors, chosen: slice | list[int]) -> PromptTensors:
    return PromptTensors(*(getattr(whole, name)[chosen]
                           for name in ("classes", "points", "polarity", "boxes", "previous")))


@pytest.mark.parametrize("patch, token", TOKENS)
def test_queries_on_one_patch_are_those_computed_alone_in_any_order(
    patch: tuple[int, int, int], token: tuple[int, int, int]
) -> None:
    made, volume, several = network(patch, token), image(*patch), prompts(patch)
    with torch.no_grad():
        features = made.encode(volume)
        together = made.answer(features, volume, several)
        assert together.shape == (3, *patch) and together.dtype == torch.float32
        for index in range(3):
            alone = made.answer(features, volume, row(several, [index]))[0]
            torch.testing.assert_close(together[index], alone, rtol=1e-4, atol=1e-4)
        order = [2, 0, 1]
        torch.testing.assert_close(made.answer(features, volume, row(several, order)), together[order], rtol=1e-4,
                                   atol=1e-4)


def test_row_i_of_the_prompts_is_for_patch_i() -> None:
    patch = (8, 16, 16)
    made, volumes, several = network(channels=2), image(*patch, batch=2, channels=2), prompts(patch, 2)
    with torch.no_grad():
        together = made.answer(made.encode(volumes), volumes, several)
        for index in range(2):
            one = volumes[index : index + 1]
            alone = made.answer(made.encode(one), one, row(several, [index]))[0]
            torch.testing.assert_close(together[index], alone, rtol=1e-4, atol=1e-4)


def test_every_kind_of_prompt_changes_the_answer_and_padding_does_not() -> None:
    patch = (8, 16, 16)
    made, volume = network(), image(8, 16, 16)
    none = PromptTensors(torch.tensor([0]), torch.zeros(1, 0, 3), torch.zeros(1, 0, dtype=torch.int64),
                         torch.zeros(1, 0, 2, 3), torch.zeros(1, *patch))
    place = torch.tensor([[[4.0, 8.0, 8.0]]])
    kinds = [none, replace(none, points=place, polarity=torch.tensor([[1]])),
             replace(none, points=place, polarity=torch.tensor([[0]])), replace(none, classes=torch.tensor([1])),
             replace(none, boxes=torch.tensor([[[[1.0, 2.0, 3.0], [6.0, 9.0, 9.0]]]])),
             replace(none, previous=torch.ones(1, *patch).tril())]
    padding = replace(none, points=place, polarity=torch.tensor([[-1]]), boxes=torch.full((1, 1, 2, 3), math.nan))
    with torch.no_grad():
        features = made.encode(volume)
        answers = [made.answer(features, volume, each) for each in kinds]
        torch.testing.assert_close(made.answer(features, volume, padding), answers[0], rtol=1e-4, atol=1e-4)
    for number, answer in enumerate(answers):
        assert all(float((answer - other).abs().max()) > 1e-2 for other in answers[:number])


def test_tokens_at_the_middle_of_a_token() -> None:
    made = network()
    with torch.no_grad():
        last = made.encode(image(8, 16, 16))[3]
        found = made.tokens_at(last, torch.tensor([[[6.0, 2.0, 14.0]]]))
    torch.testing.assert_close(found[0, 0], last[0, :, 1, 0, 3])


@pytest.mark.parametrize("patch, token", TOKENS)
def test_the_automatic_network_has_logits_of_every_voxel(
    patch: tuple[int, int, int], token: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    made = Automatic3d(build_image_encoder(SMALL, 64), channels=4, outputs=3, patch=patch, token=token,
                       checkpointed=True)
    volumes = image(*patch, batch=2, channels=4)
    logits = made(volumes)
    assert logits.shape == (2, 3, *patch)
    logits.square().mean().backward()
    assert all(each.grad is not None for each in made.parameters() if each.requires_grad)
    with torch.no_grad():
        torch.testing.assert_close(made(volumes[1:]), logits[1:], rtol=1e-4, atol=1e-4)


def spheres() -> tuple[Tensor, Tensor]:
    """Image (1, 1, 8, 16, 24) of a bright ball to the left, a dark one right, a bright one far right, and the balls."""
    places = torch.cartesian_prod(torch.arange(8.0), torch.arange(16.0), torch.arange(24.0)).view(8, 16, 24, 3)
    balls = torch.stack([(places - torch.tensor([4.0, 8.0, x])).norm(dim=-1) < 3 for x in (4.0, 12.0, 20.0)]).float()
    noise = 0.1 * torch.randn(8, 16, 24, generator=torch.Generator().manual_seed(3))
    return (balls[0] - balls[1] + balls[2] + noise)[None, None], balls


def test_it_learns_what_clicks_polarity_and_class_mean() -> None:
    volume, balls = spheres()
    made = network((8, 16, 24))
    left, right = [4.5, 8.5, 4.5], [4.5, 8.5, 20.5]
    # Class 0 is the ball that was clicked; class 1 the dark one, wherever the click is.
    points = torch.tensor([[left, right], [right, left], [left, right], [left, right]])
    polarity = torch.tensor([[1, 0], [1, -1], [1, 1], [1, -1]])
    queries = PromptTensors(torch.tensor([0, 0, 0, 1]), points, polarity, torch.zeros(4, 0, 2, 3),
                          torch.zeros(4, 8, 16, 24))
    target = torch.stack([balls[0], balls[2], balls[0] + balls[2], balls[1]])
    optimizer = torch.optim.AdamW([each for each in made.parameters() if each.requires_grad], 4e-3)
    for _ in range(60):
        optimizer.zero_grad()
        logits = made.answer(made.encode(volume), volume, queries)
        functional.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(5.0)).backward()
        nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        found = (made.answer(made.encode(volume), volume, queries) > 0).float()
    dice = 2 * (found * target).sum((1, 2, 3)) / (found + target).sum((1, 2, 3))
    assert dice.min() > 0.8
