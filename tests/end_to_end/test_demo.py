"""The demo from start to end, with a short training: on the phantom, and on a dataset folder without test images."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from small_phantom import SLICES

from samunet.cli import demo
from samunet.dataset import phantom
from samunet.planning import cache_rules, encoder_rules

VIEW_SECONDS = 4  # 100 images: a view or two of each case

pytestmark = pytest.mark.slow


def _steps(err: str) -> list[list[str]]:
    """The printed commands as words."""
    return [shlex.split(line) for line in re.findall(r"^\$ (.*)$", err, re.MULTILINE)]


def test_phantom(workplace, monkeypatch):
    # Workers take more than such cases; the other test has as many as a user.
    monkeypatch.setattr("samunet.workers.default_workers", lambda: 1)
    monkeypatch.setattr(demo, "PHANTOM_ITERATIONS", 5)
    monkeypatch.setattr(cache_rules, "VIEW_SECONDS", VIEW_SECONDS)
    monkeypatch.setattr(phantom, "SHAPE", (SLICES, *phantom.SHAPE[1:]))
    output = workplace.root / "demo"
    done = workplace.here("demo", "--output", output)
    assert done.code == 0, done.err
    work = output / "Dataset900_Phantom"
    assert [step[0] for step in _steps(done.err)] == [
        f"samunet_{name}" for name in ("plan_and_preprocess", "train", "predict", "evaluate_folder",
                                       "plot_overlay_pngs")]
    assert f"samunet_raw={work / 'raw'}" in done.err
    assert {path.name for path in (work / "predictions").glob("*.nii.gz")} == {"phantom_008.nii.gz",
                                                                               "phantom_009.nii.gz"}
    assert len(json.loads((work / "predictions" / "summary.json").read_text())["metric_per_case"]) == 2
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (work / "overlays").iterdir())
    assert str(work / "overlays") in done.out.splitlines()[-2]
    assert re.search(r"mean Dice of tube: 0\.\d{3}", done.err)


def test_real_dataset_trains_five_shots_of_fold_1_and_predicts_validation_cases(workplace, make_dataset, monkeypatch):
    monkeypatch.setattr(encoder_rules, "HEAD_ITERATIONS", 5)
    monkeypatch.setattr(cache_rules, "VIEW_SECONDS", VIEW_SECONDS)
    dataset = make_dataset(workplace.root / "data", cases=8)
    raw = workplace.digests("data/**/*")
    done = workplace.here("demo", "--dataset", dataset, "--output", workplace.root / "demo")
    assert done.code == 0, done.err
    assert workplace.digests("data/**/*") == raw, "the dataset is only read"
    steps = _steps(done.err)
    assert steps[1] == ["samunet_train", "5", "cnn_head", "1", "--shots", "5"]
    work = workplace.root / "demo" / dataset.name
    validation = json.loads((work / "preprocessed" / dataset.name / "splits_final.json").read_text())[1]["val"]
    assert {path.name for path in (work / "predictions").glob("*.nii.gz")} == {f"{name}.nii.gz" for name in validation}
    assert {row["metrics"].keys() == {"1", "2"} for row in json.loads(
        (work / "predictions" / "summary.json").read_text())["metric_per_case"]} == {True}
