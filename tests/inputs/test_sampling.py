"""What a batch holds, on label maps whose presence is plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace, in_slices_alone
from samunet.inputs.sampling import LabelSlices, Pick, Sampler, SpreadSampler, first_slice
from samunet.planning.tiles import TileFrame

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
IGNORING = LabelSpace({"background": 0, "a": 1, "ignore": 2})
FRAME = TileFrame((4, 8), (4, 4), 0.5)  # tiles start at columns 0, 2, 4


def segmentation_of(*voxels: tuple[int, int, int, int], depth: int = 6) -> np.ndarray:
    segmentation = np.zeros((depth, 4, 8), np.int16)
    for z, y, x, value in voxels:
        segmentation[z, y, x] = value
    return segmentation


def test_presence_says_which_tiles_hold_a_class() -> None:
    slices = LabelSlices.build(segmentation_of((3, 1, 2, 1), (5, 0, 7, 2)), FRAME, LABELS)
    assert slices.presence.shape == (2, 6, 3)
    assert np.argwhere(slices.presence[0]).tolist() == [[3, 0], [3, 1]]  # column 2 lies in tiles 0..3 and 2..5
    assert np.argwhere(slices.presence[1]).tolist() == [[5, 2]]


def test_regions_are_present_where_one_of_their_labels_is() -> None:
    regions = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))
    slices = LabelSlices.build(segmentation_of((0, 0, 0, 1), (1, 0, 0, 2)), FRAME, regions)
    assert slices.presence[:, :, 0].any(axis=1).tolist() == [True, True]
    assert np.flatnonzero(slices.presence[0].any(axis=1)).tolist() == [0, 1]
    assert np.flatnonzero(slices.presence[1].any(axis=1)).tolist() == [1]


def test_label_tiles_are_cut_like_embeddings_and_padded_with_minus_one() -> None:
    frame = TileFrame((2, 8), (4, 4), 0.5)  # one row of padding above and below
    segmentation = np.arange(16, dtype=np.int16).reshape(1, 2, 8)
    tile = LabelSlices.build(segmentation, frame, LABELS).tile(0, 1)
    assert tile.tolist() == [[-1] * 4, [2, 3, 4, 5], [10, 11, 12, 13], [-1] * 4]


def test_batches_of_one_have_the_share_of_foreground_of_larger_ones() -> None:
    cases = [LabelSlices.build(segmentation_of((3, 1, 2, 1), depth=50), FRAME, LABELS)]
    whole = Sampler(cases, LABELS, 10, seed=0)
    assert whole.from_foreground == 3
    one_by_one = [pick for number in range(20) for pick in SpreadSampler(whole, 1).picks(number)]
    assert one_by_one == [*whole.picks(0), *whole.picks(1)]
    assert SpreadSampler(whole, 4).picks(2) == [*whole.picks(0)[8:], *whole.picks(1)[:2]]
    assert sum(pick.label is not None for pick in one_by_one) == 6


def test_the_last_third_of_a_batch_is_foreground_at_least_one() -> None:
    cases = [LabelSlices.build(segmentation_of((3, 1, 2, 1), depth=50), FRAME, LABELS)]
    for batch_size, expected in {1: 1, 2: 1, 3: 1, 4: 1, 6: 2, 8: 3, 12: 4}.items():
        sampler = Sampler(cases, LABELS, batch_size, seed=0)
        assert sampler.from_foreground == expected
        for iteration in range(20):
            last = sampler.picks(iteration)[-expected:]
            assert all(pick.plane == 3 and pick.tile in (0, 1) for pick in last)


def test_each_class_that_occurs_is_drawn_as_often_as_the_others() -> None:
    # `a` in 40 slices of case 0, `b` in one slice of case 1: half of the foreground samples are of `b`.
    many = segmentation_of(*[(z, 0, 0, 1) for z in range(40)], depth=40)
    cases = [LabelSlices.build(each, FRAME, LABELS) for each in (many, segmentation_of((2, 0, 7, 2)))]
    sampler = Sampler(cases, LABELS, 1, seed=1)
    picks = [sampler.picks(iteration)[0] for iteration in range(400)]
    of_b = [pick for pick in picks if pick == Pick(1, 2, 2, 1)]
    assert 160 <= len(of_b) <= 240


def test_the_rest_is_uniform_over_cases_then_slices_then_tiles() -> None:
    cases = [LabelSlices.build(segmentation_of(depth=depth), FRAME, LABELS) for depth in (1, 9)]
    sampler = Sampler(cases, LABELS, 3, seed=2)
    picks = [pick for iteration in range(300) for pick in sampler.picks(iteration)]
    assert 400 <= sum(pick.case == 0 for pick in picks) <= 500  # half of 900 though it has a tenth of the slices
    counts = np.bincount([pick.plane for pick in picks if pick.case == 1], minlength=9)
    assert counts.min() >= 25 and counts.max() <= 75
    assert 250 <= sum(pick.tile == 1 for pick in picks) <= 350


def test_picks_hang_on_seed_iteration_and_sample_alone(made) -> None:
    first = Sampler(made.made_labels(), LABELS, 4, seed=5)
    picks = [first.picks(iteration) for iteration in range(6)]
    again = Sampler(made.made_labels(), LABELS, 4, seed=5)
    assert [again.picks(iteration) for iteration in (5, 0, 3)] == [picks[5], picks[0], picks[3]]
    assert Sampler(made.made_labels(), LABELS, 4, seed=6).picks(0) != picks[0]
    assert len({tuple(each) for each in picks}) == 6


def test_slices_without_annotation_are_never_drawn_where_others_exist() -> None:
    segmentation = np.full((6, 4, 8), 2, np.int16)
    segmentation[4, :, :2] = 0  # tile 0 of slice 4 alone is annotated
    unannotated = np.full((6, 4, 8), 2, np.int16)
    unannotated[:, 0] = -1  # outside the image's non-zero part: nobody annotated that
    cases = [LabelSlices.build(each, FRAME, IGNORING) for each in (segmentation, unannotated)]
    sampler = Sampler(cases, IGNORING, 4, seed=0)
    assert {pick for iteration in range(30) for pick in sampler.picks(iteration)} == {Pick(0, 4, 0)}
    nothing = Sampler(cases[1:], IGNORING, 4, seed=0)
    assert len({pick for iteration in range(100) for pick in nothing.picks(iteration)}) == 18


def test_unannotated_slices_are_never_drawn_and_a_whole_case_is_drawn_everywhere() -> None:
    segmentation = segmentation_of(*[(z, 1, x, 1 + x // 4) for z in range(6) for x in range(8)])
    some, whole = (LabelSlices.build(in_slices_alone(segmentation, slices), FRAME, LABELS)
                   for slices in ((1, 4), range(6)))
    sampler = Sampler([some, whole], LABELS, 4, seed=0)
    drawn = [pick for iteration in range(100) for pick in sampler.picks(iteration)]
    assert {pick.plane for pick in drawn if pick.case == 0} == {1, 4}
    assert {pick.plane for pick in drawn if pick.case == 1} == set(range(6))
    assert (some.tile(1, 0) >= 0).all() and (some.tile(2, 0) == -2).all()


@pytest.mark.parametrize("plane, slices, allowed",
                         [(0, 10, {0}), (1, 10, {0, 1}), (5, 10, {3, 4, 5}), (9, 10, {7}), (1, 2, {0})])
def test_where_three_slices_that_hold_a_plane_may_begin(plane: int, slices: int, allowed: set[int]) -> None:
    assert {first_slice(plane, 3, slices, np.random.default_rng(seed)) for seed in range(40)} == allowed
