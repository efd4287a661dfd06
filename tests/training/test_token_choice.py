"""Which rule of tokens is chosen on the support, with a network that is seen through."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.errors import UserError
from samunet.networks.fewshot import Fewshot
from samunet.networks.region_tokens import RULES
from samunet.preprocessing.queries import Queries
from samunet.training.support import Support
from samunet.training.token_choice import chosen_rule, left_out_dice, mean_dice, set_chosen_support

SPACE = LabelSpace({"background": 0, "a": 1})
CPU = torch.device("cpu")


class Asked:
    """Stands for the variant: pictures of one row of 4 voxels, whose answer is told by the rule of the tokens.

    Of the row, the first `shown[rule]` voxels are called `a`; the truth is 2 of them.
    """

    labels, context = SPACE, SimpleNamespace(encoder_plan=SimpleNamespace(batch_size=2))

    def __init__(self, shown: dict[str, int]) -> None:
        self.shown, self.rule, self.asked = shown, "", []
        self.fewshot = self
        self.network = torch.nn.Linear(1, 1)

    def set_support(self, embeddings: Tensor, coverage: Tensor, units: Tensor, asking: Tensor, rule: str = "mean") -> None:
        self.rule = rule

    def set_tokens(self, embeddings: Tensor, coverage: Tensor, rule: str) -> None:
        self.rule = rule

    def outputs(self, queries: Queries) -> Tensor:
        assert not self.network.training
        self.asked += list(zip(queries.embeddings.flatten().tolist(), queries.units.tolist(), strict=True))
        logits = torch.zeros(len(queries), 2, 1, 4)
        logits[:, 1] = torch.where(torch.arange(4) < self.shown[self.rule], 1.0, -1.0)
        return logits


def support(units: list[int]) -> Support:
    """Picture i holds i; the odd ones ask, the last first."""
    count = len(units)
    asking = torch.arange(1, count, 2).flip(0)
    segmentation = np.tile(np.array([1, 1, 0, 0], np.int16), (len(asking), 1, 1))
    embeddings = torch.arange(count).float().view(-1, 1, 1, 1)
    return Support(("one", "two", "three"), embeddings, torch.ones(count, 1, 1, 1), torch.tensor(units), asking, segmentation)


@pytest.mark.parametrize(("shown", "chosen"), [
    ({"mean": 4, "clusters": 2, "farthest": 1}, "clusters"), ({"mean": 4, "clusters": 1, "farthest": 2}, "farthest"),
    ({"mean": 4, "clusters": 4, "farthest": 4}, "mean"), ({"mean": 0, "clusters": 2, "farthest": 2}, "clusters")])
def test_the_rule_that_answers_best_is_chosen_and_ties_go_to_the_simpler(shown: dict[str, int], chosen: str) -> None:
    variant = Asked(shown)
    told = set_chosen_support(variant, support([0, 0, 1, 1, 2, 2]), CPU)
    assert told["rule"] == variant.rule == chosen
    dice = {0: 0.0, 1: 2 / 3, 2: 1.0, 4: 4 / 6}  # of so many voxels with the first two
    assert told["left_out_dice"] == pytest.approx({rule: dice[shown[rule]] for rule in RULES})
    # Each of the pictures that ask, without its own unit, once for each rule.
    assert variant.asked == [(5.0, 2), (3.0, 1), (1.0, 0)] * 3


def test_where_nothing_would_be_left_to_ask_there_is_no_choice() -> None:
    variant = Asked({})
    assert set_chosen_support(variant, support([0, 1, 1, 1]), CPU) == {"rule": "mean", "left_out_dice": {}}
    assert variant.rule == "mean" and variant.asked == []


def test_a_unit_that_only_speaks_for_itself_is_of_no_help() -> None:
    """The real network: a picture's own tokens and guess, however changed, do not change its own score."""
    torch.manual_seed(0)
    network = Fewshot(1, True, 64, {}, dropped=0.5, unmasked=0.5)

    def score(own: Tensor, share: Tensor) -> float:
        embeddings, coverage = torch.cat([own, others]), torch.cat([share, shares])
        variant = SimpleNamespace(network=network, labels=SPACE, context=Asked.context,
                                  outputs=lambda queries: network(queries.embeddings, queries.units))
        network.set_support(embeddings, coverage, units, torch.arange(4), "clusters")
        return left_out_dice(variant, Support(("one", "two"), asked_about, coverage, units, torch.tensor([0]), truth), CPU)

    units, asked_about = torch.tensor([0, 1, 1, 1]), torch.randn(4, 256, 4, 4)
    others, shares = torch.randn(3, 256, 4, 4), (torch.rand(3, 1, 4, 4) > 0.5).float()
    with torch.no_grad():
        network.set_support(torch.cat([asked_about[:1], others]), torch.cat([shares[:1], shares]), units, torch.arange(4), "clusters")
        answer = network.eval()(asked_about[:1], torch.tensor([0]))
    truth = answer.argmax(1).numpy().astype(np.int16)
    assert 0 < truth.mean() < 1
    for seed in range(2):
        torch.manual_seed(seed)
        assert score(torch.randn(1, 256, 4, 4), torch.rand(1, 1, 4, 4)) == 1.0
    others = torch.randn(3, 256, 4, 4)
    assert score(asked_about[:1], shares[:1]) < 1.0


def test_dice_is_of_all_pictures_together_and_of_the_voxels_that_count() -> None:
    space = LabelSpace({"background": 0, "a": 1, "b": 2, "c": 3, "ignore": 4})
    truth = np.array([[[1, 1, 4, 0]], [[0, 0, 2, UNANNOTATED]]], np.int16)
    predicted = np.array([[[1, 0, 1, 2]], [[1, 1, 2, 3]]], np.int16)
    # a: one of two hit, two more on the picture without it, the ignored one aside; b: hit, and one more; c is nowhere.
    assert mean_dice(predicted, truth, space) == pytest.approx((2 * 1 / (3 + 2) + 2 * 1 / (2 + 1)) / 2)


def test_a_model_without_a_choice_has_means_and_an_unknown_rule_is_refused() -> None:
    assert chosen_rule({}, "run.json") == "mean"
    assert chosen_rule({"tokens": {"rule": "farthest", "left_out_dice": {}}}, "run.json") == "farthest"
    with pytest.raises(UserError, match="(?s)run.json.*medians.*known: mean, clusters, farthest"):
        chosen_rule({"tokens": {"rule": "medians"}}, "run.json")
