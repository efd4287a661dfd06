"""The ridge probe on features that are made to be easy or useless."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from samunet.networks.sam import Sam, set_input_size
from samunet.pretraining import validation
from samunet.pretraining.objectives import places
from samunet.pretraining.validation import NOTHING, _box_iou, _phantoms, place_r2, probe_dice


@pytest.fixture
def truth() -> Tensor:
    """Coverage (4, 2, 5, 8, 8): cells of one of labels 0..2 each, drawn; 3 and 4 are nowhere."""
    labels = torch.randint(0, 3, (4, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    return one_hot(labels, 5).movedim(-1, 2).float()


def features(coverage: Tensor) -> Tensor:
    """Embeddings (P, S, 256, g, g) that hold the labels in their first channels."""
    embeddings = torch.zeros(*coverage.shape[:2], 256, *coverage.shape[3:])
    embeddings[:, :, : coverage.shape[2]] = 10 * coverage
    return embeddings


def test_features_that_hold_the_label_have_dice_one(truth) -> None:
    assert probe_dice(features(truth), truth) == 1.0


def test_features_that_say_nothing_have_the_dice_of_a_guess(truth) -> None:
    noise = torch.randn(4, 2, 256, 8, 8, generator=torch.Generator().manual_seed(1))
    assert probe_dice(noise, truth) == pytest.approx(1 / 3, abs=0.12)
    # All cells are given the fitted patients' commonest label: Dice 2 n / (n + all) for it, 0 for the two others.
    commonest = int(truth[:2].sum((0, 1, 3, 4)).argmax())
    count, everything = float(truth[2:, :, commonest].sum()), 2 * 2 * 64
    assert probe_dice(torch.zeros_like(noise), truth) == pytest.approx(2 * count / (count + everything) / 3, abs=1e-5)


def test_labels_that_either_set_lacks_do_not_count(truth) -> None:
    shown = features(truth)
    only_fitted, only_read = truth.clone(), truth.clone()
    only_fitted[0, 0, :, 0, 0] = one_hot(torch.tensor(3), 5)
    shown_fitted = features(only_fitted)
    assert probe_dice(shown_fitted, only_fitted) == 1.0
    # Label 3 in half of the cells of one read image, whose features say another label: that label alone loses.
    only_read[3, 1, :, :4] = one_hot(torch.tensor(3), 5).view(5, 1, 1)
    wrong = truth[3, 1, :3, :4].sum((1, 2))
    held = only_read[2:, :, :3].sum((0, 1, 3, 4))
    expected = (2 * held / (2 * held + wrong)).mean()
    assert probe_dice(shown, only_read) == pytest.approx(float(expected), abs=1e-5)


def test_cells_that_are_padding_do_not_count(truth) -> None:
    shown, padded = features(truth), truth.clone()
    shown[2:, :, :3, 6:] = 0
    shown[2:, :, 1, 6:] = 10  # padding that looks like label 1
    padded[2:, :, :, 6:] = 0
    assert probe_dice(shown, padded) == 1.0
    # One cell that does count and looks like another label is wrong for both.
    held = padded[2:].sum((0, 1, 3, 4))[:3]
    right = int(truth[2, 0, :3, 5, 0].argmax())
    wrong = (right + 1) % 3
    shown[2, 0, :3, 5, 0] = 10 * one_hot(torch.tensor(wrong), 3)
    expected = torch.ones(3)
    expected[right] = 2 * (held[right] - 1) / (2 * held[right] - 1)
    expected[wrong] = 2 * held[wrong] / (2 * held[wrong] + 1)
    assert probe_dice(shown, padded) == pytest.approx(float(expected.mean()), abs=1e-5)


def test_right_answers_to_cells_that_are_half_padding_have_dice_one(truth) -> None:
    padded = truth.clone()
    padded[2:, :, :, 5] *= 0.5
    assert probe_dice(features(truth), padded) == pytest.approx(1, abs=1e-6)


def test_place_is_predicted_as_far_as_the_waves_are_there() -> None:
    waves = places(8, torch.device("cpu")).T.reshape(63, 8, 8)
    embeddings = torch.zeros(2, 2, 1, 256, 8, 8)
    embeddings[:, :, :, :63] = 10 * waves
    assert place_r2(embeddings) == pytest.approx(1, abs=1e-3)
    embeddings[:, :, :, 21:] = 0.0  # two thirds of the waves
    assert place_r2(embeddings) == pytest.approx(1 / 3, abs=1e-3)
    assert place_r2(torch.zeros_like(embeddings)) == pytest.approx(0, abs=1e-6)


def test_boxes_are_judged_beside_their_ellipses(mini_sam: Sam, monkeypatch) -> None:
    """A decoder that fills the box, on an image of a rectangle of 32 x 48 pixels and of one too small to be queried."""
    set_input_size(mini_sam, 64)
    labels = torch.full((1, 64, 64), NOTHING, dtype=torch.uint8)
    labels[0, 8:40, 16:64] = 1
    labels[0, 63, 0] = 2

    def filled(embeddings, prompts, sam):
        ellipse = prompts.masks[:, 0] > 0
        return (ellipse.any(1, keepdim=True) & ellipse.any(2, keepdim=True)).float()

    monkeypatch.setattr(validation, "_masks", filled)
    box, ellipse = _box_iou(torch.zeros(1, 256, 4, 4), labels, mini_sam)
    assert box == 1.0
    # In decoder pixels, 8 rows of 12: the ellipse leaves 3, 1 and 1 of each corner's first three rows out, and lies in
    # the box.
    rows, columns = torch.meshgrid(torch.arange(8) - 3.5, torch.arange(12) - 5.5, indexing="ij")
    assert ellipse == pytest.approx(float(((rows / 4) ** 2 + (columns / 6) ** 2 <= 1).float().mean()))


def test_phantoms_are_normalised_images_with_the_coverage_of_their_cells() -> None:
    images, coverage = _phantoms(64, torch.device("cpu"))
    assert images.shape[:1] + images.shape[2:] == (4, 3, 64, 64) and coverage.shape[-2:] == (4, 4)
    assert float(images.min()) >= -2 and float(images.max()) <= 2
    inside = coverage.sum(2)
    assert float(inside.max()) == pytest.approx(1) and float(coverage[:, :, 1:].sum((1, 3, 4)).min()) > 0.5
    # Channels are neighbouring slices.
    assert not torch.equal(images[:, :, 0], images[:, :, 1])
