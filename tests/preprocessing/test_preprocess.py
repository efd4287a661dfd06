"""Raw files -> arrays: values by hand, nnU-Net's DefaultPreprocessor, resuming, and bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from samunet.dataset.dataset import RawCase, load_dataset
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import digest_of_array, digest_of_file
from samunet.planning.plans import DatasetPlan, Plans
from samunet.preprocessing.preprocess import case_signature, prepare_case, preprocess_dataset
from samunet.preprocessing.store import ArrayStore

LABELS = LabelSpace({"background": 0, "one": 1, "two": 2})
STATISTICS = {"mean": 40.0, "median": 40.0, "std": 25.0, "min": -900.0, "max": 900.0,
              "percentile_00_5": -80.0, "percentile_99_5": 140.0}
DIRECTION = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def write(path: Path, array: np.ndarray, spacing_mm=(1.0, 1.0, 1.0)) -> Path:
    """Write `array` (Z, Y, X) with spacing (z, y, x) and an origin and direction that are not the default."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(value) for value in spacing_mm[::-1]])
    image.SetOrigin((12.5, -30.25, 7.0))
    image.SetDirection(DIRECTION)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def plan(**changes) -> DatasetPlan:
    values = {
        "reader": "SimpleITKIO", "transpose_forward": (0, 1, 2), "transpose_backward": (0, 1, 2),
        "spacing_mm": (1.0, 1.0, 1.0), "median_shape": (10, 10, 10), "anisotropic": False, "channel_names": ("MR",),
        "normalization": ("nonorm",), "use_mask_for_norm": (False,), "foreground_intensity": ({},),
    }
    return DatasetPlan(**{**values, **changes})


def blob(shape, seed: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Channels of noise on a smooth ramp with a zero border and a zero hole, and labels 0..2 inside it."""
    random = np.random.default_rng([7, seed])
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij"))
    inside = (grid**4).sum(0) < 0.7  # rounded, so that its box has corners outside the mask
    image = 60 + 40 * grid.sum(0) + random.normal(0, 25, (channels, *shape))
    image = np.where(inside, image, 0).astype(np.float32)
    image[:, shape[0] // 2, shape[1] // 2, shape[2] // 2] = 0  # a hole, filled by the mask
    image[0, :, : shape[1] // 4] = 0  # channels have different borders; the mask is their union
    radius = np.sqrt((grid**2).sum(0))
    label = np.where(radius < 0.3, 2, np.where(radius < 0.6, 1, 0)).astype(np.uint8)
    return image, np.where((image != 0).any(0), label, 0).astype(np.uint8)


def raw_case(folder: Path, image: np.ndarray, label: np.ndarray | None, spacing_mm, name: str = "case") -> RawCase:
    images = tuple(write(folder / f"{name}_{index:04d}.nii.gz", channel, spacing_mm) for index, channel in enumerate(image))
    return RawCase(name, images, write(folder / f"{name}.nii.gz", label, spacing_mm) if label is not None else None)


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
    assert made.image.shape == data.shape and made.image.shape[1:] != image.transpose([0, *(a + 1 for a in transpose)]).shape[1:]
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


def raw_dataset(folder: Path, cases: int = 3) -> Path:
    folder = folder / "Dataset001_Made"
    for index in range(cases):
        image, label = blob((6 + index, 10, 9), index)
        write(folder / "imagesTr" / f"case_{index}_0000.nii.gz", image[0], (1.0, 1.0, 1.2))
        write(folder / "labelsTr" / f"case_{index}.nii.gz", label, (1.0, 1.0, 1.2))
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "MR"}, "labels": dict(LABELS.names), "numTraining": cases, "file_ending": ".nii.gz"}))
    return folder


def plans() -> Plans:
    dataset_plan = plan(spacing_mm=(1.0, 1.1, 1.1), normalization=("zscore",))
    return Plans("samunetPlans", "Dataset001_Made", dataset_plan, {})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def test_a_dataset_is_made_once_and_the_same_by_any_number_of_workers(tmp_path, capsys):
    dataset = load_dataset(raw_dataset(tmp_path))
    store = preprocess_dataset(dataset, plans(), tmp_path / "one", 1)
    assert store.names() == ["case_0", "case_1", "case_2"]
    first = stamps(store.folder)
    assert preprocess_dataset(dataset, plans(), tmp_path / "one", 1) == store
    assert stamps(store.folder) == first
    assert "3 of 3 cases were preprocessed already" in capsys.readouterr().err
    preprocess_dataset(dataset, plans(), tmp_path / "two", 2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_a_changed_label_rewrites_that_case_s_segmentation_alone(tmp_path):
    folder = raw_dataset(tmp_path)
    store = preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    before, digest = stamps(store.folder), store.properties("case_1").image_digest
    label = np.zeros((7, 10, 9), np.uint8)
    label[2:5, 4:7, 3:6] = 2
    write(folder / "labelsTr" / "case_1.nii.gz", label, (1.0, 1.0, 1.2))
    preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    after = stamps(store.folder)
    assert {name for name in after if after[name] != before[name]} == {"case_1.json", "case_1_seg.b2nd"}
    assert store.properties("case_1").image_digest == digest
    assert 2 in store.segmentation("case_1") and 1 not in store.segmentation("case_1")


def test_a_changed_plan_or_image_makes_the_arrays_anew(tmp_path):
    folder = raw_dataset(tmp_path)
    store = preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    old = store.image("case_0")
    changed = dataclasses.replace(plans(), dataset=plan(normalization=("nonorm",)))
    preprocess_dataset(load_dataset(folder), changed, tmp_path / "arrays", 1)
    assert store.image("case_0").shape != old.shape
    image, _ = blob((6, 10, 9), 9)
    write(folder / "imagesTr" / "case_0_0000.nii.gz", image[0], (1.0, 1.0, 1.2))
    before = store.properties("case_0").image_digest
    preprocess_dataset(load_dataset(folder), changed, tmp_path / "arrays", 1)
    assert store.properties("case_0").image_digest != before


def test_reasons_in_the_plan_make_nothing_anew(tmp_path):
    dataset = load_dataset(raw_dataset(tmp_path, 1))
    store = preprocess_dataset(dataset, plans(), tmp_path / "arrays", 1)
    first = stamps(store.folder)
    worded = dataclasses.replace(plans(), dataset=dataclasses.replace(plans().dataset, reasons={"spacing_mm": "told"}))
    preprocess_dataset(dataset, worded, tmp_path / "arrays", 1)
    assert stamps(store.folder) == first


def test_arrays_of_a_case_that_is_gone_are_removed(tmp_path):
    folder = raw_dataset(tmp_path)
    store = preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    for path in (folder / "imagesTr" / "case_2_0000.nii.gz", folder / "labelsTr" / "case_2.nii.gz"):
        path.unlink()
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**content, "numTraining": 2}))
    preprocess_dataset(load_dataset(folder), plans(), tmp_path / "arrays", 1)
    assert sorted(contents(store.folder)) == [f"case_{i}{end}" for i in (0, 1) for end in (".b2nd", ".json", "_seg.b2nd")]


KILLABLE = """
import sys, importlib.util
from pathlib import Path
spec = importlib.util.spec_from_file_location("made", sys.argv[1]); made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
made.preprocess_dataset(made.load_dataset(Path(sys.argv[2])), made.plans(), Path(sys.argv[3]), 1)
"""


@pytest.mark.parametrize("files", [1, 4])
def test_killed_and_started_again_it_ends_with_the_same_bytes(tmp_path, files):
    folder, arrays = raw_dataset(tmp_path), tmp_path / "arrays"
    arguments = [sys.executable, "-c", KILLABLE, __file__, str(folder), str(arrays)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2], env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (arrays.is_dir() and len(list(arrays.iterdir())) >= files):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for name in ArrayStore(arrays).names():
        case = ArrayStore(arrays).load(name)
        assert digest_of_array(case.image) == case.properties.image_digest
        assert digest_of_array(case.segmentation) == case.properties.segmentation_digest
    preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    preprocess_dataset(load_dataset(folder), plans(), tmp_path / "undisturbed", 1)
    assert contents(arrays) == contents(tmp_path / "undisturbed")


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


def test_rgb_values_out_of_range_name_the_file(tmp_path):
    case = raw_case(tmp_path, np.full((1, 2, 3, 3), 300, np.float32), None, (1, 1, 1))
    with pytest.raises(UserError, match="0 to 255") as caught:
        prepare_case(case, "SimpleITKIO", plan(normalization=("rgb_to_0_1",)), LABELS)
    assert "case_0000.nii.gz" in caught.value.where


def test_names_that_clash_in_the_store_are_a_user_error(tmp_path):
    folder = raw_dataset(tmp_path, 1)
    dataset = load_dataset(folder)
    twin = dataclasses.replace(dataset.cases[0], name="case_0_seg")
    with pytest.raises(UserError, match="_seg"):
        preprocess_dataset(dataclasses.replace(dataset, cases=(*dataset.cases, twin)), plans(), tmp_path / "arrays", 1)
    assert not (tmp_path / "arrays").exists()


def test_names_of_augmented_views_are_a_user_error(tmp_path):
    dataset = load_dataset(raw_dataset(tmp_path, 1))
    cases = [dataclasses.replace(dataset.cases[0], name=name) for name in ("a__view1", "b__view", "c__view²", "d__view3_seg")]
    with pytest.raises(UserError, match="__view") as caught:
        preprocess_dataset(dataclasses.replace(dataset, cases=(*dataset.cases, *cases)), plans(), tmp_path / "arrays", 1)
    assert caught.value.found == "a__view1" and "Rename" in caught.value.mend
    assert not (tmp_path / "arrays").exists()


def test_a_spacing_file_beside_a_3d_tiff_makes_that_case_anew(tmp_path):
    folder = tmp_path / "Dataset001_Tiff"
    for part, ending in (("imagesTr", "_0000.tif"), ("labelsTr", ".tif")):
        (folder / part).mkdir(parents=True)
        for name in "ab":
            tifffile.imwrite(folder / part / f"{name}{ending}", np.ones((5, 8, 9), np.uint8))
            (folder / part / f"{name}.json").write_text(json.dumps({"spacing": [1, 1, 1]}))
    content = {"channel_names": {"0": "MR"}, "labels": dict(LABELS.names), "numTraining": 2, "file_ending": ".tif"}
    (folder / "dataset.json").write_text(json.dumps(content))
    tiff = dataclasses.replace(plans(), dataset=plan(reader="Tiff3DIO"))
    store = preprocess_dataset(load_dataset(folder), tiff, tmp_path / "arrays", 1)
    assert store.image("a").shape == (1, 5, 8, 9)
    before = stamps(store.folder)
    for part in ("imagesTr", "labelsTr"):
        (folder / part / "a.json").write_text(json.dumps({"spacing": [2, 1, 1]}))
    preprocess_dataset(load_dataset(folder), tiff, tmp_path / "arrays", 1)
    assert store.image("a").shape == store.segmentation("a").shape == (1, 10, 8, 9)
    assert {name for name, stamp in stamps(store.folder).items() if stamp != before[name]} == {"a.json", "a.b2nd", "a_seg.b2nd"}
    (folder / "labelsTr" / "a.json").unlink()
    with pytest.raises(UserError, match="its image's spacing"):
        preprocess_dataset(load_dataset(folder), tiff, tmp_path / "arrays", 1)


def test_the_signature_is_of_plan_and_files_alone(tmp_path):
    """Its keys are spelled out, because another signature would make all arrays anew that users have."""
    image, label = blob((6, 8, 8), 0)
    case = raw_case(tmp_path, image, label, (1, 1, 1))
    (tmp_path / "case.json").write_text("of no meaning beside NIfTI")
    signature = case_signature(case, plan())
    assert signature.pop("plan") == "78f147cf0f5f21f86cabcaebd9a20ee4826a0f18d67d88049cc63ba1ed3d9cdb"
    assert signature == {"version": 2, "images": [digest_of_file(case.images[0])], "label": digest_of_file(case.label)}


def picture(path: Path, array: np.ndarray, pixel_mm: float) -> None:
    """Write `array` (Y, X) as a 2D NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((pixel_mm, pixel_mm))
    sitk.WriteImage(image, str(path))


def test_a_2d_file_stays_one_slice_and_arrays_of_before_are_made_anew(tmp_path):
    """60 x 40 pixels of 2 mm on a grid of 1.25 mm, whose slice spacing is that of pixels of 0.65 mm."""
    folder = tmp_path / "Dataset001_Pictures"
    picture(folder / "imagesTr" / "a_0000.nii.gz", np.ones((60, 40), np.float32), 2.0)
    picture(folder / "labelsTr" / "a.nii.gz", np.ones((60, 40), np.uint8), 2.0)
    content = {"channel_names": {"0": "MR"}, "labels": dict(LABELS.names), "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))
    flat = dataclasses.replace(plans(), dataset=plan(spacing_mm=(999 * 0.65, 1.25, 1.25)))
    store = preprocess_dataset(load_dataset(folder), flat, tmp_path / "arrays", 1)
    assert store.image("a").shape == store.segmentation("a").shape == (1, 1, 96, 64)
    case = store.load("a")
    # As version 1 left it: a stack of the slice's copies.
    image, segmentation = case.image.repeat(3, 1), case.segmentation.repeat(3, 1)
    properties = dataclasses.replace(case.properties, shape=(3, 96, 64), image_digest=digest_of_array(image),
                                     segmentation_digest=digest_of_array(segmentation), signature=case.properties.signature | {"version": 1})
    store.write(dataclasses.replace(case, image=image, segmentation=segmentation, properties=properties))
    preprocess_dataset(load_dataset(folder), flat, tmp_path / "arrays", 1)
    assert store.image("a").shape == (1, 1, 96, 64) and store.properties("a") == case.properties
