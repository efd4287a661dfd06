"""How variants that answer all prompts at once keep a mask to start from, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.variants.answers import ABSENT, KEPT, REFUSED, answering, logits_of_masks, with_start

PLAIN = LabelSpace({"background": 0, "a": 1, "b": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
A = ABSENT


def started(classes: list[list[float]], start: list[list[int]], labels: LabelSpace) -> list[list[float]]:
    """One row of voxels for each class, without the background's; two slabs of one slice each, both the same."""
    rows = np.array(classes, np.float32)[:, None, None]
    logits = rows if labels.has_regions else np.concatenate([np.zeros_like(rows[:1]), rows])
    masks = np.array(start, bool)[:, None, None].repeat(2, 1)
    masks[:, 1] = False  # nothing to start from in the second slice
    (first, one), (second, other) = with_start([(0, logits), (1, logits)], masks, labels)
    assert (first, second) == (0, 1) and other.dtype == np.float32
    np.testing.assert_array_equal(other, logits)
    return one[-len(classes):, 0, 0].tolist()


def test_a_class_keeps_its_mask_where_no_prompt_reaches_and_gives_way_to_prompted_classes() -> None:
    #   voxel:             0     1     2    3    4
    found = started([[3.0, -3.0, REFUSED, 3.0, A], [A, A, A, A, A]], [[0, 1, 1, 0, 0], [0, 0, 0, 1, 1]], PLAIN)
    assert found == [[3.0, -3.0, REFUSED, 3.0, A], [A, A, A, A, KEPT]]


def test_means_of_absence_over_windows_are_absence() -> None:
    assert started([[A + 1e-5, A + 0.1]], [[1, 1]], LabelSpace({"background": 0, "a": 1})) == [
        [KEPT, pytest.approx(A + 0.1)]]


def test_regions_do_not_compete() -> None:
    assert started([[3.0, A], [A, A]], [[0, 0], [1, 1]], REGIONS) == [[3.0, A], [KEPT, KEPT]]


def test_without_a_start_nothing_changes() -> None:
    slabs = [(0, np.zeros((3, 1, 2, 2), np.float32))]
    assert list(with_start(slabs, None, PLAIN)) == slabs


@pytest.mark.parametrize("labels", [PLAIN, REGIONS])
def test_logits_of_masks_decode_to_them(labels: LabelSpace) -> None:
    label_map = np.array([[[0, 1, 2, 1]]], np.uint8)
    masks = np.stack([labels.mask(label_map, label) for label in labels.foreground])
    np.testing.assert_array_equal(labels.decode(logits_of_masks(masks, labels), threshold=0.0), label_map)


def test_a_variant_without_prompts_is_refused() -> None:
    class Case:
        class properties:
            name = "c"

    with pytest.raises(UserError, match="(?s)to a variant that answers them.*where: c.*found: object"):
        answering((), [object()], Case, None)
