"""One raw case -> arrays: values by hand, nnU-Net's DefaultPreprocessor, and bad input."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from raw_files import LABELS, STATISTICS, blob, plan, raw_case, write

from samunet.dataset.dataset import RawCase
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import digest_of_array
from samunet.preprocessing.preprocess import prepare_case


def test_crop_and_transpose_by_hand(tmp_path):
    image = np.zeros((1, 3, 4, 5), np.float32)
    image[0, 1, 1:3, 2:5] = [[1, 2, 3], [4, 5, 6]]
    label = np.zeros((3, 4, 5), np.uint8)
    label[1, 1, 2], label[1, 2, 4] = 1, 2
    case = raw_case(tmp_path, image, label, (2.0, 1.0, 0.5))
    prepared = prepare_case(
        case, "SimpleITKIO",
        plan(transpose_forward=(2, 0, 1), transpose_backward=(1, 2, 0), spacing_mm=(0.5, 2.0, 1.0)), LABELS,
    )
    # axes are now (x, z, y): the box is x 2..5, z 1..2, y 1..3
    assert prepared.image.tolist() == [[[[1, 4]], [[2, 5]], [[3, 6]]]]
    assert prepared.segmentation.tolist() == [[[[1, 0]], [[0, 0]], [[0, 2]]]]
    properties = prepared.properties
    assert properties.shape_before_cropping == (5, 3, 4)
    assert properties.bbox == ((2, 5), (1, 2), (1, 3))
    assert properties.shape_after_cropping == properties.shape == (3, 1, 2)
    assert properties.intensity_percentiles == ((pytest.approx(1.025), pytest.approx(5.975)),)
    assert properties.geometry.spacing_mm == (2.0, 1.0, 0.5)
    assert prepared.image.dtype == np.float32 and prepared.segmentation.dtype == np.int16
    assert prepared.image.flags.c_contiguous and prepared.segmentation.flags.c_contiguous
    assert properties.image_digest == digest_of_array(prepared.image)


def test_background_outside_the_mask_is_minus_one_and_labels_there_stay(tmp_path):
    image = np.zeros((1, 1, 3, 3), np.float32)
    image[0, 0] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    label = np.array([[[1, 0, 2], [0, 0, 0], [0, 0, 2]]], np.uint8)
    prepared = prepare_case(raw_case(tmp_path, image, label, (1, 1, 1)), "SimpleITKIO", plan(), LABELS)
    assert prepared.segmentation.tolist() == [[[[1, -1, 2], [-1, 0, -1], [-1, -1, 2]]]]


def test_without_resampling_crop_and_transpose_can_be_undone_exactly(tmp_path):
    image, label = blob((9, 14, 11), 0)
    case = raw_case(tmp_path, image, label, (1.5, 1.0, 1.0))
    dataset_plan = plan(transpose_forward=(1, 2, 0), transpose_backward=(2, 0, 1), spacing_mm=(1.0, 1.0, 1.5))
    prepared = prepare_case(case, "SimpleITKIO", dataset_plan, LABELS)
    window = tuple(slice(low, high) for low, high in prepared.properties.bbox)
    restored_label = np.zeros(prepared.properties.shape_before_cropping, np.int16)
    restored_label[window] = np.maximum(prepared.segmentation[0], 0)
    restored_image = np.zeros(prepared.properties.shape_before_cropping, np.float32)
    restored_image[window] = prepared.image[0]
    np.testing.assert_array_equal(restored_label.transpose(dataset_plan.transpose_backward), label)
    np.testing.assert_array_equal(restored_image.transpose(dataset_plan.transpose_backward), image[0])


def test_a_label_outside_the_mask_does_not_change_the_image(tmp_path):
    image, label = blob((8, 12, 10), 1)
    corner = tuple(np.argwhere(image[0] != 0).max(0))  # of the box; outside the rounded mask
    assert image[0][corner] == 0
    stray = label.copy()
    stray[corner] = 1
    masked = plan(normalization=("zscore",), use_mask_for_norm=(True,))
    cases = [raw_case(tmp_path / str(index), image, seg, (1, 1, 1)) for index, seg in enumerate((label, stray, None))]
    made = [prepare_case(case, "SimpleITKIO", masked, LABELS) for case in cases]
    assert made[0].properties.image_digest == made[1].properties.image_digest == made[2].properties.image_digest
    assert made[0].properties.segmentation_digest != made[1].properties.segmentation_digest
    assert made[2].segmentation is None and made[2].properties.segmentation_digest is None


NNUNET_SCHEMES = {"zscore": "ZScoreNormalization", "ct": "CTNormalization", "nonorm": "NoNormalization",
                  "rescale_to_0_1": "RescaleTo01Normalization"}

# shape, spacing, transpose, planned spacing (transposed), schemes, mask
PARITY = {
    "isotropic": ((16, 18, 14), (1.0, 1.1, 1.2), (0, 1, 2), (1.3, 1.3, 1.3), ("zscore",), (False,)),
    "separate_z": ((7, 20, 22), (5.0, 1.0, 0.9), (0, 1, 2), (4.0, 1.25, 1.25), ("zscore",), (True,)),
    "separate_x_transposed": ((20, 18, 7), (0.8, 0.8, 4.0), (2, 0, 1), (4.0, 1.0, 1.0), ("rescale_to_0_1",), (False,)),
    "ct": ((14, 16, 18), (2.0, 1.0, 1.0), (0, 1, 2), (1.5, 1.2, 1.2), ("ct",), (False,)),
    "two_channels": ((12, 16, 14), (1.0, 1.0, 1.0), (1, 0, 2), (0.8, 1.2, 0.9), ("zscore", "ct"), (True, False)),
}


@pytest.mark.parametrize("name", PARITY)
def test_equal_to_nnunet_3d_fullres(tmp_path, name):
    pytest.importorskip("nnunetv2")
    shape, spacing_mm, transpose, target_mm, schemes, masked = PARITY[name]
    image, label = blob(shape, list(PARITY).index(name), len(schemes))
    case = raw_case(tmp_path, image, label, spacing_mm)
    backward = tuple(int(axis) for axis in np.argsort(transpose))
    made = prepare_case(
        case, "SimpleITKIO",
        plan(transpose_forward=transpose, transpose_backward=backward, spacing_mm=target_mm,
             channel_names=("MR",) * len(schemes), normalization=schemes, use_mask_for_norm=masked,
             foreground_intensity=(STATISTICS,) * len(schemes)),
        LABELS,
    )
    data, segmentation, properties = nnunet_arrays(case, transpose, target_mm, schemes, masked)
    assert made.image.shape == data.shape and made.image.shape[1:] != image.transpose([0,
                                                                                       *(a + 1
                                                                                         for a in transpose)]).shape[1:]
    np.testing.assert_allclose(made.image, data, atol=1e-4)
    np.testing.assert_array_equal(made.segmentation, segmentation)
    assert set(np.unique(segmentation)) == {-1, 0, 1, 2}
    assert made.properties.bbox == tuple(tuple(pair) for pair in properties["bbox_used_for_cropping"])
    assert made.properties.shape_before_cropping == tuple(properties["shape_before_cropping"])
    assert made.properties.shape_after_cropping == tuple(properties["shape_after_cropping_and_before_resampling"])


def nnunet_arrays(case: RawCase, transpose, target_mm, schemes, masked):
    """What nnU-Net's own preprocessor makes of the case's files."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    resampling = "resample_data_or_seg_to_shape"
    label_kwargs = {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None}
    image_kwargs = {**label_kwargs, "is_seg": False, "order": 3}
    plans = PlansManager({
        "dataset_name": "Dataset001_Made", "plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose), "transpose_backward": np.argsort(transpose).tolist(),
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(c): STATISTICS for c in range(len(schemes))},
        "configurations": {"3d_fullres": {
            "data_identifier": "made", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2, "architecture": {},
            "patch_size": [8, 8, 8], "spacing": list(target_mm),
            "normalization_schemes": [NNUNET_SCHEMES[scheme] for scheme in schemes], "use_mask_for_norm": list(masked),
            "resampling_fn_data": resampling, "resampling_fn_data_kwargs": image_kwargs,
            "resampling_fn_seg": resampling, "resampling_fn_seg_kwargs": label_kwargs,
            "resampling_fn_probabilities": resampling, "resampling_fn_probabilities_kwargs": image_kwargs,
        }},
    })
    content = {"channel_names": {str(c): "MR" for c in range(len(schemes))}, "labels": dict(LABELS.names),
               "file_ending": ".nii.gz", "numTraining": 1}
    return DefaultPreprocessor(verbose=False).run_case(
        [str(path) for path in case.images], str(case.label), plans, plans.get_configuration("3d_fullres"), content
    )


def test_an_unknown_label_value_is_a_user_error(tmp_path):
    image, label = blob((6, 8, 8), 0)
    label[0, 0, 0] = 7
    with pytest.raises(UserError, match="dataset.json lists") as caught:
        prepare_case(raw_case(tmp_path, image, label, (1, 1, 1)), "SimpleITKIO", plan(), LABELS)
    assert caught.value.found == "7 (1 voxels)" and "case.nii.gz" in caught.value.where


def test_the_ignore_label_is_known(tmp_path):
    image, label = blob((6, 8, 8), 0)
    label[3, 4, 4] = 3
    labels = LabelSpace({**LABELS.names, "ignore": 3})
    prepared = prepare_case(raw_case(tmp_path, image, label, (1, 1, 1)), "SimpleITKIO", plan(), labels)
    assert (prepared.segmentation == 3).sum() == 1


def test_another_number_of_channels_is_a_user_error(tmp_path):
    image, _ = blob((6, 8, 8), 0, channels=2)
    with pytest.raises(UserError, match="must have the channels") as caught:
        prepare_case(raw_case(tmp_path, image, None, (1, 1, 1)), "SimpleITKIO", plan(), LABELS)
    assert "2 channels" in caught.value.found


@pytest.mark.parametrize(("shape", "spacing_mm"), [((6, 8, 7), (1, 1, 1)), ((6, 8, 8), (1, 1, 2))])
def test_a_label_on_another_grid_is_a_user_error(tmp_path, shape, spacing_mm):
    image, _ = blob((6, 8, 8), 0)
    case = raw_case(tmp_path, image, None, (1, 1, 1))
    label = write(tmp_path / "label.nii.gz", np.zeros(shape, np.uint8), spacing_mm)
    with pytest.raises(UserError, match="must have its image's") as caught:
        prepare_case(dataclasses.replace(case, label=label), "SimpleITKIO", plan(), LABELS)
    assert caught.value.where == str(label)


def test_a_label_stored_along_other_axes_gives_the_same_arrays(tmp_path):
    """Slices and columns reversed and then columns stored as slices; the image's own direction is not the default."""
    image, label = blob((6, 8, 10), 0)
    case = raw_case(tmp_path, image, label, (3, 1, 2))
    other = sitk.PermuteAxes(sitk.Flip(sitk.ReadImage(str(case.label)), [True, False, True]), [2, 1, 0])
    sitk.WriteImage(other, str(tmp_path / "other.nii.gz"))
    assert sitk.GetArrayFromImage(other).shape == (10, 8, 6)
    dataset_plan = plan(spacing_mm=(3.0, 1.0, 2.0))
    expected = prepare_case(case, "SimpleITKIO", dataset_plan, LABELS)
    made = prepare_case(dataclasses.replace(case, label=tmp_path / "other.nii.gz"), "SimpleITKIO", dataset_plan, LABELS)
    np.testing.assert_array_equal(made.segmentation, expected.segmentation)
    assert made.properties.segmentation_digest == expected.properties.segmentation_digest


def test_a_rotated_label_is_a_user_error_beside_its_unknown_values(tmp_path):
    image, _ = blob((6, 8, 8), 0)
    case = raw_case(tmp_path, image, None, (1, 1, 1))
    label = sitk.GetImageFromArray(np.full((6, 8, 8), 9, np.uint8))  # with the default origin and direction
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
    with pytest.raises(UserError, match="its image's direction") as caught:
        prepare_case(dataclasses.replace(case, label=tmp_path / "label.nii.gz"), "SimpleITKIO", plan(), LABELS)
    assert "9 (384 voxels)" in str(caught.value) and str(case.images[0]) in str(caught.value)


def test_rgb_values_out_of_range_name_the_file(tmp_path):
    case = raw_case(tmp_path, np.full((1, 2, 3, 3), 300, np.float32), None, (1, 1, 1))
    with pytest.raises(UserError, match="0 to 255") as caught:
        prepare_case(case, "SimpleITKIO", plan(normalization=("rgb_to_0_1",)), LABELS)
    assert "case_0000.nii.gz" in caught.value.where


def test_a_spacing_in_wrong_units_is_refused_before_anything_is_allocated(tmp_path, monkeypatch):
    """2 x 3 x 4 voxels of 1 m on a grid of 1 mm are 2000 x 3000 x 4000: 24e9 of 12 bytes, 268.2 GiB."""
    monkeypatch.setattr("samunet.dataset.memory.free_bytes", lambda: 2**30)
    case = raw_case(tmp_path, np.ones((1, 2, 3, 4), np.float32), None, (1000.0, 1000.0, 1000.0))
    with pytest.raises(UserError, match="must fit into memory") as caught:
        prepare_case(case, "SimpleITKIO", plan(), LABELS)
    assert caught.value.where == str(case.images[0])
    assert caught.value.found == ("2000 x 3000 x 4000 voxels (z, y, x), 268.2 GiB, for 1.0 GiB of free memory; voxels "
                                  "of "
                                  "1000 x 1000 x 1000 mm in the file become voxels of 1 x 1 x 1 mm of the plan")


def test_a_case_that_shrinks_to_less_than_half_a_voxel_is_refused(tmp_path):
    sound = raw_case(tmp_path, np.ones((1, 1, 50, 60), np.float32), None, (0.01, 0.01, 0.01), "sound")
    # 60 x 0.01 mm are 0.6 of a voxel
    assert prepare_case(sound, "SimpleITKIO", plan(), LABELS).properties.shape == (1, 1, 1)
    case = raw_case(tmp_path, np.ones((1, 9, 49, 40), np.float32), None, (0.01, 0.01, 0.01), "tiny")
    with pytest.raises(UserError, match="larger than half a voxel") as caught:
        prepare_case(case, "SimpleITKIO", plan(), LABELS)
    assert caught.value.where == str(case.images[0]) and caught.value.found.startswith("9 x 49 x 40 voxels")
