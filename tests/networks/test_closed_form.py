"""The head in closed form: by hand, beside scikit-learn's, and a network that segments before its first step."""

from __future__ import annotations

import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from samunet.networks.closed_form import MARGIN, balanced, fit_head, ridge_head
from samunet.networks.hybrid import Hybrid
from samunet.planning.volume_rules import VolumePlan

PLAN = VolumePlan((4, 14, 16), (4, 16, 16), ((1, 1, 1), (1, 2, 2)), ((3, 3, 3),) * 2, (1, 2, 2), (4, 8, 8))


def test_a_line_through_two_points_by_hand() -> None:
    features, targets = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [3.0]])
    # Centred, weights a half each: slope 1 / (1 + penalty), and the mean, 2, stays.
    weight, bias = ridge_head(features, targets, torch.ones(2), 1.0)
    torch.testing.assert_close((weight, bias), (torch.tensor([[0.5]]), torch.tensor([2.0])))


def test_it_is_scikit_learns_with_weights_and_a_free_constant() -> None:
    torch.manual_seed(0)
    features, targets, weight = torch.randn(40, 5) + 3, torch.randn(40, 3), torch.rand(40)
    fitted = ridge_head(features, targets, weight, 0.3)
    theirs = Ridge(alpha=0.3 * float(weight.sum())).fit(features.numpy(), targets.numpy(), weight.numpy())
    for mine, other in zip(fitted, (theirs.coef_, theirs.intercept_), strict=True):
        torch.testing.assert_close(mine, torch.from_numpy(other), rtol=1e-4, atol=1e-5)


def test_a_gradient_reaches_features_through_the_solution() -> None:
    torch.manual_seed(0)
    features, targets, weight = torch.randn(6, 2).double(), torch.randn(6, 2).double(), torch.rand(6).double()
    assert torch.autograd.gradcheck(lambda each: ridge_head(each, targets, weight), features.requires_grad_())


def test_each_class_weighs_the_same_and_a_set_of_regions_is_a_class() -> None:
    plain = torch.tensor([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=torch.bool)
    torch.testing.assert_close(balanced(plain), torch.tensor([1 / 6, 1 / 6, 1 / 6, 1 / 2]))
    regions = torch.tensor([[0, 0], [1, 0], [1, 1], [1, 1]], dtype=torch.bool)
    torch.testing.assert_close(balanced(regions), torch.tensor([1 / 3, 1 / 3, 1 / 6, 1 / 6]))


def _sample(network: Hybrid, counted: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    image = torch.randn(1, 1, 4, 14, 16, generator=torch.Generator().manual_seed(1))
    features = network.features(image, torch.zeros(1, 0, 1, 1, 1)).detach()
    inside = features[:, 2] > 0.5 + features[:, 5]  # a half space of the features
    return image, torch.zeros(1, 0, 1, 1, 1), torch.stack([~inside, inside], 1), counted


def test_a_fitted_head_segments_and_what_does_not_count_is_not_read() -> None:
    torch.manual_seed(0)
    network = Hybrid(1, 0, 2, PLAN, 0.0)
    counted = torch.ones(1, 4, 14, 16, dtype=torch.bool)
    counted[:, 0] = False
    image, cells, members, _ = _sample(network, counted)
    wrong = members.clone()
    wrong[:, :, 0] = ~wrong[:, :, 0]
    fit_head(network, [(image, cells, wrong, counted)])
    assert network.training
    logits = network.eval()(image, cells)[0]
    right = (logits.argmax(1) == members[:, 1].long()).float().mean()
    assert right > 0.9
    torch.testing.assert_close(logits[:, 0], -logits[:, 1], rtol=1e-3, atol=1e-3)  # two classes, opposite targets
    assert 0.5 * MARGIN < float(logits[:, 1][members[:, 1]].mean()) < MARGIN


def test_without_a_labelled_voxel_the_head_stays() -> None:
    network = Hybrid(1, 0, 2, PLAN, 0.0)
    before = network.heads[0].weight.clone()
    fit_head(network, [_sample(network, torch.zeros(1, 4, 14, 16, dtype=torch.bool))])
    torch.testing.assert_close(network.heads[0].weight, before)
