"""Which rule of tokens is chosen on the support, with a network that is seen through."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.errors import UserError
from samunet.inputs.queries import Queries
from samunet.inputs.sampling import LabelSlices
from samunet.inputs.support import Support
from samunet.networks.fewshot import Fewshot
from samunet.networks.region_tokens import RULES
from samunet.planning.tiles import TileFrame
from samunet.variants.token_choice import (
    JUDGED,
    Judged,
    chosen_rule,
    gather_judged,
    left_out_dice,
    mean_dice,
    set_chosen_support,
)

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

    def set_support(self, support: Support, rule: str = "mean") -> None:
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
    count = len(units)
    return Support(("one", "two", "three"), torch.zeros(count, 1, 1, 1), torch.ones(count, 1, 1, 1),
                   torch.tensor(units),
                   torch.arange(1, count, 2))


# Pictures that hold their number, two of four voxels of each being `a`.
JUDGES = Judged(Queries(torch.tensor([5.0, 3.0, 1.0]).view(-1, 1, 1, 1), torch.tensor([2, 1, 0])),
                np.tile(np.array([1, 1, 0, 0], np.int16), (3, 1, 1)))


@pytest.mark.parametrize(("shown", "chosen"), [
    ({"mean": 4, "clusters": 2, "farthest": 1}, "clusters"), ({"mean": 4, "clusters": 1, "farthest": 2}, "farthest"),
    ({"mean": 4, "clusters": 4, "farthest": 4}, "mean"), ({"mean": 0, "clusters": 2, "farthest": 2}, "clusters")])
def test_the_rule_that_answers_best_is_chosen_and_ties_go_to_the_simpler(shown: dict[str, int], chosen: str) -> None:
    variant = Asked(shown)
    told = set_chosen_support(variant, support([0, 0, 1, 1, 2, 2]), JUDGES, CPU)
    assert told["rule"] == variant.rule == chosen
    dice = {0: 0.0, 1: 2 / 3, 2: 1.0, 4: 4 / 6}  # of so many voxels with the first two
    assert told["left_out_dice"] == pytest.approx({rule: dice[shown[rule]] for rule in RULES})
    # Each without its own unit, once for each rule.
    assert variant.asked == [(5.0, 2), (3.0, 1), (1.0, 0)] * 3


def test_where_nothing_would_be_left_to_ask_there_is_no_choice() -> None:
    variant = Asked({})
    assert set_chosen_support(variant, support([0, 1, 1, 1]), JUDGES, CPU) == {"rule": "mean", "left_out_dice": {}}
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
        return left_out_dice(variant, Judged(Queries(asked_about[:1], units[:1]), truth), CPU)

    units, asked_about = torch.tensor([0, 1, 1, 1]), torch.randn(4, 256, 4, 4)
    others, shares = torch.randn(3, 256, 4, 4), (torch.rand(3, 1, 4, 4) > 0.5).float()
    with torch.no_grad():
        network.set_support(torch.cat([asked_about[:1], others]), torch.cat([shares[:1], shares]), units,
                            torch.arange(4), "clusters")
        answer = network.eval()(asked_about[:1], torch.tensor([0]))
    truth = answer.argmax(1).numpy().astype(np.int16)
    assert 0 < truth.mean() < 1
    for seed in range(2):
        torch.manual_seed(seed)
        assert score(torch.randn(1, 256, 4, 4), torch.rand(1, 1, 4, 4)) == 1.0
    others = torch.randn(3, 256, 4, 4)
    assert score(asked_about[:1], shares[:1]) < 1.0


class Slices:
    """Embeddings that are 100 times the case's number and the slice's."""

    depth, frame = 25, TileFrame((1, 4), (1, 4), 1.0)

    def __init__(self, number: int) -> None:
        self.number = number

    def read(self, picks: list[tuple[int, int]]) -> Tensor:
        return torch.tensor([100.0 * self.number + plane for plane, _ in picks]).view(-1, 1, 1, 1)


def test_rules_are_judged_by_annotated_slices_at_even_distances_whatever_they_show() -> None:
    segmentation = np.zeros((25, 1, 4), np.int16)
    segmentation[::5, 0, 0] = 1
    partly = segmentation.copy()
    partly[5:] = UNANNOTATED
    inputs = {name: Slices(number) for number, name in enumerate(("one", "two", "three", "four"))}
    labels = {name: LabelSlices.build(partly if name == "two" else segmentation, Slices.frame, SPACE)
              for name in inputs}
    judged = gather_judged(inputs, labels, ("one", "two", "four"))
    # 25, 5 and 25 tiles are twice as many as JUDGED at most: every other one.
    assert 25 + 5 + 25 <= 2 * JUDGED and judged.queries.embeddings.flatten().tolist() == [
        *range(0, 25, 2), 101, 103, *range(300, 325, 2)]
    assert judged.queries.units.tolist() == [0] * 13 + [1] * 2 + [2] * 13
    assert judged.segmentation[:13, 0, 0].tolist() == [int(plane % 5 == 0) for plane in range(0, 25, 2)]
    few = gather_judged(inputs, labels, ("two",))  # a single case: units are quarters of its slices
    assert few.queries.embeddings.flatten().tolist() == [100, 101, 102, 103,
                                                         104] and few.queries.units.tolist() == [0] * 5


def test_dice_is_of_all_pictures_together_and_of_the_voxels_that_count() -> None:
    space = LabelSpace({"background": 0, "a": 1, "b": 2, "c": 3, "ignore": 4})
    truth = np.array([[[1, 1, 4, 0]], [[0, 0, 2, UNANNOTATED]]], np.int16)
    predicted = np.array([[[1, 0, 1, 2]], [[1, 1, 2, 3]]], np.int16)
    # a: one of two hit, two more on the picture without it, the ignored one aside; b: hit, and one more; c is nowhere.
    assert mean_dice(predicted, truth, space) == pytest.approx((2 * 1 / (3 + 2) + 2 * 1 / (2 + 1)) / 2)
    assert mean_dice(predicted, np.zeros_like(truth), space) == 0.0


def test_a_model_without_a_choice_has_means_and_an_unknown_rule_is_refused() -> None:
    assert chosen_rule({}, "run.json") == "mean"
    assert chosen_rule({"tokens": {"rule": "farthest", "left_out_dice": {}}}, "run.json") == "farthest"
    with pytest.raises(UserError, match="(?s)run.json.*medians.*known: mean, clusters, farthest"):
        chosen_rule({"tokens": {"rule": "medians"}}, "run.json")
