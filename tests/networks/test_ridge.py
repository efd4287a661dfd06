"""Ridge regression by hand and beside scikit-learn's."""

from __future__ import annotations

import torch
from sklearn.linear_model import Ridge

from samunet.networks.ridge import ridge


def test_a_line_through_two_points_shrinks_with_the_penalty() -> None:
    seen, target = torch.tensor([[[-1.0], [1.0]]]), torch.tensor([[[1.0], [3.0]]])
    # Centred: slope (1 * 1 + 1 * 1) / (2 + p) of targets -+1 about 2, constant 2 * 2 / (2 + p).
    answer = ridge(seen, target, torch.tensor([[[0.0], [1.0]]]), 2.0)
    torch.testing.assert_close(answer, torch.tensor([[[1.0], [1.5]]]))


def test_it_is_scikit_learns_with_a_penalised_constant() -> None:
    torch.manual_seed(0)
    seen, target, unseen = torch.randn(30, 5), torch.randn(30, 3), torch.randn(7, 5)
    middle = seen.mean(0)
    columns = [torch.cat([each - middle, torch.ones(len(each), 1)], 1).numpy() for each in (seen, unseen)]
    theirs = Ridge(alpha=1.5, fit_intercept=False).fit(columns[0], target.numpy()).predict(columns[1])
    torch.testing.assert_close(ridge(seen[None], target[None], unseen[None], 1.5)[0], torch.from_numpy(theirs),
                               rtol=1e-4, atol=1e-5)
