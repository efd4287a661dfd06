"""The whole job on a small phantom through the console scripts, as a user runs it."""

from __future__ import annotations

import json

import pytest
import SimpleITK as sitk
from small_phantom import shorten, small_phantom

ITERATIONS = "60"
# Set by hand: label_prior reaches a foreground mean of 0.62 on the two test cases, the head 0.9.
FLOOR = 0.8
LABEL_PRIOR_CEILING = 0.7

pytestmark = pytest.mark.slow


def _plan(workplace, *flags: str) -> None:
    """Plan and preprocess, then allow a view or two of each training case."""
    workplace.run("plan_and_preprocess", "-d", "900", *flags)
    shorten(workplace.root / "preprocessed" / "Dataset900_Phantom" / "samunetPlans.json", view_pictures=80)


@pytest.fixture(scope="module")
def job(tmp_path_factory, workplace_at):
    """A workplace after the main job. The model that was trained last is the head; label_prior was fitted before it."""
    workplace = workplace_at(tmp_path_factory.mktemp("job"))
    dataset = small_phantom(workplace.root / "raw", cases=6, test_cases=2)
    labels = dataset / "labelsTs"
    _plan(workplace, "--verify_dataset_integrity")
    workplace.run("train", "900", "label_prior", "0")
    workplace.run("predict", "-i", dataset / "imagesTs", "-o", workplace.root / "prior")
    workplace.run("train", "900", "cnn_head", "0", "--iterations", ITERATIONS, "-device", "cpu")
    workplace.run("predict", "-i", dataset / "imagesTs", "-o", workplace.root / "out", "-device", "cpu")
    for folder in ("prior", "out"):
        workplace.run("evaluate_folder", labels, workplace.root / folder, "-djfile", dataset / "dataset.json")
    return workplace


def _foreground_dice(path) -> float:
    return json.loads(path.read_text())["foreground_mean"]["Dice"]


def test_predictions_lie_on_the_images_own_grids(job):
    images = sorted((job.root / "raw" / "Dataset900_Phantom" / "imagesTs").glob("*_0000.nii.gz"))
    assert len(images) == 2
    for path in images:
        image = sitk.ReadImage(str(path))
        prediction = sitk.ReadImage(str(job.root / "out" / path.name.replace("_0000", "")))
        assert prediction.GetSize() == image.GetSize()
        assert prediction.GetSpacing() == image.GetSpacing()
        assert prediction.GetOrigin() == image.GetOrigin()
        assert prediction.GetDirection() == image.GetDirection()
        assert prediction.GetPixelIDTypeAsString() == "8-bit unsigned integer"


def test_the_head_learns_what_label_prior_cannot_know(job):
    assert _foreground_dice(job.root / "prior" / "summary.json") < LABEL_PRIOR_CEILING
    assert _foreground_dice(job.root / "out" / "summary.json") > FLOOR


def test_validation_was_scored_over_the_whole_fold(job):
    folder = next(job.root.glob("results/*/cnn_head__samunetPlans__mini-3/fold_0"))
    splits = json.loads((job.root / "preprocessed" / "Dataset900_Phantom" / "splits_final.json").read_text())
    summary = json.loads((folder / "validation" / "summary.json").read_text())
    assert len(summary["metric_per_case"]) == len(splits[0]["val"]) > 0
    assert {path.name for path in (folder / "validation").glob("*.nii.gz")} == {
        f"{name}.nii.gz" for name in splits[0]["val"]}
    assert (folder / "validation" / "metrics.json").is_file()
    assert (folder / "progress.png").read_bytes().startswith(b"\x89PNG")
    run = json.loads((folder / "run.json").read_text())
    assert run["train_cases"] == sorted(splits[0]["train"]) and run["finished"]


def test_a_model_folder_holds_megabytes(job):
    folder = next(job.root.glob("results/*/cnn_head__samunetPlans__mini-3"))
    assert {"plans.json", "dataset.json", "dataset_fingerprint.json",
            "fold_0"} == {path.name for path in folder.iterdir()}
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 20 * 2**20


def test_metrics_json_states_units_and_tolerance(job):
    text = (job.root / "out" / "metrics.json").read_text()
    for name in ("HD95_mm", "ASSD_mm", "NSD", "tolerance_mm"):
        assert name in text


def test_running_again_gives_the_same_bytes(job):
    patterns = ("preprocessed/**/*", "results/**/*.safetensors", "results/**/validation/*.nii.gz", "out/*.nii.gz")
    before = job.digests(*patterns)
    _plan(job)
    job.run("train", "900", "cnn_head", "0", "--iterations", ITERATIONS, "-device", "cpu")
    images = job.root / "raw" / "Dataset900_Phantom" / "imagesTs"
    job.run("predict", "-i", images, "-o", job.root / "out", "-device", "cpu")
    assert job.digests(*patterns) == before
