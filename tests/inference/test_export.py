"""Export by hand, then against nnU-Net's own export."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.transform import resize

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.export import export_case
from samunet.inference.interpolation import AxisMap
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties

PLAIN = LabelSpace({"background": 0, "a": 1, "b": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))


def dataset_plan(spacing_mm, forward=(0, 1, 2)) -> DatasetPlan:
    backward = tuple(int(axis) for axis in np.argsort(forward))
    return DatasetPlan("SimpleITKIO", forward, backward, spacing_mm, (1, 1, 1), False, ("MRI",), ("zscore",), (False,),
                       ({},))


def case_properties(shape, after, spacing_mm, before=None, bbox=None) -> CaseProperties:
    """`spacing_mm` is the file's, in the file's axes; everything else in the plan's axes."""
    bbox = bbox or tuple((0, size) for size in after)
    before = before or after
    geometry = Geometry("SimpleITKIO", (0, 0, 0), spacing_mm, (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    return CaseProperties("case", geometry, before, bbox, after, shape, ((0.0, 1.0),), "", None, {})


def slabs_of(logits, size):
    for first in range(0, logits.shape[1], size):
        yield first, logits[:, first : first + size]


def smooth_logits(channels, shape, seed=0):
    noise = np.random.default_rng([seed]).normal(size=(channels, *shape)).astype(np.float32)
    return 10 * np.stack([gaussian_filter(channel, 1.0) for channel in noise])


def test_linear_by_hand():
    # Four voxels from two: places -0.25, 0.25, 0.75, 1.25, the ends clamped.
    upscaled = AxisMap.linear(2, 4).apply(np.array([0, 4], np.float32), 0)
    assert upscaled.tolist() == [0, 1, 3, 4]
    # Two from four: places 0.5 and 2.5.
    assert AxisMap.linear(4, 2).apply(np.array([0, 4, 8, 16], np.float32), 0).tolist() == [2, 12]


@pytest.mark.parametrize("size, new_size", list(itertools.product((1, 2, 5, 8, 13), (1, 2, 3, 8, 11, 26))))
def test_axis_maps_equal_the_references(size, new_size):
    values = np.random.default_rng([size, new_size]).normal(size=size)
    linear = resize(values, (new_size,), 1, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(AxisMap.linear(size, new_size).apply(values.astype(np.float32), 0), linear, atol=1e-6)
    places = size / new_size * (np.arange(new_size) + 0.5) - 0.5
    nearest = map_coordinates(values, places[None], order=0, mode="nearest")
    assert AxisMap.nearest(size, new_size).apply(values, 0).tolist() == nearest.tolist()


def test_export_by_hand():
    """Crop and transpose undone: the plan's slices are the file's columns, the box starts at (1, 0, 2)."""
    plan = dataset_plan((1.0, 1.0, 1.0), forward=(2, 0, 1))
    properties = case_properties((1, 1, 2), (1, 1, 2), (1.0, 1.0, 1.0), before=(3, 2, 5), bbox=((1, 2), (0, 1), (2, 4)))
    logits = np.array([[0, 0], [1, -1], [-1, 1]], np.float32).reshape(3, 1, 1, 2)
    exported = export_case([(0, logits)], properties, plan, PLAIN, with_probabilities=True)
    # Plan axes (z, y, x) are file axes (2, 0, 1), so plan voxel (1, 0, 2) is file voxel (0, 2, 1).
    expected = np.zeros((2, 5, 3), np.uint8)
    expected[0, 2, 1], expected[0, 3, 1] = 1, 2
    assert exported.segmentation.dtype == np.uint8
    np.testing.assert_array_equal(exported.segmentation, expected)
    weights = np.exp([0, 1, -1])
    np.testing.assert_allclose(exported.probabilities[:, 0, 2, 1], weights / weights.sum(), rtol=1e-6)
    assert exported.probabilities[:, 1, 4, 2].tolist() == [1, 0, 0]


def test_regions_are_painted_in_order():
    properties = case_properties((1, 1, 4), (1, 1, 4), (1.0, 1.0, 1.0))
    logits = np.array([[2, 2, -2, -2], [-2, 2, 2, -2]], np.float32).reshape(2, 1, 1, 4)
    exported = export_case([(0, logits)], properties, dataset_plan((1.0, 1.0, 1.0)), REGIONS)
    assert exported.segmentation.ravel().tolist() == [1, 2, 2, 0]


CASES = {
    "no resampling": ((5, 8, 9), (5, 8, 9), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0, 1, 2)),
    "isotropic up": ((7, 9, 8), (11, 14, 12), (1.5, 1.5, 1.5), (1.0, 1.0, 1.0), (0, 1, 2)),
    "isotropic down": ((14, 12, 15), (7, 8, 9), (1.0, 1.0, 1.0), (2.0, 1.5, 1.7), (0, 1, 2)),
    "separate z by the plan": ((5, 12, 10), (8, 16, 13), (8.0, 1.5, 1.5), (5.0, 1.1, 1.1), (0, 1, 2)),
    "separate z by the file": ((24, 12, 10), (9, 16, 13), (2.0, 1.5, 1.5), (5.0, 1.1, 1.1), (0, 1, 2)),
    "separate rows by the file": ((10, 24, 12), (13, 9, 16), (1.5, 2.0, 1.5), (1.1, 5.0, 1.1), (0, 1, 2)),
    "transposed": ((5, 12, 10), (8, 16, 13), (8.0, 1.5, 1.5), (1.1, 1.1, 5.0), (2, 0, 1)),
    "only z changes": ((5, 12, 10), (8, 12, 10), (8.0, 1.5, 1.5), (5.0, 1.5, 1.5), (0, 1, 2)),
}


@pytest.mark.parametrize("labels", [PLAIN, REGIONS], ids=["plain", "regions"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_equals_nnunets_export(case, labels):
    shape, after, plan_spacing_mm, file_spacing_mm, forward = case
    export = pytest.importorskip("nnunetv2.inference.export_prediction")
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plan = dataset_plan(plan_spacing_mm, forward)
    before = tuple(size + 3 for size in after)
    bbox = tuple((1, 1 + size) for size in after)
    properties = case_properties(shape, after, file_spacing_mm, before, bbox)
    logits = smooth_logits(labels.channels, shape)
    names = {name: list(value) if isinstance(value, tuple) else value for name, value in labels.names.items()}
    manager = PlansManager({
        "label_manager": "LabelManager", "transpose_forward": list(forward),
        "transpose_backward": list(plan.transpose_backward),
        "configurations": {"3d_fullres": {
            "architecture": {}, "spacing": list(plan_spacing_mm),
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        }},
    })
    segmentation, probabilities = export.convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, manager, manager.get_configuration("3d_fullres"),
        manager.get_label_manager({"labels": names, "regions_class_order": labels.regions_class_order}),
        {"spacing": file_spacing_mm, "shape_before_cropping": before,
         "bbox_used_for_cropping": [list(row) for row in bbox],
         "shape_after_cropping_and_before_resampling": after},
        return_probabilities=True, num_threads_torch=1,
    )
    ours = export_case(slabs_of(logits, 3), properties, plan, labels, with_probabilities=True)
    np.testing.assert_array_equal(ours.segmentation, segmentation)
    assert ours.segmentation.dtype == segmentation.dtype
    np.testing.assert_allclose(ours.probabilities, probabilities, atol=1e-5)
    assert len(np.unique(segmentation)) == len(labels.values)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_slab_size_changes_no_byte(case):
    shape, after, plan_spacing_mm, file_spacing_mm, forward = case
    plan, properties = dataset_plan(plan_spacing_mm, forward), case_properties(shape, after, file_spacing_mm)
    logits = smooth_logits(3, shape)
    whole = export_case(slabs_of(logits, shape[0]), properties, plan, PLAIN, with_probabilities=True)
    for size in (1, 2, 3):
        cut = export_case(slabs_of(logits, size), properties, plan, PLAIN, with_probabilities=True)
        assert cut.segmentation.tobytes() == whole.segmentation.tobytes()
        assert cut.probabilities.tobytes() == whole.probabilities.tobytes()


def test_labels_are_the_same_without_probabilities():
    plan, properties = dataset_plan((1.5, 1.5, 1.5)), case_properties((7, 9, 8), (11, 14, 12), (1.0, 1.0, 1.0))
    logits = smooth_logits(3, (7, 9, 8))
    plain, full = (export_case([(0, logits)], properties, plan, PLAIN, with_probabilities=w) for w in (False, True))
    assert plain.probabilities is None
    np.testing.assert_array_equal(plain.segmentation, full.segmentation)


@pytest.mark.parametrize(
    "slabs, message",
    [
        ([(0, np.zeros((3, 1, 4, 4), np.float32))], "end before slice 1"),
        ([(1, np.zeros((3, 2, 4, 4), np.float32))], "came at 1"),
        ([(0, np.zeros((2, 2, 4, 4), np.float32))], "was expected"),
    ],
)
def test_faulty_slabs_are_refused(slabs, message):
    with pytest.raises(ValueError, match=message):
        export_case(slabs, case_properties((2, 4, 4), (2, 4, 4), (1.0, 1.0, 1.0)), dataset_plan((1.0, 1.0, 1.0)), PLAIN)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_name_the_case(value):
    properties = case_properties((2, 4, 4), (2, 4, 4), (1.0, 1.0, 1.0))
    slab = np.zeros((3, 2, 4, 4), np.float32)
    slab[1, 1, 2, 3] = value
    with pytest.raises(UserError) as caught:
        export_case([(0, slab)], properties, dataset_plan((1.0, 1.0, 1.0)), PLAIN)
    assert (caught.value.where, caught.value.found) == (properties.name, "NaN or infinity in slice 1")
