from __future__ import annotations

import numpy as np
import pytest
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from samunet.dataset.labels import UNANNOTATED, LabelSpace, in_slices_alone
from samunet.errors import UserError

PLAIN = {"labels": {"background": 0, "a": 1, "b": 2}}
PLAIN_IGNORE = {"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}
LISTS_OF_ONE = {"labels": {"background": 0, "a": [1], "b": [2]}}
REGIONS = {"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "inner": 3},
           "regions_class_order": [1, 2, 3]}
REGIONS_LIST_OF_ONE = {
    "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}, "regions_class_order": [1, 2]}
# Not in the order of values, a background region that is no channel, and a region that contains background.
REGIONS_ODD = {"labels": {"core": [2], "background": 0, "nothing": [0, 0], "rest": [0, 1], "whole": [1, 2]},
               "regions_class_order": [2, 1, 1]}
ALL = {"plain": PLAIN, "plain_ignore": PLAIN_IGNORE, "lists_of_one": LISTS_OF_ONE, "regions": REGIONS,
       "regions_list_of_one": REGIONS_LIST_OF_ONE, "regions_odd": REGIONS_ODD}


@pytest.fixture(params=ALL.values(), ids=ALL)
def content(request):
    return request.param


def _manager(content) -> LabelManager:
    return LabelManager(content["labels"], content.get("regions_class_order"))


def test_agrees_with_nnunet(content):
    ours, theirs = LabelSpace.from_dataset_json(content), _manager(content)
    assert ours.has_regions == theirs.has_regions
    assert ours.ignore == theirs.ignore_label
    assert list(ours.values) == theirs.all_labels
    assert ours.channels == theirs.num_segmentation_heads
    assert list(ours.foreground) == (theirs.foreground_regions if ours.has_regions else theirs.foreground_labels)


def test_decodes_as_nnunet(content):
    ours, theirs = LabelSpace.from_dataset_json(content), _manager(content)
    logits = np.random.default_rng(0).normal(size=(ours.channels, 3, 7, 5)).astype(np.float32) * 3
    expected = theirs.convert_logits_to_segmentation(logits)
    from_logits = ours.decode(logits, threshold=0.0)
    assert from_logits.dtype == np.uint8
    np.testing.assert_array_equal(from_logits, expected)
    probabilities = ours.activate(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(probabilities, theirs.apply_inference_nonlin(logits).numpy(), atol=1e-7)
    np.testing.assert_array_equal(ours.decode(probabilities, threshold=0.5), expected)


def test_plain_labels_by_hand():
    space = LabelSpace.from_dataset_json(PLAIN_IGNORE)
    assert (space.ignore, space.values, space.foreground, space.channels) == (3, (0, 1, 2), (1, 2), 3)
    segmentation = np.array([-1, 0, 1, 2, 3], np.int16)
    masks = space.channel_masks(segmentation)
    assert [mask.tolist() for mask in masks] == [[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]
    assert space.valid(segmentation).tolist() == [True, True, True, True, False]
    assert space.name_of(2) == "b"


def test_a_label_file_may_hold_what_is_listed_and_ignore():
    space = LabelSpace.from_dataset_json(PLAIN_IGNORE)
    assert space.known == {0, 1, 2, 3} and LabelSpace.from_dataset_json(PLAIN).known == {0, 1, 2}
    assert LabelSpace.from_dataset_json(REGIONS).known == {0, 1, 2, 3}


def test_regions_by_hand():
    space = LabelSpace.from_dataset_json(REGIONS)
    assert space.foreground == ((1, 2, 3), (2, 3), 3)
    segmentation = np.array([-1, 0, 1, 2, 3], np.int16)
    assert [mask.tolist() for mask in space.channel_masks(segmentation)] == [
        [0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]
    # Painting in order: whole, then core over it, then inner.
    scores = np.array([[0.9, 0.9, 0.9, 0.1, 0.5], [0.1, 0.9, 0.9, 0.9, 0.5], [0.1, 0.1, 0.9, 0.1, 0.5]])
    assert space.decode(scores, threshold=0.5).tolist() == [1, 2, 3, 2, 0]
    assert [space.name_of(label) for label in space.foreground] == ["whole", "core", "inner"]


def test_a_region_that_contains_background_takes_what_is_outside_the_crop():
    space = LabelSpace.from_dataset_json(REGIONS_ODD)
    assert space.foreground == ((2,), (0, 1), (1, 2))
    assert space.mask(np.array([-1, 0, 1, 2]), (0, 1)).tolist() == [True, True, True, False]


def test_lists_of_one_value_are_plain_labels():
    space = LabelSpace.from_dataset_json(LISTS_OF_ONE)
    assert not space.has_regions
    assert space.foreground == (1, 2)
    assert space.name_of(1) == "a"


@pytest.mark.parametrize("name", ["plain", "plain_ignore", "regions_odd"])
def test_tensors_give_the_same_masks(name):
    space = LabelSpace.from_dataset_json(ALL[name])
    segmentation = np.random.default_rng(1).integers(-2, 3, (4, 5)).astype(np.int16)
    tensor = torch.from_numpy(segmentation)
    for ours, expected in zip(space.channel_masks(tensor), space.channel_masks(segmentation), strict=True):
        assert ours.dtype == torch.bool
        np.testing.assert_array_equal(ours.numpy(), expected)
    np.testing.assert_array_equal(space.valid(tensor).numpy(), space.valid(segmentation))


def test_without_ignore_everything_counts():
    assert LabelSpace.from_dataset_json(PLAIN).valid(np.array([-1, 0, 2])).tolist() == [True, True, True]


@pytest.mark.parametrize("name", ["plain", "plain_ignore", "regions", "regions_odd"])
def test_unannotated_voxels_are_of_no_class_and_do_not_count(name):
    space = LabelSpace.from_dataset_json(ALL[name])
    segmentation = np.array([UNANNOTATED, -1, 0], np.int16)
    assert not any(mask[0] for mask in space.channel_masks(segmentation)) and not space.mask(segmentation, 0)[0]
    assert space.mask(segmentation, 0).tolist() == space.valid(segmentation).tolist() == [False, True, True]


def test_labels_in_some_slices_alone():
    segmentation = np.array([[[0, 1]], [[2, -1]], [[-1, 3]]], np.int16)[None]
    kept = in_slices_alone(segmentation, (1,))
    assert kept.tolist() == [[[[-2, -2]], [[2, -1]], [[-1, -2]]]] and kept.dtype == np.int16
    assert segmentation.min() == -1


def test_many_labels_need_uint16():
    labels = {"background": 0, **{str(value): value for value in range(1, 255)}}
    assert LabelSpace.from_dataset_json({"labels": labels}).dtype == np.uint8
    assert LabelSpace.from_dataset_json({"labels": {**labels, "last": 255}}).dtype == np.uint16


@pytest.mark.parametrize(("content", "message"), [
    ({}, "must have `labels`"),
    ({"labels": {}}, "must have `labels`"),
    ({"labels": {"a": 1, "b": 0}}, "`background` must be 0"),
    ({"labels": {"background": 1, "a": 0}}, "`background` must be 0"),
    ({"labels": {"background": [0], "a": 1}}, "`background` must be 0"),
    ({"labels": {"ignore": 0}}, "`background` must be 0"),
    ({"labels": {"background": 0, "a": 1, "b": 3}}, "consecutive integers from 0"),
    ({"labels": {"background": 0, "a": 1.5}}, "must be integers"),
    ({"labels": {"background": 0, "a": "1"}}, "must be integers"),
    ({"labels": {"background": 0, "a": True}}, "must be integers"),
    ({"labels": {"background": 0, "a": -1}}, "must be integers"),
    ({"labels": {"background": 0, "a": []}}, "must be integers"),
    ({"labels": {"background": 0, "a": [[1]]}}, "must be integers"),
    ({"labels": {"background": 0, "a": 1, "ignore": 1}}, "highest label \\+ 1"),
    ({"labels": {"background": 0, "a": 1, "ignore": 3}}, "highest label \\+ 1"),
    ({"labels": {"background": 0, "a": 1, "ignore": [2]}}, "highest label \\+ 1"),
    ({"labels": {"background": 0, "a": [1, 2]}}, "needs `regions_class_order`"),
    ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [1, 2]}, "needs `regions_class_order`"),
    ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [7]}, "needs `regions_class_order`"),
    ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": 1}, "needs `regions_class_order`"),
    ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [True]}, "needs `regions_class_order`"),
    ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [1.0]}, "needs `regions_class_order`"),
    ({"labels": {"background": 0, "a": 1, "b": 1}}, "value of its own.\n.*\n  found: a and b are \\[1\\]"),
    ({"labels": {"background": 0, "void": 0, "a": 1}}, "found: background and void are \\[0\\]"),
    ({"labels": {"background": 0, "a": 1, "b": [1]}}, "found: a and b are \\[1\\]"),
    ({"labels": {"background": 0, "a": [1, 2], "b": [2, 1]}, "regions_class_order": [1, 2]},
     "found: a and b are \\[1, 2\\]"),
    ({"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [2, 1]},
     "one of its own values(.|\n)*found: core \\[2\\] is painted as 1"),
    ({"labels": {"background": 0}}, "a label besides the background"),
    ({"labels": {"background": 0, "ignore": 1}}, "a label besides the background"),
    ({"labels": {"background": 0, "a": 10**12}}, "consecutive integers from 0"),
    ({"labels": {"0": "background", "1": "a", "2": "b"}},
     'must map name to value(.|\n)*Write {"background": 0, "a": 1, "b": 2}'),
])
def test_bad_labels(content, message):
    with pytest.raises(UserError, match=message):
        LabelSpace.from_dataset_json(content)


def test_bad_labels_are_reported_together():
    with pytest.raises(UserError) as caught:
        LabelSpace.from_dataset_json({"labels": {"background": 1, "a": [1, 3], "ignore": 9}})
    assert str(caught.value).startswith("4 problems were found:")
