"""Coverage of cells against a plain loop, and the drawing of labels."""

from __future__ import annotations

import numpy as np
import torch

from samunet.pretraining.anatomy import LABELS
from samunet.pretraining.batches import Batch
from samunet.pretraining.regions import cell_coverage, majority, sampled_labels, target_masks


def test_coverage_is_what_a_plain_loop_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, LABELS, (2, 3, 2, 32, 32), generator=generator).to(torch.uint8)
    inside = torch.rand(2, 3, 32, 32, generator=generator) < 0.7
    found = cell_coverage(Batch(torch.empty(0), labels, torch.empty(0), inside)).numpy()
    expected = np.zeros((2, 3, 2, LABELS, 2, 2), np.float32)
    for family, patient, part, row, column in np.ndindex(2, 3, 2, 32, 32):
        if inside[family, patient, row, column]:
            label = int(labels[family, patient, part, row, column])
            expected[family, patient, part, label, row // 16, column // 16] += 1 / 256
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_coverage_of_a_cell_adds_up_to_the_part_inside_the_tile(small_batch) -> None:
    covered = cell_coverage(small_batch).sum(3)
    expected = small_batch.inside.float().unfold(2, 16, 16).unfold(3, 16, 16).mean((4, 5))
    torch.testing.assert_close(covered, expected[:, :, None].expand_as(covered))


def test_a_label_without_weight_is_never_sampled() -> None:
    weights = torch.zeros(3000, LABELS)
    weights[:, 3], weights[:, 9] = 1.0, 3.0
    drawn = sampled_labels(weights, torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == {3, 9}
    assert abs(float((drawn == 9).float().mean()) - 0.75) < 0.03


def test_without_any_weight_all_labels_are_sampled() -> None:
    weights = torch.zeros(2000, LABELS)
    weights[0, 5] = 1.0
    drawn = sampled_labels(weights, torch.Generator().manual_seed(0))
    assert int(drawn[0]) == 5
    assert set(drawn[1:].tolist()) == set(range(LABELS))


def test_targets_are_shares_of_the_decoders_pixels() -> None:
    labels = torch.tensor([[[1, 1, 2, 2], [1, 2, 2, 2], [0, 0, 1, 0], [0, 0, 0, 1]]], dtype=torch.uint8)
    inside = torch.ones(1, 4, 4, dtype=torch.bool)
    inside[0, :, 3] = False  # the last column is padding
    target, known = target_masks(labels, inside, torch.tensor([1]), 2)
    assert target.tolist() == [[[0.75, 0.0], [0.0, 0.25]]]
    assert known.tolist() == [[[1.0, 0.5], [1.0, 0.5]]]


def test_majority_is_the_label_of_the_largest_share() -> None:
    coverage = torch.zeros(3, 1, 2)
    coverage[:, 0, 0], coverage[:, 0, 1] = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.9, 0.0, 0.1])
    label, share = majority(coverage)
    assert label.tolist() == [[1, 0]]
    torch.testing.assert_close(share, torch.tensor([[0.5, 0.9]]))
