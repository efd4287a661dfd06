from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from samunet.dataset.labels import LabelSpace
from samunet.networks.fewshot import Fewshot
from samunet.networks.prompts import NO_POINT


@pytest.fixture
def script_module(script) -> ModuleType:
    return script("fewshot_claims")


def test_constant_tokens_do_not_depend_on_the_support(script_module) -> None:
    torch.manual_seed(0)
    network = script_module.ConstantTokens(2, True, 64, {}, kinds=torch.tensor([[1, 1, 0, 0]] * 2)).eval()
    images, units = torch.randn(2, 256, 4, 4), torch.tensor([-1, 0])
    with torch.no_grad():
        before = network(images, torch.tensor([-1, -1]))
        network.set_support(torch.randn(2, 256, 4, 4), torch.rand(2, 2, 4, 4), torch.tensor([0, 1]), torch.arange(2))
        after = network(images, units)
        network.tokens[0].zero_()
        other = network(images, units)
    assert torch.equal(before, after)
    # Another first class; the second and the background, whose channel comes first, stay.
    assert torch.equal(other[:, [0, 2]], after[:, [0, 2]]) and not torch.allclose(other[:, 1], after[:, 1], atol=1e-3)
    torch.manual_seed(0)
    network.train()(images, units).square().mean().backward()
    assert network.tokens.grad.abs().sum() > 0


def support_network(rule: str = "mean") -> Fewshot:
    torch.manual_seed(0)
    network = Fewshot(3, True, 64, {}, dropped=0.0, unmasked=0.0).eval()
    network.set_support(torch.randn(4, 256, 4, 4), torch.rand(4, 3, 4, 4), torch.tensor([0, 0, 1, 1]), torch.arange(4),
                        rule)
    return network


@pytest.mark.parametrize(("rule", "tokens"), [("mean", 4 * 2), ("farthest", 4 * 2 * 4)])
def test_there_are_as_many_constant_tokens_as_tokens_of_the_support(script_module, rule: str, tokens: int) -> None:
    network = support_network(rule)
    network.kinds[1, 2, 0] = NO_POINT  # class 2 has a token less
    constant = script_module.ConstantTokens(3, True, 64, {}, kinds=script_module.kinds_asking(network)).eval()
    units, guesses = torch.tensor([-1, -1]), torch.zeros(2, 3, 4, 4)
    ours, theirs = (each._prompts_for(units, guesses) for each in (constant, network))
    assert ours.content.shape == theirs.content.shape == (2 * 3, tokens, 256)
    assert torch.equal(ours.kinds, theirs.kinds)
    assert torch.equal(ours.content.any(2), ours.kinds != NO_POINT)


def test_random_tokens_have_the_statistics_of_the_real_ones(script_module) -> None:
    network = support_network("clusters")
    network.kinds[:, :, 1:] = NO_POINT
    network.content[:, :, 0], network.content[:, :, 1:] = 3.0, 0.0
    script_module.randomize_tokens(network)  # mean 3 and standard deviation 0: places without a token are not looked at
    assert (network.content == 3.0).all()


@pytest.mark.parametrize("rule", ["mean", "clusters"])
def test_tokens_are_swapped_and_the_guess_is_not(script_module, rule: str) -> None:
    network, before = support_network(rule), support_network(rule)
    script_module.swap_tokens(network)
    for place, other in enumerate((1, 2, 0)):
        assert torch.equal(network.content[:, place], before.content[:, other])
    assert torch.equal(network.weight, before.weight)


def test_random_numbers_have_mean_and_deviation_of_what_they_replace(script_module) -> None:
    network, again, before = support_network(), support_network(), support_network()
    script_module.randomize_tokens(network)
    script_module.randomize_all(again)
    assert torch.equal(network.weight, before.weight) and not torch.equal(again.weight, before.weight)
    assert torch.equal(network.content, again.content) and network.content.shape == before.content.shape
    drawn = script_module.random_like(torch.zeros(10000), torch.tensor([1.0, 5.0]).repeat(50))  # standard deviation 2
    assert drawn.mean() == pytest.approx(3, abs=0.1) and drawn.std() == pytest.approx(2, abs=0.1)


def test_a_class_is_compared_with_the_label_of_the_next(script_module, tmp_path: Path) -> None:
    predicted, label = np.zeros((2, 1, 4, 4), np.uint8)
    predicted[0, 0], predicted[0, 1] = 1, 2
    label[0, 0, :2], label[0, 1] = 2, 1  # two of the four voxels that are predicted as 1 have label 2, all of 2 label 1
    for folder, array in ((tmp_path / "predicted", predicted), (tmp_path / "gt_segmentations", label)):
        folder.mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / "one.nii.gz"))
    dataset = SimpleNamespace(labels=LabelSpace({"background": 0, "a": 1, "b": 2}), label_ending=".nii.gz")
    experiment = SimpleNamespace(plans=SimpleNamespace(dataset=SimpleNamespace(reader="SimpleITKIO")), dataset=dataset,
                                 preprocessed=tmp_path, val_cases=("one",))
    assert script_module.swapped_dice(experiment, tmp_path / "predicted") == {
        "one": pytest.approx((2 * 2 / (4 + 2) + 1) / 2)}


def test_scores_are_named_as_the_patients_cases_are(script_module) -> None:
    case = {"reference_file": "labels/one.nii.gz",
            "metrics": {"1": {"IoU": 0.25}, "2": {"IoU": 0.75}, "3": {"IoU": float("nan")}}}
    assert script_module.case_scores({"metric_per_case": [case]}, "IoU") == {"one": 0.5}


def test_claims_hold_or_are_missed(script_module) -> None:
    iou = {"oracle point": {"a": 0.25, "b": 0.25}, "in_context": {"a": 0.25, "b": 0.5},
           "fewshot": {"a": 0.375, "b": 0.375}}
    dice = {"fewshot": {"a": 0.75, "b": 0.75}, "constant tokens": {"a": 0.625, "b": 0.5},
            "swapped tokens": {"a": 0.5, "b": 0.5},
            "random tokens": {"a": 0.75, "b": 0.5}, "random tokens and guess": {"a": 0.25, "b": 0.25}}
    fold = script_module.FoldScores(iou, dice, {"a": 0.25, "b": 0.25}, {"a": "1", "b": "2"})
    rows = script_module.claims([fold, fold])
    assert [row["means"] for row in rows] == [[0.375, 0.25], [0.375, 0.25], [0.75, 0.5625], [0.25, 0.5], [0.75, 0.625],
                                              [0.75, 0.25]]
    # In context is better in one of two cases alone; swapping made it no better; random tokens alone cost 0.125.
    assert [row["holds"] for row in rows] == [False, True, True, False, False, True]
    assert rows[1]["difference"]["mean"] == 0.125 and rows[1]["asked"] == "at least 1.5 times"
