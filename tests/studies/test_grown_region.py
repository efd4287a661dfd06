"""The region grown from clicks, on images whose answer is known."""

from __future__ import annotations

import numpy as np

from samunet.dataset.labels import LabelSpace
from samunet.interaction.click_evaluation import ClickSettings

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})


def bright(*boxes: tuple[slice, ...]) -> np.ndarray:
    image = np.random.default_rng(0).normal(0, 1, (7, 20, 30)).astype(np.float32)
    return image + 100 * marked(*boxes).astype(np.float32)


LEFT, RIGHT = (slice(1, 6), slice(4, 16), slice(2, 12)), (slice(1, 6), slice(4, 16), slice(18, 28))
BRIDGE = (slice(3, 4), slice(9, 10), slice(12, 18))


def marked(*boxes: tuple[slice, ...]) -> np.ndarray:
    mask = np.zeros((7, 20, 30), bool)
    for box in boxes:
        mask[box] = True
    return mask


def grown(module, image, spacing=(1, 1, 1), multiplier=9.0):
    return module.GrownRegion(image, spacing, LABELS, module.Parameters(0.0, multiplier))


def test_a_click_fills_its_object_and_no_other(script) -> None:
    answers = grown(script("grown_region"), bright(LEFT, RIGHT))
    assert not answers.mask.any()
    answers.add_point((3, 8, 6), "a")
    assert ((answers.mask == 1) == marked(LEFT)).all() and not (answers.mask == 2).any()
    answers.add_point((3, 8, 22), "b")
    assert ((answers.mask == 1) == marked(LEFT)).all() and ((answers.mask == 2) == marked(RIGHT)).all()


def test_a_negative_click_blocks_what_is_nearer_to_it_and_what_only_that_connects(script) -> None:
    """Two blocks and a bridge of 6 voxels, clicks in columns 6 and 22: the region ends in the middle, column 14."""
    answers = grown(script("grown_region"), bright(LEFT, BRIDGE, RIGHT))
    answers.add_point((3, 9, 6), "a")
    assert ((answers.mask == 1) == marked(LEFT, BRIDGE, RIGHT)).all()
    answers.add_point((3, 9, 22), "a", positive=False)
    half = (BRIDGE[0], BRIDGE[1], slice(12, 15))
    assert ((answers.mask == 1) == marked(LEFT, half)).all()
    ring = bright(LEFT, RIGHT, (slice(3, 4), slice(17, 18), slice(2, 28)), (slice(3, 4), slice(16, 18), slice(2, 3)),
                  (slice(3, 4), slice(16, 18), slice(27, 28)))
    answers = grown(script("grown_region"), ring)
    answers.add_point((3, 9, 6), "a")
    assert (answers.mask == 1)[RIGHT].all()
    answers.add_point((3, 17, 15), "a", positive=False)  # on the bridge: half of the other block is nearer to `a`
    assert (answers.mask == 1)[LEFT].any() and not (answers.mask == 1)[RIGHT].any()


def test_distances_are_in_mm(script) -> None:
    """A negative click 2 slices and 5 columns away: with slices of 10 mm it blocks nothing of the clicked slice."""
    block = (slice(0, 5), slice(5, 16), slice(5, 17))
    for spacing, columns in (((10, 1, 1), 12), ((1, 1, 1), 6)):
        answers = grown(script("grown_region"), bright(block), spacing)
        answers.add_point((1, 10, 8), "a")
        answers.add_point((3, 10, 13), "a", positive=False)
        mask = answers.mask == 1
        assert mask[1, 10].sum() == columns and mask[2, 10, 5:11].all() and not mask[2, 10, 11:].any()


def test_labels_share_what_both_reach_by_the_nearer_click(script) -> None:
    answers = grown(script("grown_region"), bright(LEFT, BRIDGE, RIGHT))
    answers.add_point((3, 9, 6), "a")
    answers.add_point((3, 9, 23), "b")
    assert ((answers.mask == 1) == marked(LEFT, (BRIDGE[0], BRIDGE[1], slice(12, 15)))).all()
    assert ((answers.mask == 2) == marked(RIGHT, (BRIDGE[0], BRIDGE[1], slice(15, 18)))).all()


def test_a_box_seeds_and_ends_its_label(script) -> None:
    answers = grown(script("grown_region"), bright(LEFT, BRIDGE, RIGHT))
    answers.add_box((1, 4, 2), (5, 15, 9), "b")
    assert ((answers.mask == 2) == marked((LEFT[0], LEFT[1], slice(2, 10)))).all()


def test_parameters_are_those_that_are_best_on_training_cases(script) -> None:
    """Noise of 1 on a step of 4: intervals of 1.5 standard deviations leave voxels out; the widest does not."""
    module = script("grown_region")
    truth = np.zeros((7, 20, 30), np.uint8)
    truth[LEFT] = 1
    image = np.random.default_rng(1).normal(0, 1, truth.shape).astype(np.float32) + 40 * (truth == 1)
    case = module.LabelledCase("one", image, truth, (1.0, 1.0, 1.0))
    best = module.chosen([case], LabelSpace({"background": 0, "a": 1}), ClickSettings(clicks=1))
    assert best.multiplier >= 2.5 and best in module.GRID
