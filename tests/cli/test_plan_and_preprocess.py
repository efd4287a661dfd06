"""The commands before training, on a synthetic dataset: what they write, that they continue, and bad input."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from samunet.cli import plan_and_preprocess, plan_experiment, preprocess
from samunet.dataset.phantom import make_phantom_dataset
from samunet.preprocessing.store import ArrayStore

CASES = 5


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    return make_phantom_dataset(tmp_path_factory.mktemp("raw"), cases=CASES, test_cases=0).parent


def arguments(raw: Path, folder: Path, *more: str) -> list[str]:
    return ["-d", "900", "-np", "1", "--no_embeddings", "--raw", str(raw), "--preprocessed",
            str(folder / "preprocessed"),
            "--results", str(folder / "results"), *more]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stamps(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_everything_before_training_is_written_and_the_last_line_says_where(raw, tmp_path, capsys):
    assert plan_and_preprocess.main(arguments(raw, tmp_path, "--verify_dataset_integrity")) == 0
    dataset = tmp_path / "preprocessed" / "Dataset900_Phantom"
    assert capsys.readouterr().out.splitlines()[-1] == f"preprocessed: {dataset / 'samunetPlans'}"
    names = [f"phantom_{index:03d}" for index in range(CASES)]
    assert ArrayStore(dataset / "samunetPlans" / "arrays").names() == names
    assert (dataset / "dataset.json").read_bytes() == (raw / "Dataset900_Phantom" / "dataset.json").read_bytes()
    assert "spacings" in json.loads((dataset / "dataset_fingerprint.json").read_text())
    assert list(json.loads((dataset / "samunetPlans.json").read_text())["encoders"]) == ["mini-3"]
    splits = json.loads((dataset / "splits_final.json").read_text())
    assert sorted(name for split in splits for name in split["val"]) == names
    assert tree(dataset / "gt_segmentations") == tree(raw / "Dataset900_Phantom" / "labelsTr")


def test_a_second_time_nothing_is_written(raw, tmp_path):
    assert plan_and_preprocess.main(arguments(raw, tmp_path)) == 0
    arrays = tmp_path / "preprocessed" / "Dataset900_Phantom" / "samunetPlans"
    before, content = stamps(arrays), tree(tmp_path)
    assert plan_and_preprocess.main(arguments(raw, tmp_path)) == 0
    assert preprocess.main(arguments(raw, tmp_path)) == 0
    assert stamps(arrays) == before and tree(tmp_path) == content


def test_labels_of_cases_that_are_gone_or_changed_follow_the_raw_dataset(raw, tmp_path):
    own = tmp_path / "raw" / "Dataset900_Phantom"
    shutil.copytree(raw / "Dataset900_Phantom", own)
    assert plan_and_preprocess.main(arguments(own.parent, tmp_path)) == 0
    for part, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        (own / part / f"phantom_004{ending}").unlink()
    label = sitk.ReadImage(str(own / "labelsTr" / "phantom_001.nii.gz"))
    label[0, 0, 0] = 1
    sitk.WriteImage(label, str(own / "labelsTr" / "phantom_001.nii.gz"))
    content = json.loads((own / "dataset.json").read_text())
    (own / "dataset.json").write_text(json.dumps({**content, "numTraining": CASES - 1}))
    (tmp_path / "preprocessed" / own.name / "splits_final.json").unlink()
    assert plan_and_preprocess.main(arguments(own.parent, tmp_path)) == 0
    written = tmp_path / "preprocessed" / own.name
    assert tree(written / "gt_segmentations") == tree(own / "labelsTr")
    store = ArrayStore(written / "samunetPlans" / "arrays")
    assert store.names() == [f"phantom_{index:03d}" for index in range(CASES - 1)]
    assert store.segmentation("phantom_001")[0, 0, 0, 0] == 1


def test_several_datasets_in_one_command(raw, tmp_path, capsys):
    both = tmp_path / "raw"
    for name in ("Dataset001_One", "Dataset002_Two"):
        shutil.copytree(raw / "Dataset900_Phantom", both / name)
    command = arguments(both, tmp_path)
    command[1:2] = ["1", "Dataset002_Two"]
    assert plan_and_preprocess.main(command) == 0
    folders = [tmp_path / "preprocessed" / name / "samunetPlans" for name in ("Dataset001_One", "Dataset002_Two")]
    assert capsys.readouterr().out.splitlines() == [f"preprocessed: {folder}" for folder in folders]


@pytest.mark.parametrize("files", [3, 12])
def test_killed_and_started_again_it_ends_with_the_same_files(raw, tmp_path, files):
    code = "import sys; from samunet.cli.plan_and_preprocess import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments(raw, tmp_path)],
                               cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    written = tmp_path / "preprocessed"
    while process.poll() is None and sum(path.is_file() for path in written.rglob("*")) < files:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert plan_and_preprocess.main(arguments(raw, tmp_path)) == 0
    assert plan_and_preprocess.main(arguments(raw, tmp_path / "undisturbed")) == 0
    assert tree(written) == tree(tmp_path / "undisturbed" / "preprocessed")


def test_3d_tiff_labels_are_kept_with_their_spacing_file(tmp_path):
    folder = tmp_path / "raw" / "Dataset900_Tiff"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for index in range(2):
        random = np.random.default_rng(index)
        tifffile.imwrite(folder / "imagesTr" / f"c{index}_0000.tif", random.integers(1, 9, (6, 8, 10)).astype(np.uint8))
        tifffile.imwrite(folder / "labelsTr" / f"c{index}.tif", random.integers(0, 2, (6, 8, 10)).astype(np.uint8))
        for path in (folder / "imagesTr" / f"c{index}.json", folder / "labelsTr" / f"c{index}.json"):
            path.write_text('{"spacing": [2.0, 1.0, 1.0]}')
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}, "numTraining": 2, "file_ending": ".tif",
        "overwrite_image_reader_writer": "Tiff3DIO"}))
    assert plan_and_preprocess.main(arguments(folder.parent, tmp_path)) == 0
    assert tree(tmp_path / "preprocessed" / folder.name / "gt_segmentations") == tree(folder / "labelsTr")


def test_preprocessing_without_plans_is_reported(raw, tmp_path, capsys):
    assert preprocess.main(arguments(raw, tmp_path)) == 2
    assert "must be planned before" in capsys.readouterr().err
    assert tree(tmp_path / "preprocessed") == {}


@pytest.mark.parametrize("name", ["dataset", "Dataset", "dataset_fingerprint", "splits_final", "groups",
                                  "gt_segmentations", ".hidden",
                                  "..", "", "a/b", "../groups", "a__b", "a_"])
@pytest.mark.parametrize("main", [plan_and_preprocess.main, plan_experiment.main, preprocess.main])
def test_a_plans_name_that_would_overwrite_other_files_or_hide_models_writes_nothing(raw, tmp_path, capsys, main, name):
    command = [argument for argument in arguments(raw, tmp_path, "-plans_name", name)
               if main is not plan_experiment.main or argument != "--no_embeddings"]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "A plans name must" in told and f"found: {name!r}" in told
    assert not (tmp_path / "preprocessed").exists()


def test_plans_of_any_other_name_stand_beside_the_dataset_s_files(raw, tmp_path):
    assert plan_and_preprocess.main(arguments(raw, tmp_path, "-plans_name", "_my.plans_2")) == 0
    assert {path.name for path in (tmp_path / "preprocessed" / "Dataset900_Phantom").iterdir()} >= {"_my.plans_2",
                                                                                                    "_my.plans_2.json"}


def test_an_unknown_dataset_writes_nothing(raw, tmp_path, capsys):
    command = arguments(raw, tmp_path)
    command[1] = "901"
    assert plan_and_preprocess.main(command) == 2
    assert "Dataset900_Phantom" in capsys.readouterr().err  # what there is
    assert not (tmp_path / "preprocessed").exists()


def test_verification_reports_all_and_writes_nothing(raw, tmp_path, capsys):
    own = tmp_path / "raw" / "Dataset900_Phantom"
    shutil.copytree(raw / "Dataset900_Phantom", own)
    (own / "labelsTr" / "phantom_000.nii.gz").unlink()
    truncated = own / "imagesTr" / "phantom_001_0000.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    assert plan_and_preprocess.main(arguments(own.parent, tmp_path, "--verify_dataset_integrity")) == 2
    told = capsys.readouterr().err
    assert "phantom_000" in told and "phantom_001_0000.nii.gz" in told
    assert not (tmp_path / "preprocessed").exists()


def test_a_blocked_output_place_is_reported(raw, tmp_path, capsys):
    (tmp_path / "preprocessed").write_text("in the way")
    assert plan_and_preprocess.main(arguments(raw, tmp_path)) == 2
    assert "must be writable" in capsys.readouterr().err
    assert (tmp_path / "preprocessed").read_text() == "in the way"
