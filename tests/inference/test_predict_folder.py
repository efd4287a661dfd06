"""A folder of synthetic images predicted by a label prior of known output, through the command where that matters."""

from __future__ import annotations

import json
import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_files import slices, write_series
from highdicom.seg import segread
from safetensors.torch import save_file

from samunet.cli.predict import main
from samunet.dataset.grids import affine_mm, same_grid
from samunet.dataset.io.sitk_io import read_file
from samunet.errors import BadCases, UserError
from samunet.inference import predict_folder as predict_folder_module
from samunet.inference.model_folder import load_model
from samunet.inference.predict_folder import PredictionSettings, predict_folder, predict_to_file
from samunet.locks import owned
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans

SHAPE = (5, 6, 8)
DIRECTION = (math.cos(0.2), -math.sin(0.2), 0.0, math.sin(0.2), math.cos(0.2), 0.0, 0.0, 0.0, 1.0)
# Plan axes are the file's (y, z, x); the prior knows nothing but that label 1 is the upper half of the plan's first
# axis.
PLAN = DatasetPlan("SimpleITKIO", (1, 0, 2), (1, 0, 2), (1.5, 2.0, 1.0), (6, 5, 8), False, ("MRI",), ("zscore",),
                   (False,),
                   ({},))
NAMES = ("one", "three", "two")


@pytest.fixture
def place(tmp_path):
    """`model`, a fold of label_prior, and `in`, three images of which voxel 0 is outside the non-zero box."""
    model = tmp_path / "model"
    (model / "fold_0").mkdir(parents=True)
    section = EncoderPlan("untrained", 64, (8, 8), 0.5, "repeat", 2, "float16", 0, 1)
    Plans("samunetPlans", "Dataset900_Phantom", PLAN, {"untrained": section}).save(model / "plans.json")
    (model / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}, "numTraining": 2,
        "file_ending": ".nii.gz"}))
    (model / "fold_0" / "run.json").write_text(json.dumps({
        "variant": "label_prior", "fold": "0", "finished": "2024-01-01T00:00:00+00:00", "trained_by": "samunet_train",
        "encoder": {"id": "untrained", "name": "untrained", "digest": None}}))
    prior = torch.full((2, 6, 5, 8), 0.2)
    prior[0, :3], prior[1, 3:] = 0.8, 0.8
    save_file({"prior": prior}, model / "fold_0" / "checkpoint_final.safetensors")
    for seed, name in enumerate(NAMES):
        write_image(tmp_path / "in" / f"{name}_0000.nii.gz", seed)
    return tmp_path


def write_image(path, seed):
    path.parent.mkdir(exist_ok=True)
    array = np.random.default_rng([seed]).uniform(1, 2, SHAPE).astype(np.float32)
    padded = np.pad(array, ((2, 0), (1, 0), (0, 3)))
    image = sitk.GetImageFromArray(padded)
    image.SetSpacing((1.0, 1.5, 2.0))
    image.SetOrigin((-3.0, 7.5, 100.0))
    image.SetDirection(DIRECTION)
    sitk.WriteImage(image, str(path))


def expected():
    """Upper half of the rows of the non-zero box, (Z, Y, X) of the file."""
    labels = np.zeros((7, 7, 11), np.uint8)
    labels[2:, 1 + 3 :, :8] = 1
    return labels


def predict(place, *arguments):
    return main(["-i", str(place / "in"), "-o", str(place / "out"), "-m", str(place / "model"), *arguments])


def test_segmentations_lie_on_the_images_grid(place):
    assert predict(place) == 0
    for name in NAMES:
        image = sitk.ReadImage(str(place / "out" / f"{name}.nii.gz"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected())
        assert image.GetPixelID() == sitk.sitkUInt8
        reference = sitk.ReadImage(str(place / "in" / f"{name}_0000.nii.gz"))
        assert image.GetSpacing() == reference.GetSpacing()
        assert image.GetOrigin() == reference.GetOrigin()
        assert image.GetDirection() == reference.GetDirection()
    assert {path.name for path in (place / "out").iterdir()} == {
        *(f"{name}.nii.gz" for name in NAMES), "dataset.json", "plans.json", "predict_from_raw_data_args.json",
        "label_colours.json", "label_colours.label"}


def test_probabilities(place):
    assert predict(place, "--save_probabilities") == 0
    probabilities = np.load(place / "out" / "one.npz")["probabilities"]
    assert probabilities.shape == (2, 7, 7, 11) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities[1, 2, 1], [0.2] * 8 + [0] * 3, atol=1e-6)
    np.testing.assert_allclose(probabilities[1, 2, 6], [0.8] * 8 + [0] * 3, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-6)


def test_continuing_skips_whole_cases_and_a_rerun_writes_again(place):
    assert predict(place) == 0
    (place / "out" / "two.nii.gz").unlink()
    marked = place / "out" / "one.nii.gz"
    marked.write_bytes(b"mark")
    assert predict(place, "--continue_prediction") == 0
    assert marked.read_bytes() == b"mark" and (place / "out" / "two.nii.gz").is_file()
    assert predict(place) == 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(marked))), expected())


def test_parts_share_the_cases(place):
    found = []
    for part in ("0", "1"):
        assert predict(place, "-num_parts", "2", "-part_id", part) == 0
        found.append(sorted(path.name for path in (place / "out").glob("*.nii.gz")))
    assert found == [["one.nii.gz", "two.nii.gz"], ["one.nii.gz", "three.nii.gz", "two.nii.gz"]]


def test_an_unreadable_case_is_reported_after_the_others_are_done(place, capsys):
    broken = place / "in" / "one_0000.nii.gz"
    broken.write_bytes(broken.read_bytes()[:60])
    assert predict(place) == 2
    assert "one_0000.nii.gz" in capsys.readouterr().err
    assert sorted(path.name for path in (place / "out").glob("*.nii.gz")) == ["three.nii.gz", "two.nii.gz"]
    assert not list((place / "out").glob(".unfinished-*"))


def test_bad_folders_are_reported_before_any_work(place, capsys):
    (place / "blocker").write_text("in the way")
    assert main(["-i", str(place / "in"), "-o", str(place / "blocker"), "-m", str(place / "model")]) == 2
    assert "writable" in capsys.readouterr().err
    assert main(["-i", str(place / "in"), "-o", str(place / "in"), "-m", str(place / "model")]) == 2
    assert "must not be the input folder" in capsys.readouterr().err
    (place / "in" / "four.nii.gz").write_bytes(b"")
    assert predict(place) == 2
    assert "four.nii.gz" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_a_dicom_series_becomes_nifti_and_dicom_seg_on_its_grid(place):
    for name in NAMES:
        (place / "in" / f"{name}_0000.nii.gz").unlink()
    image = np.pad(np.random.default_rng([0]).integers(100, 200, SHAPE), ((2, 0), (1, 0), (0, 3))).astype(np.int16)
    series = write_series(place / "in" / "scan_0001", slices(image, "sagittal"))
    assert predict(place) == 0
    segmentation, geometry = read_file(place / "out" / "scan_0001.nii.gz")
    np.testing.assert_array_equal(segmentation[0], expected())
    assert same_grid(geometry, read_file(series)[1])
    volume = segread(place / "out" / "scan_0001.dcm").get_volume(combine_segments=True)
    assert volume.array.sum() == expected().sum()
    inside = np.column_stack([np.argwhere(volume.array), np.ones(expected().sum())]).T
    indices = np.linalg.inv(affine_mm(geometry)) @ volume.affine @ inside
    assert expected()[tuple(indices[:3].round().astype(int))].all()


def test_a_series_whose_headers_are_not_enough_for_dicom_seg_is_predicted_and_reported(place, capsys):
    series = slices(np.ones((7, 7, 11), np.int16))
    for slice_ in series:
        del slice_.StudyInstanceUID
    write_series(place / "in" / "bare", series)
    assert predict(place) == 2
    assert "its DICOM SEG copies from them" in capsys.readouterr().err
    assert sorted(path.name for path in (place / "out").iterdir() if path.suffix in (".gz", ".dcm")) == [
        "bare.nii.gz", *(f"{name}.nii.gz" for name in NAMES)]


def test_small_components_are_removed_and_the_setting_is_recorded(place):
    """The predicted block has 5 x 3 x 8 voxels of 3 mm3: 0.36 ml."""
    assert predict(place, "--remove_small_blobs", "0.36") == 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(place / "out" / "one.nii.gz"))), expected())
    assert predict(place, "--remove_small_blobs", "0.37") == 0
    assert not sitk.GetArrayFromImage(sitk.ReadImage(str(place / "out" / "one.nii.gz"))).any()
    assert json.loads((place / "out" / "predict_from_raw_data_args.json").read_text())["remove_small_blobs"] == 0.37


def test_settings_are_checked():
    with pytest.raises(UserError, match="2 problems"):
        PredictionSettings(step=0.0, parts=2, part=2)


def with_spacing(place, name, spacing_mm):
    path = str(place / "in" / f"{name}_0000.nii.gz")
    image = sitk.ReadImage(path)
    image.SetSpacing(spacing_mm)
    sitk.WriteImage(image, path)


def test_every_kind_of_bad_case_is_reported_and_the_others_are_predicted(place, capsys):
    """`two` is sound; a second channel, a link to nothing, spacings in units that cannot be meant, a name that is no
    text.
    """
    for number, name in enumerate(("huge", "tiny", "four", "six")):
        write_image(place / "in" / f"{name}_0000.nii.gz", 7 + number)
    with_spacing(place, "huge", (9000.0, 9000.0, 9000.0))
    with_spacing(place, "tiny", (0.01, 0.01, 0.01))
    (place / "in" / "four_0001.nii.gz").write_bytes((place / "in" / "four_0000.nii.gz").read_bytes())
    (place / "in" / "five_0000.nii.gz").symlink_to("nowhere")
    (place / "in" / "six_0000.nii.gz").rename(place / "in" / os.fsdecode(b"six\xff_0000.nii.gz"))
    (place / "in" / "seven_0000.nii").touch()
    with pytest.raises(BadCases) as caught:
        predict_folder(load_model(place / "model", None, torch.device("cpu")), place / "in", place / "out",
                       PredictionSettings())
    faults = [(problem.rule.partition(";")[0], Path(problem.where).name) for problem in caught.value.problems]
    assert faults == [
        ("A case's name must be UTF-8 text without control characters.", "in"),
        ("Every image or label file must exist", "in"),
        ("A case must not have more channel files than dataset.json names channels.", "in"),
        ("A case must fit into memory.", "huge_0000.nii.gz"),
        ("A case must be larger than half a voxel of the plan.", "tiny_0000.nii.gz"),
    ]
    # The box without zeros is 5 x 6 x 8 voxels (z, y, x); the plan's axes are y, z, x, of 1.5, 2 and 1 mm.
    assert "36000 x 22500 x 72000 voxels (z, y, x)" in caught.value.problems[3].found
    assert "seven_0000.nii (an image, but not .nii.gz)" in capsys.readouterr().err
    assert sorted(path.name for path in (place / "out").glob("*.nii.gz")) == ["one.nii.gz", "three.nii.gz",
                                                                              "two.nii.gz"]


@pytest.mark.parametrize("fault",
                         [MemoryError("Unable to allocate 9 TiB"), torch.OutOfMemoryError("CUDA out of memory")])
def test_a_case_for_which_memory_runs_out_is_a_bad_case(place, monkeypatch, fault):
    def run_out(model, case, *rest):
        if case.name == "three":
            raise fault
        return predict_to_file(model, case, *rest)

    monkeypatch.setattr("samunet.inference.predict_folder.predict_to_file", run_out)
    with pytest.raises(BadCases) as caught:
        predict_folder(load_model(place / "model", None, torch.device("cpu")), place / "in", place / "out",
                       PredictionSettings())
    assert caught.value.where == "case three" and str(fault) in caught.value.found
    assert sorted(path.name for path in (place / "out").glob("*.nii.gz")) == ["one.nii.gz", "two.nii.gz"]


def test_what_was_predicted_beside_a_bad_case_is_not_predicted_again(place, monkeypatch):
    broken = place / "in" / "one_0000.nii.gz"
    sound = broken.read_bytes()
    broken.write_bytes(sound[:60])
    assert predict(place) == 2
    broken.write_bytes(sound)
    made = []
    monkeypatch.setattr("samunet.inference.predict_folder.predict_to_file",
                        lambda model, case, *rest: made.append(case.name) or predict_to_file(model, case, *rest))
    assert predict(place, "--continue_prediction") == 0 and made == ["one"]


def test_an_output_folder_that_is_no_text_is_refused(place):
    with pytest.raises(UserError, match="must be UTF-8"):
        predict_folder(load_model(place / "model", None, torch.device("cpu")), place / "in",
                       place / os.fsdecode(b"out\xff"), PredictionSettings())


def test_two_predictions_of_the_same_cases_into_one_folder_are_refused_and_parts_are_not(place, capsys):
    """Two models' results would be mixed without a word."""
    (place / "out").mkdir()
    with owned(place / "out" / ".predicting-0-of-2.lock", place / "out"):
        assert predict(place) == 2
        assert predict(place, "-num_parts", "3", "-part_id", "2") == 2
        assert predict(place, "-num_parts", "2", "-part_id", "0") == 2
        assert capsys.readouterr().err.count("Only one command at a time") == 3
        assert not list((place / "out").glob("*.nii.gz"))
        assert predict(place, "-num_parts", "2", "-part_id", "1") == 0
        assert [path.name for path in (place / "out").glob("*.nii.gz")] == ["three.nii.gz"]
    assert predict(place) == 0
    assert not list((place / "out").glob(".*"))


def test_the_next_case_is_prepared_while_one_is_predicted(place, monkeypatch):
    """The first case waits for the second's preparation: it would wait for ever if one came after the other."""
    begun = {name: threading.Event() for name in NAMES}
    prepare, predict_one = predict_folder_module.prepare_case, predict_folder_module.predict_to_file

    def prepared(case, reader, dataset_plan, labels):
        begun[case.name].set()
        return prepare(case, reader, dataset_plan, labels)

    def predicted(model, case, *others):
        if case.name == "one":
            assert begun["three"].wait(60) and not begun["two"].is_set()  # one ahead, no more
        predict_one(model, case, *others)

    monkeypatch.setattr(predict_folder_module, "prepare_case", prepared)
    monkeypatch.setattr(predict_folder_module, "predict_to_file", predicted)
    assert predict(place) == 0
    for name in NAMES:
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(place / "out" / f"{name}.nii.gz"))), expected())
