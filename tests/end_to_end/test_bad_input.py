"""Each kind of bad input ends in one message of its own and exit code 2, and leaves no file half-written or changed."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

CASE = "box_001"


def _image(dataset: Path) -> Path:
    return dataset / "imagesTr" / f"{CASE}_0000.nii.gz"


def _label(dataset: Path) -> Path:
    return dataset / "labelsTr" / f"{CASE}.nii.gz"


def _rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], spacing: tuple[float, ...] | None = None) -> None:
    image = sitk.ReadImage(str(path))
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    changed.SetSpacing(spacing or image.GetSpacing() + (1.0,) * (changed.GetDimension() - 3))
    sitk.WriteImage(changed, str(path))


def _set_voxel(path: Path, value: float) -> None:
    def change(array: np.ndarray) -> np.ndarray:
        array[3, 8, 8] = value
        return array

    _rewrite(path, change)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _edit_json(dataset: Path, **changes: object) -> None:
    path = dataset / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _renumber(dataset: Path) -> None:
    _edit_json(dataset, labels={"background": 0, "left": 1, "right": 3})


def _second_channel(dataset: Path) -> None:
    _edit_json(dataset, channel_names={"0": "MRI", "1": "MRI"})
    for path in (dataset / "imagesTr").glob("*_0000.nii.gz"):
        shutil.copy(path, path.with_name(path.name.replace("_0000", "_0001")))
    _image(dataset).with_name(f"{CASE}_0001.nii.gz").unlink()


# what is corrupted -> how, words of the message, the place that it must name
DATASET_FAULTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing channel": (_second_channel, ("channel", f"{CASE}_0001")),
    "missing label": (lambda dataset: _label(dataset).unlink(), ("label", CASE)),
    "shape mismatch": (lambda dataset: _rewrite(_label(dataset), lambda array: array[:-1]), ("shape", CASE)),
    "spacing mismatch": (lambda dataset: _rewrite(_label(dataset), lambda array: array, (1.0, 1.2, 2.5)),
                         ("spacing", CASE)),
    "NaN": (lambda dataset: _set_voxel(_image(dataset), float("nan")), ("NaN", CASE)),
    "Inf": (lambda dataset: _set_voxel(_image(dataset), float("inf")), ("Inf", CASE)),
    "unknown label value": (lambda dataset: _set_voxel(_label(dataset), 7), ("7", "dataset.json", CASE)),
    "non-consecutive labels": (_renumber, ("consecutive", "dataset.json")),
    "fractional label": (
        lambda dataset: _rewrite(_label(dataset), lambda array: array.astype(np.float32) * 0.5),
        ("whole", "0.5", CASE)),
    "truncated image": (lambda dataset: _truncate(_image(dataset)), ("whole", "truncated", f"{CASE}_0000.nii.gz")),
    "truncated label": (lambda dataset: _truncate(_label(dataset)), ("whole", "truncated", f"{CASE}.nii.gz")),
    "4D label": (lambda dataset: _rewrite(_label(dataset), lambda array: np.stack([array, array])), ("label", CASE)),
    "channel count": (lambda dataset: _rewrite(_image(dataset), lambda array: np.stack([array, array])),
                      ("channel", CASE)),
    "empty folder": (lambda dataset: [path.unlink() for path in (dataset / "imagesTr").iterdir()],
                     ("image", "imagesTr")),
    "unknown channel name": (lambda dataset: _edit_json(dataset, channel_names={"0": "sonar"}), ("sonar", "zscore")),
    "no background": (lambda dataset: _edit_json(dataset, labels={"left": 1, "right": 2}), ("background",)),
    "broken dataset.json": (lambda dataset: (dataset / "dataset.json").write_text("{"), ("JSON", "dataset.json")),
    "regions without order": (
        lambda dataset: _edit_json(dataset, labels={"background": 0, "both": [1, 2], "right": 2}),
        ("regions_class_order",)),
}


@pytest.mark.parametrize("flags", [[], ["--verify_dataset_integrity"]], ids=["plain", "verified"])
@pytest.mark.parametrize("fault", DATASET_FAULTS)
def test_a_corrupted_dataset_is_refused(fault, flags, workplace, make_dataset):
    spoil, words = DATASET_FAULTS[fault]
    dataset = make_dataset(workplace.root / "raw")
    spoil(dataset)
    raw = workplace.digests("raw/**/*")

    done = workplace.here("plan_and_preprocess", "-d", "5", "--no_embeddings", "-np", "1", *flags)

    assert done.code == 2, done.err
    message = done.err[done.err.index("error: ") :]
    assert "Traceback" not in done.err
    for word in words:
        assert word.lower() in message.lower(), message
    assert workplace.digests("raw/**/*") == raw
    assert not list(workplace.root.rglob(".unfinished-*"))
    if flags:
        assert not list((workplace.root / "preprocessed").rglob("*.b2nd"))
        assert not list((workplace.root / "preprocessed").rglob("samunetPlans.json"))


def test_all_problems_of_all_cases_are_reported_together(workplace, make_dataset):
    dataset = make_dataset(workplace.root / "raw")
    _set_voxel(dataset / "imagesTr" / "box_000_0000.nii.gz", float("nan"))
    _truncate(dataset / "imagesTr" / "box_001_0000.nii.gz")
    _set_voxel(dataset / "labelsTr" / "box_002.nii.gz", 9)
    _rewrite(dataset / "labelsTr" / "box_003.nii.gz", lambda array: array[:, :-2])

    done = workplace.here("extract_fingerprint", "-d", "5", "--verify_dataset_integrity", "-np", "1")

    assert done.code == 2
    assert "4 problems" in done.err
    for case in range(4):
        assert f"box_{case:03d}" in done.err


def test_an_unknown_dataset_id_lists_what_there_is(workplace, make_dataset):
    make_dataset(workplace.root / "raw")
    for command, arguments in (("plan_and_preprocess", ["-d", "77"]), ("train", ["77", "label_prior", "0"])):
        done = workplace.here(command, *arguments)
        assert done.code == 2
        assert "77" in done.err and "Dataset005_Boxes" in done.err
    assert not list((workplace.root / "preprocessed").rglob("*"))


def test_an_id_that_two_folders_claim_names_both(workplace, make_dataset):
    dataset = make_dataset(workplace.root / "raw")
    shutil.copytree(dataset, dataset.with_name("Dataset005_Copy"))
    done = workplace.here("plan_and_preprocess", "-d", "5")
    assert done.code == 2
    assert "Dataset005_Boxes" in done.err and "Dataset005_Copy" in done.err


def test_an_unknown_variant_lists_the_known(workplace):
    done = workplace.here("train", "5", "cnn_hat", "0")
    assert done.code == 2
    for known in ("cnn_hat", "probe", "linear_head", "cnn_head", "autosam", "label_prior", "atlas"):
        assert known in done.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_dataset, workplace_at):
    """A workplace with a fitted label_prior and two images to predict. Copied by the tests that change it."""
    workplace = workplace_at(tmp_path_factory.mktemp("trained"))
    dataset = make_dataset(workplace.root / "raw")
    assert workplace.here("plan_and_preprocess", "-d", "5", "--no_embeddings", "-np", "1").code == 0
    done = workplace.here("train", "5", "label_prior", "0", "-np", "1")
    assert done.code == 0, done.err
    for case in range(2):
        target = workplace.root / "in" / f"box_{case:03d}_0000.nii.gz"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(dataset / "imagesTr" / target.name, target)
    return workplace


@pytest.fixture
def copied(trained, tmp_path):
    shutil.copytree(trained.root, tmp_path / "copy")
    return replace(trained, root=tmp_path / "copy")


@pytest.mark.parametrize("fault, words", [
    ("NaN", ("NaN", "box_001")),
    ("truncated", ("whole", "box_001")),
    ("channels", ("channel", "box_001")),
    ("empty", ("image",)),
    ("missing", ("folder",)),
])
def test_prediction_refuses_bad_images_and_keeps_whole_files_only(fault, words, copied):
    image = copied.root / "in" / "box_001_0000.nii.gz"
    if fault == "NaN":
        _set_voxel(image, float("nan"))
    elif fault == "truncated":
        _truncate(image)
    elif fault == "channels":
        _rewrite(image, lambda array: np.stack([array, array]))
    elif fault == "empty":
        for path in image.parent.iterdir():
            path.unlink()
    else:
        shutil.rmtree(image.parent)
    done = copied.here("predict", "-i", copied.root / "in", "-o", copied.root / "out")
    assert done.code == 2, done.err
    for word in words:
        assert word.lower() in done.err.lower()
    written = {path.name for path in (copied.root / "out").rglob("*.nii.gz")}
    assert written <= {"box_000.nii.gz"}
    for path in (copied.root / "out").rglob("*.nii.gz"):
        gzip.decompress(path.read_bytes())
    assert not list(copied.root.rglob(".unfinished-*"))


def test_an_output_path_that_a_file_blocks_is_refused_before_the_work(copied):
    blocker = copied.root / "blocker"
    blocker.write_text("in the way")
    before = copied.digests()
    for command, arguments in (
        ("predict", ["-i", copied.root / "in", "-o", blocker]),
        ("predict", ["-i", copied.root / "in", "-o", blocker / "below"]),
        ("plan_and_preprocess", ["-d", "5", "--no_embeddings", "--preprocessed", blocker]),
        ("train", ["5", "label_prior", "1", "--results", blocker]),
        ("evaluate_folder", [copied.root / "raw" / "Dataset005_Boxes" / "labelsTr",
                             copied.root / "raw" / "Dataset005_Boxes" / "labelsTr",
                             "-djfile", copied.root / "raw" / "Dataset005_Boxes" / "dataset.json",
                             "-o", blocker / "summary.json"]),
    ):
        done = copied.here(command, *arguments)
        assert done.code == 2, (command, done.err)
        assert str(blocker) in done.err and "writable" in done.err
    assert copied.digests() == before


@pytest.mark.slow
def test_a_read_only_mount_is_refused(copied):
    mount = copied.root / "mount"
    mount.mkdir()
    if not shutil.which("unshare") or subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "ro", "tmpfs", mount], capture_output=True, check=False
            ).returncode:
        pytest.skip("this machine lets no user mount a read-only file system")
    scripts = Path(sys.executable).parent
    before = copied.digests()
    for line in (
        f"{scripts}/samunet_predict -i {copied.root}/in -o {mount}",
        f"{scripts}/samunet_predict -i {copied.root}/in -o {mount}/below",
        f"{scripts}/samunet_plan_and_preprocess -d 5 --no_embeddings --preprocessed {mount}",
        f"{scripts}/samunet_train 5 label_prior 1 --results {mount}",
    ):
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o ro tmpfs {mount} && exec {line}"],
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **copied.environment}, capture_output=True, text=True,
            check=False)
        assert done.returncode == 2, done.stderr
        assert "writable" in done.stderr and str(mount) in done.stderr
    assert copied.digests() == before


def test_evaluation_refuses_a_missing_prediction(copied):
    labels = copied.root / "raw" / "Dataset005_Boxes" / "labelsTr"
    predictions = copied.root / "predictions"
    shutil.copytree(labels, predictions)
    (predictions / f"{CASE}.nii.gz").unlink()
    before = copied.digests()
    done = copied.here("evaluate_folder", labels, predictions, "-djfile", labels.parent / "dataset.json")
    assert done.code == 2
    assert CASE in done.err and "prediction" in done.err.lower()
    assert copied.digests() == before


def test_a_model_is_refused_with_another_encoder(copied):
    """A run.json that names an encoder of other weights than the one that is found now."""
    fold = next(copied.root.glob("results/*/label_prior*/fold_0"))
    model = fold.parent.with_name("linear_head__samunetPlans__mini-3")
    done = copied.here("plan_and_preprocess", "-d", "5", "-np", "1")
    assert done.code == 0, done.err
    done = copied.here("train", "5", "linear_head", "0", "--iterations", "2", "-np", "1")
    assert done.code == 0, done.err
    run = model / "fold_0" / "run.json"
    content = json.loads(run.read_text())
    assert len(content["encoder"]["digest"]) == 64
    run.write_text(json.dumps({**content, "encoder": {**content["encoder"], "digest": "0" * 64}}))
    done = copied.here("predict", "-i", copied.root / "in", "-o", copied.root / "out", "-m", model)
    assert done.code == 2
    assert "encoder" in done.err and "mini-3" in done.err
    assert not list((copied.root / "out").rglob("*.nii.gz"))
