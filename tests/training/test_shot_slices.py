"""Runs whose labels are used on chosen slices alone, on the tiny dataset: of each case slices 1 and 2 show foreground.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.dataset import load_dataset
from samunet.dataset.labels import UNANNOTATED
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json
from samunet.planning.plans import Plans
from samunet.planning.shots import draw_shots
from samunet.preprocessing.preprocess import preprocess_dataset
from samunet.preprocessing.prompts.oracle import oracle_prompts
from samunet.preprocessing.store import ArrayStore
from samunet.training.experiment import open_experiment
from samunet.training.run import train_model
from samunet.training.settings import Request
from samunet.training.validation import _prompted

REQUEST = Request("5", "linear_head", "0", "untrained", "tiny", iterations=4, shot_slices=2, validate=False)
DATASET, WEIGHTS = "Dataset005_Made", "checkpoint_final.safetensors"
ORDER = draw_shots(["a1", "a2", "b1"], None, 3, 0)


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    return Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")


def fold(request: Request, paths: Paths) -> Path:
    """The finished fold's folder, trained if it is not there."""
    folder = (paths.results / DATASET / f"{request.variant}__tiny__untrained"
              / f"shotsall_draw0_slices{request.shot_slices}")
    if not (folder / f"fold_{request.fold}").is_dir():
        train_model(request, paths, must_continue=False, workers=1)
    return folder / f"fold_{request.fold}"


def test_the_first_cases_of_the_draw_train_on_their_slice_and_the_others_are_images_alone(paths: Paths) -> None:
    experiment = open_experiment(REQUEST, paths)
    # One slice each of the two that show foreground: of the first case the first, of the second the second.
    assert experiment.slices == {ORDER[0]: (1,), ORDER[1]: (2,)} and experiment.train_cases == tuple(sorted(ORDER[:2]))
    assert experiment.unlabelled_cases == ("a1", "a2", "b1", "b2")  # the last never had a label
    labels = experiment.segmentation(ORDER[0])
    assert (labels[[0, 2]] == UNANNOTATED).all() and (labels[1] >= 0).all()
    run = fold(REQUEST, paths) / "run.json"
    assert read_json(run)["labelled_slices"] == {ORDER[0]: [1], ORDER[1]: [2]}
    assert read_json(run)["settings"]["shot_slices"] == 2
    statistics = read_json(run.with_name("label_statistics.json"))
    assert statistics["cases"][ORDER[0]]["a"]["voxels_per_slice"] == [0, 120, 0]


def test_the_draw_decides_who_comes_first(paths: Paths) -> None:
    for request, order in ((replace(REQUEST, draw=1), draw_shots(["a1", "a2", "b1"], None, 3, 1)),
                           (replace(REQUEST, shots=2, shot_slices=3), ORDER)):
        assert list(open_experiment(request, paths).train_cases) == sorted(order[:2])
    # Of three slices over two cases the first case has two.
    assert open_experiment(replace(REQUEST, shots=2, shot_slices=3), paths).slices == {ORDER[0]: (1, 2), ORDER[1]: (2,)}


def test_more_slices_than_show_foreground_are_refused(paths: Paths) -> None:
    with pytest.raises(UserError, match="(?s)--shot_slices.*7 slices; 6 of 3 cases"):
        open_experiment(replace(REQUEST, shot_slices=7), paths)


def test_a_run_that_was_stopped_ends_with_the_same_bytes(paths: Paths, tmp_path: Path, monkeypatch) -> None:
    undisturbed = (fold(REQUEST, replace(paths, results=tmp_path / "undisturbed")) / WEIGHTS).read_bytes()
    monkeypatch.setattr("samunet.training.trainer.ITERATIONS_PER_EPOCH", 3)
    with monkeypatch.context() as patch:
        patch.setattr("samunet.training.trainer.Logbook.draw", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fold(REQUEST, paths)
    assert (fold(REQUEST, paths) / WEIGHTS).read_bytes() == undisturbed


@pytest.fixture(scope="module")
def relabelled(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dataset with other labels wherever they are not to be used: in one slice of two, in both of the case
    without a turn.
    """
    root = tmp_path_factory.mktemp("relabelled")
    shutil.copytree(prepared, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("embeddings"))
    for name in ORDER:
        path = root / "raw" / DATASET / "labelsTr" / f"{name}.nii.gz"
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        if name != ORDER[0]:
            labels[1, 20:28, 15:25] = 2
        if name != ORDER[1]:
            labels[2] = 3 - labels[2].clip(1)
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(path))
    preprocessed = root / "preprocessed" / DATASET
    arrays = preprocessed / "tiny" / "arrays"
    preprocess_dataset(load_dataset(root / "raw" / DATASET), Plans.load(preprocessed / "tiny.json"), arrays, 1)
    before = ArrayStore(prepared / "preprocessed" / DATASET / "tiny" / "arrays")
    changed = {name: (ArrayStore(arrays).segmentation(name) != before.segmentation(name)).any((0, 2, 3)).tolist()
               for name in ORDER}
    assert changed == {ORDER[0]: [False, False, True], ORDER[1]: [False, True, False], ORDER[2]: [False, True, True]}
    return root


@pytest.mark.parametrize("variant", ["label_prior", "linear_head", "in_context", "unet", "hybrid"])
def test_labels_of_other_slices_change_nothing_of_the_weights(
    variant, paths: Paths, relabelled: Path, tmp_path: Path
) -> None:
    request = replace(REQUEST, variant=variant, iterations=2)
    others = Paths(relabelled / "raw", relabelled / "preprocessed", tmp_path / "others")
    weights = [(fold(request, each) / WEIGHTS).read_bytes() for each in (paths, others)]
    assert weights[0] == weights[1]


def test_a_validated_case_that_trains_as_well_keeps_all_its_labels(paths: Paths) -> None:
    request = replace(REQUEST, variant="sam_zeroshot", fold="all", oracle_prompts="box3d", iterations=None,
                      validate=True)
    experiment = open_experiment(request, paths)
    first = next(name for name, slices in experiment.slices.items() if slices == (2,))
    case = _prompted(first, experiment)
    stored = ArrayStore(paths.preprocessed / "Dataset005_Made" / "tiny" / "arrays").segmentation(first)
    assert np.array_equal(case.segmentation, stored) and not np.array_equal(case.segmentation[0],
                                                                            experiment.segmentation(first))
    assert case.prompts.keys() == oracle_prompts(stored[0], experiment.dataset.labels, "box3d", 0, first).keys()
    assert case.prompts[1].boxes[0, 0, 0] == 1  # from slice 1 on, which is no labelled one
