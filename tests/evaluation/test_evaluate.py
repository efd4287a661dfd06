"""evaluate_folder: by hand on one small case, against nnU-Net 2.8.1 on many, and bad input."""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing.dummy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from skimage import io

from samunet.cli.evaluate_folder import main
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.evaluation.evaluate import evaluate_folder
from samunet.locks import owned

PLAIN = {"background": 0, "a": 1, "b": 2, "stray": 3, "never": 4}
IGNORE = {**PLAIN, "ignore": 5}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "stray": 3, "never": [4]}
REGIONS_IGNORE = {**REGIONS, "ignore": 5}


def space(labels: dict, order: list[int] | None = None) -> LabelSpace:
    return LabelSpace.from_dataset_json({"labels": labels, "regions_class_order": order})


def write(path: Path, array: np.ndarray, spacing_xyz: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.SetSpacing(spacing_xyz[: array.ndim])
    sitk.WriteImage(image, str(path))


def folders(root: Path, ignore: int | None = None, cases: int = 4) -> tuple[Path, Path]:
    """Random label blocks: case 0 all background, case 1 with an empty prediction; label 3 is only ever predicted."""
    shape = (3, 8, 6)
    for number in range(cases):
        random = np.random.default_rng([number])
        reference, prediction = (np.kron(random.integers(0, 4, (3, 4, 3)), np.ones((1, 2, 2))) for _ in range(2))
        reference[reference == 3] = 1
        if number == 0:
            reference, prediction = np.zeros(shape), np.zeros(shape)
        if number == 1:
            prediction = np.zeros(shape)
        if ignore is not None:
            reference[random.random(shape) > 0.8] = ignore
        write(root / "reference" / f"case_{number}.nii.gz", reference)
        write(root / "prediction" / f"case_{number}.nii.gz", prediction)
    return root / "reference", root / "prediction"


def strict(path: Path) -> dict:
    def refuse(constant: str):
        raise AssertionError(f"{path.name} holds a bare {constant}")

    return json.loads(path.read_text(), parse_constant=refuse)


def assert_equal(ours, theirs, where: str = "") -> None:
    assert type(ours) is type(theirs), where
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key in theirs:
            assert_equal(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(one, other, f"{where}/{number}")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=1e-6, nan_ok=True), where
    else:
        assert ours == theirs, where


def test_one_case_by_hand(tmp_path):
    # Two single voxels, one slice of 5 mm apart; voxels are 5 x 2 x 1 mm = 0.01 ml.
    reference, prediction = np.zeros((4, 4, 4)), np.zeros((4, 4, 4))
    reference[1, 1, 1:3] = 1
    prediction[2, 1, 1] = 1
    prediction[0, 0, 0] = 2
    write(tmp_path / "gt" / "x.nii.gz", reference)
    write(tmp_path / "pred" / "x.nii.gz", prediction)
    summary = evaluate_folder(tmp_path / "gt", tmp_path / "pred", space({"background": 0, "a": 1, "b": 2, "c": 3}),
                              ".nii.gz", "SimpleITKIO", None, 1)
    row = summary["metric_per_case"][0]
    assert row["metrics"]["1"] == {"Dice": 0, "IoU": 0, "FP": 1, "TP": 0, "FN": 2, "TN": 61, "n_pred": 1, "n_ref": 2}
    assert row["metrics"]["2"]["Dice"] == 0 and row["metrics"]["2"]["FP"] == 1
    assert math.isnan(row["metrics"]["3"]["Dice"]) and math.isnan(summary["foreground_mean"]["Dice"])

    metrics = strict(tmp_path / "pred" / "metrics.json")
    one, two, three = (metrics["metric_per_case"][0]["metrics"][key] for key in "123")
    # From the reference's two voxels 5 and sqrt(26) mm, from the prediction's one 5 mm.
    assert one["ASSD_mm"] == pytest.approx((10 + math.sqrt(26)) / 3)
    # Surface elements lie at the corners. Those between the two slices touch the other surface or, at the reference's
    # end, are 1 mm from it; those beyond are 5 mm away, at that end sqrt(26). Both halves are equally large.
    assert one["HD95_mm"] == pytest.approx(math.sqrt(26))
    assert one["NSD"] == pytest.approx(0.5)
    assert one["volume_error_ml"] == pytest.approx(-0.01) and one["absolute_volume_error_ml"] == pytest.approx(0.01)
    assert one["relative_volume_error"] == -0.5 and one["absolute_relative_volume_error"] == 0.5
    assert two["HD95_mm"] == two["ASSD_mm"] == two["relative_volume_error"] == "Infinity" and two["NSD"] == 0
    assert two["volume_error_ml"] == pytest.approx(0.01)
    assert set(three.values()) == {None}
    assert metrics["tolerance_mm"] == 1.0
    assert metrics["mean"]["1"]["ASSD_mm"] == one["ASSD_mm"] and metrics["mean"]["2"]["ASSD_mm"] is None
    assert metrics["infinite"]["2"]["ASSD_mm"] == 1 and metrics["undefined"]["2"]["ASSD_mm"] == 0
    assert metrics["undefined"]["3"]["NSD"] == 1
    assert metrics["foreground_mean"]["ASSD_mm"] == one["ASSD_mm"]
    assert metrics["foreground_mean"]["NSD"] == pytest.approx(one["NSD"] / 2)


LABEL_KINDS = {
    "plain": ({"background": 0, "a": 1, "b": 2}, None),
    "regions": ({"background": 0, "both": [1, 2], "b": 2}, [1, 2]),
    "region_with_0": ({"background": 0, "rest": [0, 1], "b": [2]}, [1, 2]),
    "only_regions_with_0": ({"background": 0, "rest": [0, 1], "other": [0, 2]}, [1, 2]),
}


@pytest.mark.parametrize("ignored", [False, True], ids=["", "ignore"])
@pytest.mark.parametrize("kind", LABEL_KINDS)
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_summary_equals_nnunet_for_regions_ignore_and_empty_classes(tmp_path, monkeypatch, kind, ignored):
    """Labels 1 and 2, each absent from reference, prediction, both or neither; one case that is ignored altogether."""
    pytest.importorskip("nnunetv2")
    labels, order = LABEL_KINDS[kind]
    labels = {**labels, "ignore": 3} if ignored else labels
    random = np.random.default_rng(5)
    for number, absent in enumerate(itertools.product((False, True), repeat=4)):
        for folder, kept in (("reference", absent[:2]), ("prediction", absent[2:])):
            array = random.integers(0, 3, (2, 5, 4))
            array[np.isin(array, [value for value, gone in zip((1, 2), kept, strict=True) if gone])] = 0
            if ignored and folder == "reference":
                array[random.random(array.shape) > 0.7] = 3
            write(tmp_path / folder / f"case_{number:02d}.nii.gz", array)
    for folder in ("reference", "prediction"):
        value = 3 if ignored and folder == "reference" else 0
        write(tmp_path / folder / "case_all.nii.gz", np.full((2, 5, 4), value))
    theirs = nnunet_summary(tmp_path, monkeypatch, labels, order)
    ours = evaluate_folder(tmp_path / "reference", tmp_path / "prediction", space(labels, order), ".nii.gz",
                           "SimpleITKIO",
                           tmp_path / "ours.json", 1)
    assert_equal(json.loads((tmp_path / "ours.json").read_text()), theirs)
    counted = ours["metric_per_case"][-1]["metrics"]
    assert {sum(row[key] for key in ("TP", "FP", "FN", "TN")) for row in counted.values()} == {0 if ignored else 40}


def nnunet_summary(folder: Path, monkeypatch, labels: dict, order: list[int] | None) -> dict:
    """What nnU-Net writes of `folder`/reference and `folder`/prediction."""
    from nnunetv2.evaluation import evaluate_predictions as evaluation
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    manager = LabelManager(labels, order)
    wanted = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    # Threads in place of its processes, which take seconds to start.
    monkeypatch.setattr(evaluation, "multiprocessing", SimpleNamespace(get_context=lambda _: multiprocessing.dummy))
    evaluation.compute_metrics_on_folder(str(folder / "reference"), str(folder / "prediction"),
                                         str(folder / "nnunet.json"),
                                         SimpleITKIO(), ".nii.gz", wanted, manager.ignore_label, num_processes=1)
    return json.loads((folder / "nnunet.json").read_text())


def test_an_ignored_voxel_is_in_no_region_with_background(tmp_path):
    """Two voxels of background, one of label 1, one ignored: the region of 0 and 1 has three."""
    write(tmp_path / "gt" / "x.nii.gz", np.array([[[0, 0, 1, 2]]]))
    write(tmp_path / "pred" / "x.nii.gz", np.array([[[0, 1, 1, 0]]]))
    labels = space({"background": 0, "rest": [0, 1], "ignore": 2}, [1])
    summary = evaluate_folder(tmp_path / "gt", tmp_path / "pred", labels, ".nii.gz", "SimpleITKIO", None, 1)
    metrics = summary["metric_per_case"][0]["metrics"]["(0, 1)"]
    assert [metrics[key] for key in ("TP", "FP", "FN", "TN", "n_pred", "n_ref", "Dice")] == [3, 0, 0, 0, 3, 3, 1]


@pytest.mark.parametrize(
    "labels, order",
    [(PLAIN, None), (IGNORE, None), (REGIONS, [1, 2, 3, 4]), (REGIONS_IGNORE, [1, 2, 3, 4])],
    ids=["plain", "ignore", "regions", "regions_ignore"],
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_summary_equals_nnunet(tmp_path, monkeypatch, labels, order):
    pytest.importorskip("nnunetv2")
    reference, prediction = folders(tmp_path, labels.get("ignore"))
    nnunet_summary(tmp_path, monkeypatch, labels, order)
    theirs = (tmp_path / "nnunet.json").read_text()

    evaluate_folder(reference, prediction, space(labels, order), ".nii.gz", "SimpleITKIO", tmp_path / "ours.json", 1)
    ours = (tmp_path / "ours.json").read_text()
    assert_equal(json.loads(ours), json.loads(theirs))
    assert ours.count("NaN") == theirs.count("NaN") > 0
    means = json.loads(theirs)["mean"]
    assert means["3"]["Dice"] == 0 and math.isnan(means["(4,)" if order else "4"]["Dice"])  # the edges are in the data
    assert list(strict(tmp_path / "ours_metrics.json")["mean"]) == [str(key) for key in space(labels, order).foreground]


def test_ignored_voxels_count_nowhere(tmp_path):
    reference, prediction = np.zeros((2, 6, 6)), np.zeros((2, 6, 6))
    reference[:, :3, :3] = prediction[:, :3, :3] = 1
    reference[:, :, 4:] = 2
    prediction[:, :, 4:] = 1  # wrong only in ignored voxels
    write(tmp_path / "gt" / "x.nii.gz", reference)
    write(tmp_path / "pred" / "x.nii.gz", prediction)
    summary = evaluate_folder(tmp_path / "gt", tmp_path / "pred", space({"background": 0, "a": 1, "ignore": 2}),
                              ".nii.gz", "SimpleITKIO", None, 1)
    assert summary["foreground_mean"]["Dice"] == 1 and summary["foreground_mean"]["TN"] == 48 - 18
    metrics = strict(tmp_path / "pred" / "metrics.json")["foreground_mean"]
    assert (metrics["HD95_mm"], metrics["ASSD_mm"], metrics["NSD"], metrics["volume_error_ml"]) == (0, 0, 1, 0)


def test_2d_files_are_measured_in_the_plane(tmp_path):
    reference, prediction = np.zeros((9, 9)), np.zeros((9, 9))
    reference[1, 1] = prediction[4, 5] = 1
    write(tmp_path / "gt" / "x.png", reference)
    write(tmp_path / "pred" / "x.png", prediction)
    evaluate_folder(tmp_path / "gt", tmp_path / "pred", space({"background": 0, "a": 1}), ".png", "NaturalImage2DIO",
                    None, 1)
    metrics = strict(tmp_path / "pred" / "metrics.json")["mean"]["1"]
    assert (metrics["HD95_mm"], metrics["ASSD_mm"]) == (5, 5)
    assert metrics["volume_error_ml"] is None and metrics["relative_volume_error"] == 0


def test_2d_nifti_files_of_half_a_millimetre_have_no_volume(tmp_path):
    reference, prediction = np.zeros((9, 9)), np.zeros((9, 9))
    reference[1, 1] = prediction[4, 5] = 1
    for folder, array in (("gt", reference), ("pred", prediction)):
        write(tmp_path / folder / "x.nii.gz", array, (0.5, 0.5))
    evaluate_folder(tmp_path / "gt", tmp_path / "pred", space({"background": 0, "a": 1}), ".nii.gz", "SimpleITKIO",
                    None, 1)
    metrics = strict(tmp_path / "pred" / "metrics.json")["mean"]["1"]
    assert (metrics["HD95_mm"], metrics["ASSD_mm"]) == (2.5, 2.5)
    assert metrics["volume_error_ml"] is None and metrics["relative_volume_error"] == 0


def test_workers_give_the_same_files_and_only_named_cases_count(tmp_path):
    reference, prediction = folders(tmp_path)
    arguments = (reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO")
    names = ["case_3", "case_1", "case_2"]
    evaluate_folder(*arguments, tmp_path / "one.json", 1, names=names, shown_prediction_folder=Path("/final/place"))
    evaluate_folder(*arguments, tmp_path / "two.json", 2, names=names, shown_prediction_folder=Path("/final/place"))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert (tmp_path / "one_metrics.json").read_bytes() == (tmp_path / "two_metrics.json").read_bytes()
    rows = json.loads((tmp_path / "one.json").read_text())["metric_per_case"]
    assert [row["prediction_file"] for row in rows] == [f"/final/place/case_{n}.nii.gz" for n in (1, 2, 3)]
    assert rows[0]["reference_file"] == str(reference / "case_1.nii.gz")


def test_missing_predictions_are_all_named_and_nothing_is_written(tmp_path):
    reference, prediction = folders(tmp_path)
    (prediction / "case_1.nii.gz").unlink()
    (prediction / "case_3.nii.gz").unlink()
    with pytest.raises(UserError, match=r"2 of 4 are missing: case_1\.nii\.gz, case_3\.nii\.gz"):
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", tmp_path / "new" / "s.json", 1)
    assert not (tmp_path / "new").exists()


def test_extra_predictions_are_passed_over_with_a_word(tmp_path, capsys):
    reference, prediction = folders(tmp_path)
    write(prediction / "stranger.nii.gz", np.zeros((2, 2, 2)))
    summary = evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, 1)
    assert len(summary["metric_per_case"]) == 4
    assert "stranger.nii.gz" in capsys.readouterr().err


def test_shapes_that_differ_are_reported_together(tmp_path):
    reference, prediction = folders(tmp_path)
    for number in (1, 2):
        write(prediction / f"case_{number}.nii.gz", np.zeros((3, 6, 8)))
    with pytest.raises(UserError, match="must have its reference's shape") as fault:
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, 1)
    assert "2 problems" in str(fault.value) and "(3, 6, 8)" in str(fault.value) and "(3, 8, 6)" in str(fault.value)
    assert not list(prediction.glob("*.json"))


def turned(path: Path, axes: list[bool], out: Path) -> None:
    """Store `path` with flipped axes (x, y, z), its header with it."""
    out.parent.mkdir(exist_ok=True, parents=True)
    sitk.WriteImage(sitk.Flip(sitk.ReadImage(str(path)), axes), str(out))


def test_a_prediction_along_other_axes_is_turned_onto_its_reference(tmp_path, capsys):
    reference, prediction = folders(tmp_path)
    for path in prediction.iterdir():
        turned(path, [True, False, True], tmp_path / "turned" / path.name)
    labels = space(PLAIN)
    straight = evaluate_folder(reference, prediction, labels, ".nii.gz", "SimpleITKIO", None, 1)
    summary = evaluate_folder(reference, tmp_path / "turned", labels, ".nii.gz", "SimpleITKIO", None, 1)
    assert_equal(summary["mean"], straight["mean"])
    assert strict(tmp_path / "turned" / "metrics.json")["mean"] == strict(prediction / "metrics.json")["mean"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "permuted or flipped" in line]
    assert len(lines) == 4 and str(tmp_path / "turned"
                                   / "case_0.nii.gz") in lines[0] and str(reference / "case_0.nii.gz") in lines[0]


def test_a_prediction_on_a_grid_that_no_turn_explains_is_refused(tmp_path):
    """Twice the spacing: the 8 rows of 2 mm end 7.5 of them behind the first one's middle, at 15 mm, and at 30 mm in
    the prediction.
    """
    reference, prediction = folders(tmp_path)
    write(prediction / "case_1.nii.gz", np.zeros((3, 8, 6)), (1.0, 4.0, 5.0))
    with pytest.raises(UserError, match="its reference's spacing") as fault:
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, 1)
    assert fault.value.where == str(prediction / "case_1.nii.gz") and str(reference
                                                                          / "case_1.nii.gz") in fault.value.found
    assert fault.value.found.endswith("corners are up to 15 mm (7.5 voxels) apart")
    assert not list(prediction.glob("*.json"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shifted_prediction_is_warned_of_once_for_each_file(tmp_path, capfd, workers):
    reference, prediction = folders(tmp_path)
    for number in (1, 3):
        path = prediction / f"case_{number}.nii.gz"
        image = sitk.ReadImage(str(path))
        image.SetOrigin((0.5, 0.0, 0.0))
        sitk.WriteImage(image, str(path))
    for _ in range(2):
        summary = evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, workers)
    assert len(summary["metric_per_case"]) == 4
    warnings = sorted(line for line in capfd.readouterr().err.splitlines() if "origin or direction" in line)
    assert len(warnings) == 2 and all("0.5 mm (0.5 voxels)" in line for line in warnings)
    assert str(prediction / "case_1.nii.gz") in warnings[0] and str(prediction / "case_3.nii.gz") in warnings[1]


def test_values_that_dataset_json_does_not_list_are_refused_together(tmp_path):
    """A mask of 0 and 255 as reference in one case, as prediction in another."""
    reference, prediction = folders(tmp_path)
    mask = np.zeros((3, 8, 6))
    mask[0, 0, :5] = 255
    write(reference / "case_1.nii.gz", mask)
    write(prediction / "case_2.nii.gz", mask)
    with pytest.raises(UserError) as fault:
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, 1)
    text = str(fault.value)
    assert (text.startswith("2 problems") and text.count("255 (5 voxels)") == 2
            and "a mask of 0 and 255 to 0 and 1" in text)
    assert f"where: {reference / 'case_1.nii.gz'}" in text and f"where: {prediction / 'case_2.nii.gz'}" in text
    assert not list(prediction.glob("*.json"))


def test_the_ignore_label_may_be_in_references_and_predictions(tmp_path):
    reference, prediction = folders(tmp_path, ignore=5)
    write(prediction / "case_1.nii.gz", np.full((3, 8, 6), 5))
    summary = evaluate_folder(reference, prediction, space(IGNORE), ".nii.gz", "SimpleITKIO", None, 1)
    assert summary["metric_per_case"][1]["metrics"]["1"]["n_pred"] == 0


@pytest.mark.parametrize("fault", ["no_folder", "empty", "not_json_ending", "named_but_missing"])
def test_bad_places(tmp_path, fault):
    reference, prediction = folders(tmp_path)
    output, names = tmp_path / "summary.json", None
    if fault == "no_folder":
        prediction, words = tmp_path / "nowhere", "must exist"
    elif fault == "empty":
        (tmp_path / "empty").mkdir()
        reference, words = tmp_path / "empty", "must hold segmentations"
    elif fault == "not_json_ending":
        output, words = tmp_path / "summary.txt", "end with .json"
    else:
        names, words = ["case_9"], "needs its reference"
    with pytest.raises(UserError, match=words):
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", output, 1, names=names)
    assert not list(tmp_path.glob("summary*"))


def test_command(tmp_path, capsys):
    reference, prediction = folders(tmp_path)
    dataset_json = tmp_path / "dataset.json"
    dataset_json.write_text(json.dumps({"labels": PLAIN, "file_ending": ".nii.gz"}))
    arguments = [str(reference), str(prediction), "-djfile", str(dataset_json), "-pfile", "plans.json", "-np", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert str(prediction / "summary.json") in printed.out and str(prediction / "metrics.json") in printed.out
    (prediction / "case_2.nii.gz").unlink()
    assert main([*arguments, "-o", str(tmp_path / "other.json")]) == 2
    assert "case_2.nii.gz" in capsys.readouterr().err and not (tmp_path / "other.json").exists()
    dataset_json.write_text(json.dumps({"labels": PLAIN}))
    assert main(arguments) == 2
    assert "file_ending" in capsys.readouterr().err


def frames(folder: Path, values: dict[str, int]) -> None:
    folder.mkdir(parents=True)
    for name, value in values.items():
        io.imsave(folder / f"{name}.png", np.full((4, 5), value, np.uint8), check_contrast=False)


def test_label_frames_are_one_volume(tmp_path):
    """Three frames of 20 pixels: label 1 in frames 1 and 2, predicted in 2 and 10, so one frame of each kind of count.
    """
    frames(tmp_path / "reference" / "a", {"1": 1, "2": 1, "10": 0})
    frames(tmp_path / "prediction" / "a", {"1": 0, "2": 1, "10": 1})
    (tmp_path / "prediction" / ".unfinished-b").mkdir()
    arguments = (tmp_path / "reference", tmp_path / "prediction", space({"background": 0, "a": 1}), "/",
                 "FrameFolderIO", None, 1)
    summary = evaluate_folder(*arguments)
    (case,) = summary["metric_per_case"]
    assert case["reference_file"] == str(tmp_path / "reference" / "a")
    assert [case["metrics"]["1"][key] for key in ("TP", "FP", "FN", "TN", "Dice")] == [20, 20, 20, 0, 0.5]
    assert evaluate_folder(*arguments, names=["a"]) == summary
    (tmp_path / "prediction" / "a" / "2.png").rename(tmp_path / "prediction" / "a" / "3.png")
    with pytest.raises(UserError, match="for each frame of the reference") as caught:
        evaluate_folder(*arguments)
    assert caught.value.found == "1 of 3 are missing: 2; 1 belong to none of them: 3"


def test_links_to_nothing_and_other_files_are_named(tmp_path, capsys):
    reference, prediction = folders(tmp_path, cases=2)
    (prediction / "case_0.nii").touch()
    (reference / "Case_9.NII.GZ").touch()
    (reference / "dataset.json").touch()
    evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", tmp_path / "summary.json", 1)
    assert capsys.readouterr().err.splitlines()[:2] == [
        f"Warning: ignored in {reference}: Case_9.NII.GZ (an image, but not .nii.gz)",
        f"Warning: ignored in {prediction}: case_0.nii (also there as .nii.gz)"]
    for name in ("case_0.nii.gz", "case_1.nii.gz"):
        (prediction / name).unlink()
        (prediction / name).symlink_to("nowhere")
    with pytest.raises(UserError) as caught:
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", tmp_path / "again.json", 1)
    assert caught.value.found == "2 links to nothing: case_0.nii.gz, case_1.nii.gz"
    assert caught.value.where == str(prediction)
    assert not (tmp_path / "again.json").exists()


def test_an_evaluation_beside_another_one_into_the_same_file_is_refused(tmp_path):
    reference, prediction = folders(tmp_path)
    arguments = (reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", tmp_path / "out" / "summary.json", 1)
    with owned(tmp_path / "out" / ".summary.json.lock",
               tmp_path / "out"), pytest.raises(UserError, match="Only one command") as caught:
        evaluate_folder(*arguments)
    assert caught.value.where == str(tmp_path / "out" / "summary.json") and not any((tmp_path / "out").iterdir())
    evaluate_folder(*arguments)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.json", "summary.json"]
