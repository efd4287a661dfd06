"""The prompts of the few-shot network: parity with in-context prompts, what is left out, and which class is which."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samunet.networks.fewshot import Fewshot, joined
from samunet.networks.in_context import region_prompts
from samunet.networks.mask_decoding import decode_masks
from samunet.networks.prompts import NO_POINT
from samunet.networks.region_tokens import CLUSTERS, FARTHEST, RULES

GRID, CLASSES = 4, 2


def network(background: bool = True) -> Fewshot:
    torch.manual_seed(0)
    return Fewshot(CLASSES, background, 16 * GRID, {}, dropped=0.5, unmasked=0.5).eval()


def support(seed: int = 0, images: int = 6) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    coverage = (torch.rand(images, CLASSES, GRID, GRID, generator=random) > 0.7).float()
    embeddings = torch.randn(images, 256, GRID, GRID, generator=random)
    embeddings[:, :CLASSES] += 3 * coverage
    return embeddings, coverage


UNITS = torch.tensor([0, 0, 1, 1, 2, 2])
ALL = torch.arange(6)


@torch.no_grad()
def test_an_image_is_prompted_as_in_context() -> None:
    made, (embeddings, coverage), images = network(background=False), support(), torch.randn(3, 256, GRID, GRID)
    made.set_support(embeddings, coverage, UNITS, ALL)
    logits = made(images, torch.full((3,), -1))
    for label, prompts in enumerate(region_prompts(embeddings, coverage, images)):
        sparse, dense = prompts.encode(made.prompts)
        expected, _ = decode_masks(made.decoder, images, made.prompts.get_dense_pe(), sparse, dense)
        torch.testing.assert_close(logits[:, label], expected[:, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rule", RULES)
@torch.no_grad()
def test_what_is_left_out_changes_nothing(rule: str) -> None:
    made, (embeddings, coverage), image = network(), support(), torch.randn(1, 256, GRID, GRID)
    made.set_support(embeddings, coverage, UNITS, ALL, rule)
    before = {unit: made(image, torch.tensor([unit])) for unit in (0, 1)}
    other, elsewhere = support(seed=1)
    made.set_support(torch.cat([other[:2], embeddings[2:]]), torch.cat([elsewhere[:2], coverage[2:]]), UNITS, ALL, rule)
    after = {unit: made(image, torch.tensor([unit])) for unit in (0, 1)}
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1], atol=1e-3)


@torch.no_grad()
def test_classes_that_change_places_in_the_support_change_places_in_the_answer() -> None:
    made, (embeddings, coverage), image = network(), support(), torch.randn(2, 256, GRID, GRID)
    units = torch.tensor([-1, 1])
    made.set_support(embeddings, coverage, UNITS, ALL)
    logits = made(image, units)
    made.set_support(embeddings, coverage.flip(1), UNITS, ALL)
    torch.testing.assert_close(made(image, units)[:, 1:], logits[:, 1:].flip(1))


@torch.no_grad()
def test_the_background_is_a_constant_before_the_classes_and_regions_have_none() -> None:
    made = network()
    made.background += 0.75
    logits = made(torch.randn(2, 256, GRID, GRID), torch.tensor([-1, -1]))
    assert logits.shape == (2, 1 + CLASSES, 4 * GRID, 4 * GRID) and (logits[:, 0] == 0.75).all()
    assert network(background=False)(torch.randn(2, 256, GRID, GRID), torch.tensor([-1, -1])).shape[1] == CLASSES


@torch.no_grad()
def test_one_unit_alone_leaves_nothing_to_ask_by() -> None:
    made, (embeddings, coverage) = network(), support()
    made.set_support(embeddings, coverage, torch.zeros(6, dtype=torch.long), ALL)
    images = torch.randn(2, 256, GRID, GRID)
    alone = made(images, torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(alone[:, 1], alone[:, 2])  # the classes are equal
    assert not torch.allclose(made(images, torch.tensor([-1, -1]))[:, 1], alone[:, 1], atol=1e-3)


def test_everything_that_is_meant_to_train_has_a_gradient_and_the_rest_stands_still() -> None:
    made, (embeddings, coverage) = network().train(), support()
    made.set_support(embeddings, coverage, UNITS, ALL)
    torch.manual_seed(1)
    made(torch.randn(8, 256, GRID, GRID), UNITS[[0, 1, 2, 3, 4, 5, 0, 1]]).square().mean().backward()
    without = {name for name, each in made.named_parameters() if each.requires_grad and each.grad is None}
    assert without == set()
    assert {name.split(".")[1] for name, each in made.named_parameters() if not each.requires_grad} == {
        "iou_prediction_head", "output_hypernetworks_mlps", "point_embeddings"}


@torch.no_grad()
def test_another_rule_changes_tokens_alone() -> None:
    made, (embeddings, coverage) = network(), support()
    made.set_support(embeddings, coverage, UNITS, ALL[:3])
    weight, units = made.weight.clone(), made.units.clone()
    made.set_tokens(embeddings[:3], coverage[:3], FARTHEST)
    assert torch.equal(made.weight, weight) and torch.equal(made.units, units)
    # Four cells of class 1's region on image 2, as they are; then four of the rest.
    cells, inside = embeddings[2].flatten(1).T, coverage[2, 1].flatten().bool()
    for side, own in enumerate((cells[inside], cells[~inside])):
        tokens = made.content[2, 1, 4 * side : 4 * side + 4]
        assert all(any(torch.equal(token, cell) for cell in own) for token in tokens)


def test_in_training_some_slices_ask_a_whole_batch_with_all_of_their_tokens() -> None:
    made, (embeddings, coverage) = network().train(), support()
    made.set_support(embeddings, coverage, UNITS, ALL, CLUSTERS)
    used: set[int] = set()
    for seed in range(10):
        torch.manual_seed(seed)
        prompts = made._prompts_for(torch.tensor([-1, 0]), torch.zeros(2, CLASSES, GRID, GRID))
        content = prompts.content.view(2, CLASSES, -1, 8, 256)  # half of the six slices
        assert content.shape[2] == 3
        slices = [next(each for each in ALL.tolist() if torch.equal(made.content[each], content[0, :, place]))
                  for place in range(3)]
        assert len(set(slices)) == 3
        used.update(slices)
        # The second image is of unit 0, whose slices 0 and 1 do not prompt it.
        kinds = prompts.kinds.view(2, CLASSES, 3, 8)
        for place, each in enumerate(slices):
            assert torch.equal(kinds[0, :, place], made.kinds[each])
            own = torch.full_like(kinds[1, :, place], NO_POINT) if each in (0, 1) else made.kinds[each]
            assert torch.equal(kinds[1, :, place], own)
    assert used == {*ALL.tolist()}


@pytest.mark.parametrize("rule", RULES)
def test_dropping_is_for_training_alone(rule: str) -> None:
    made, (embeddings, coverage), images = network(), support(), torch.randn(2, 256, GRID, GRID)
    made.set_support(embeddings, coverage, UNITS, ALL, rule)
    all_of_it = torch.tensor([-1, -1])
    with torch.no_grad():
        assert torch.equal(made(images, all_of_it), made(images, all_of_it))
        made.train()
        torch.manual_seed(0)
        assert not torch.allclose(made(images, all_of_it), made(images, all_of_it), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2])
def test_channels_that_were_encoded_alone_are_averaged(channels: int) -> None:
    embeddings = torch.arange(channels).repeat_interleave(256).view(1, -1, 1, 1).float()
    assert (joined(embeddings) == (channels - 1) / 2).all() and joined(embeddings).shape == (1, 256, 1, 1)
