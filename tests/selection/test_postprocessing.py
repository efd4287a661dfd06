"""Post-processing is nnU-Net's own choice on the same predictions, and never lowers the cross-validated score."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from probability_folders import PLAIN, PLANS, REGIONS, dataset_json, nnunet_in_threads
from segmentation_folders import write

from samunet.cli.apply_postprocessing import main as apply
from samunet.cli.determine_postprocessing import main as determine
from samunet.inference.nnunet_files import nnunet_plans
from samunet.selection.postprocessing import MEAN, decide, final_scores
from samunet.selection.prediction_folder import open_predictions

IGNORE = {"labels": {**PLAIN["labels"], "ignore": 3}}
OVERLAPPING = {"labels": {"background": 0, "outer": [1, 2], "inner": [2, 3], "all": [1, 2, 3]},
               "regions_class_order": [1, 3, 2]}


def folder_of(root: Path, labels: dict, pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Path, Path]:
    """Folders of predictions and references, one case for each pair (reference, prediction) of (Z, Y, X)."""
    for number, (reference, prediction) in enumerate(pairs):
        write(root / "reference" / f"case_{number}.nii.gz", reference)
        write(root / "prediction" / f"case_{number}.nii.gz", prediction)
    (root / "prediction" / "dataset.json").write_text(json.dumps(dataset_json(labels)))
    (root / "prediction" / "plans.json").write_text(json.dumps(nnunet_plans(PLANS)))
    return root / "prediction", root / "reference"


def random_pairs(labels: dict, seed: int, cases: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """A block of each label; predictions lack parts of it and have specks of labels elsewhere."""
    random = np.random.default_rng(seed)
    values = sorted({value for label in labels["labels"].values() for value in np.atleast_1d(label)})[1:]
    pairs = []
    for _ in range(cases):
        reference = np.zeros((3, 8, 10), np.uint8)
        for value in values:
            y, x = random.integers(0, 5, 2)
            reference[1:, y : y + 3, x : x + random.integers(2, 5)] = value
        prediction = np.where(random.random(reference.shape) < 0.85, reference, 0)
        specks = random.random(reference.shape) < random.choice([0.0, 0.02, 0.1])
        prediction[specks] = random.integers(0, min(len(values), 2) + 1, specks.sum())
        prediction[prediction == labels["labels"].get("ignore")] = 0
        pairs.append((reference, prediction))
    return pairs


def nnunets_choice(prediction: Path, reference: Path) -> list[tuple[int, ...]]:
    from nnunetv2.postprocessing.remove_connected_components import determine_postprocessing

    _, arguments = determine_postprocessing(str(prediction), str(reference), None, None, 1)
    return [tuple(np.atleast_1d(each["labels_or_regions"]).tolist()) for each in arguments]


@pytest.mark.parametrize("labels", [PLAIN, REGIONS, IGNORE], ids=["plain", "regions", "ignore"])
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_the_choice_is_nnunets(tmp_path: Path, monkeypatch, labels: dict) -> None:
    pytest.importorskip("nnunetv2")
    nnunet_in_threads(monkeypatch, "nnunetv2.postprocessing.remove_connected_components",
                      "nnunetv2.evaluation.evaluate_predictions")
    chosen = set()
    for seed in range(4):
        root = tmp_path / str(seed)
        prediction, reference = folder_of(root, labels, random_pairs(labels, seed))
        shutil.copytree(prediction, root / "theirs")
        theirs = nnunets_choice(root / "theirs", reference)
        assert determine(["-i", str(prediction), "-ref", str(reference), "-np", "1"]) == 0
        ours = json.loads((prediction / "postprocessing.json").read_text())
        assert [tuple(each["labels_or_regions"]) for each in ours["postprocessing_kwargs"]] == theirs
        chosen.add(tuple(theirs))
        summaries = [json.loads((each / "postprocessed" / "summary.json").read_text()) for each in
                     (prediction, root / "theirs")]
        assert summaries[0]["mean"] == summaries[1]["mean"]
        assert ours["after"][MEAN] == pytest.approx(summaries[1]["foreground_mean"]["Dice"], abs=1e-12)
        # nnU-Net's own postprocessing.json, applied by samunet, gives what nnU-Net wrote
        assert apply(["-i", str(prediction), "-o", str(root / "applied"), "-np", "1", "-pp_pkl_file",
                      str(root / "theirs" / "postprocessing.json")]) == 0
        for name, place in itertools.product(("case_0.nii.gz", "case_2.nii.gz"), (root / "applied",
                                                                                prediction / "postprocessed")):
            arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(each / name)))
                      for each in (place, root / "theirs" / "postprocessed")]
            np.testing.assert_array_equal(*arrays)
    assert len(chosen) > 1  # the seeds lead to several choices


def row(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(1, 1, -1)


def test_a_stray_part_is_removed_by_hand(tmp_path: Path) -> None:
    prediction, reference = folder_of(tmp_path, PLAIN, [(row(1, 1, 2, 2, 0, 0, 0), row(1, 1, 2, 2, 0, 0, 1))])
    assert determine(["-i", str(prediction), "-ref", str(reference), "-np", "1", "--remove_postprocessed"]) == 0
    content = json.loads((prediction / "postprocessing.json").read_text())
    assert content["before"] == {MEAN: pytest.approx(0.9), "1": pytest.approx(0.8), "2": 1}
    assert content["after"] == {MEAN: 1, "1": 1, "2": 1}
    assert [(each["what"], each["kept"]) for each in content["decisions"]] == [("foreground", True), ("1", False),
                                                                               ("2", False)]
    assert not (prediction / "postprocessed").exists()


def test_true_parts_stay_and_a_class_that_falls_forbids(tmp_path: Path) -> None:
    """Label 2 is right in two places; label 1 has a stray part. Only label 1 is post-processed."""
    pair = row(1, 1, 1, 0, 2, 0, 0, 2, 0, 0), row(1, 1, 1, 0, 2, 0, 0, 2, 0, 1)
    prediction, reference = folder_of(tmp_path, PLAIN, [pair])
    folder = open_predictions(prediction)
    decisions = decide(folder, reference, folder.cases(), 1)
    assert [(each.what, each.kept) for each in decisions] == [("foreground", False), ("1", True), ("2", False)]
    assert decisions[0].after["2"] == 0 and final_scores(decisions)[MEAN] == 1


def test_a_class_that_falls_forbids_the_whole_foreground_where_the_mean_rises(tmp_path: Path) -> None:
    """Of label 1 three voxels of four are stray; of label 2 one right voxel is apart from the others."""
    pair = row(1, 2, 2, 2, 2, 2, 2, 0, 2, 0, 0, 0, 0), row(1, 2, 2, 2, 2, 2, 2, 0, 2, 0, 1, 1, 1)
    prediction, reference = folder_of(tmp_path, PLAIN, [pair])
    folder = open_predictions(prediction)
    foreground, first, second = decide(folder, reference, folder.cases(), 1)
    assert foreground.before == {MEAN: pytest.approx(0.7), "1": pytest.approx(0.4), "2": 1}
    assert foreground.after == {MEAN: pytest.approx(25 / 26), "1": 1, "2": pytest.approx(12 / 13)}
    assert (foreground.kept, first.kept, second.kept) == (False, False, False)  # of 1 alone, the stray part is larger


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), labels=st.sampled_from([PLAIN, REGIONS, OVERLAPPING]))
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_the_score_never_falls(tmp_path_factory, seed: int, labels: dict) -> None:
    prediction, reference = folder_of(tmp_path_factory.mktemp("pp"), labels, random_pairs(labels, seed, cases=2))
    folder = open_predictions(prediction)
    decisions = decide(folder, reference, folder.cases(), 1)
    assert final_scores(decisions)[MEAN] >= decisions[0].before[MEAN]


def test_where_a_region_takes_from_another_the_mean_decides(tmp_path: Path, monkeypatch) -> None:
    """Removing the smaller part of `whole` raises it, and takes more from `core`; nnU-Net does it nevertheless."""
    # whole: 5 true of 8 predicted; the smaller part holds the whole of core
    labels = REGIONS
    pair = row(1, 1, 1, 1, 1, 0, 0, 0, 0, 2), row(1, 1, 1, 1, 1, 0, 1, 1, 1, 2)
    prediction, reference = folder_of(tmp_path, labels, [pair])
    folder = open_predictions(prediction)
    decisions = decide(folder, reference, folder.cases(), 1)
    assert decisions[1].what == "(1, 2)" and decisions[1].after["(1, 2)"] > decisions[1].before["(1, 2)"]
    assert decisions[1].after[MEAN] < decisions[1].before[MEAN] and not any(each.kept for each in decisions)
    pytest.importorskip("nnunetv2")
    nnunet_in_threads(monkeypatch, "nnunetv2.postprocessing.remove_connected_components",
                      "nnunetv2.evaluation.evaluate_predictions")
    assert nnunets_choice(prediction, reference) == [(1, 2)]


@pytest.mark.parametrize("content, found", [
    ({"postprocessing_fns": ["os.system"], "postprocessing_kwargs": [{"labels_or_regions": 1}]}, "os.system"),
    ({"postprocessing_fns": [], "postprocessing_kwargs": [{"labels_or_regions": 1}]}, "numbers of functions"),
    ({"postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"],
      "postprocessing_kwargs": [{"labels_or_regions": [1, 7]}]}, "7"),
    ({"postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"],
      "postprocessing_kwargs": [{"labels_or_regions": "1"}]}, "labels_or_regions"),
    ([], "got `array`"),
])
def test_other_files_are_refused(tmp_path: Path, capsys, content, found: str) -> None:
    prediction, _ = folder_of(tmp_path, PLAIN, [(row(1, 2), row(1, 2))])
    (tmp_path / "pp.json").write_text(json.dumps(content))
    given_flags = ["-i", str(prediction), "-o", str(tmp_path / "out"), "-np", "1"]
    assert apply([*given_flags, "-pp_file", str(tmp_path / "pp.json")]) == 2
    assert found in capsys.readouterr().err
    (tmp_path / "postprocessing.pkl").write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    assert apply([*given_flags, "-pp_pkl_file", str(tmp_path / "postprocessing.pkl")]) == 2
    assert "postprocessing.json" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_every_prediction_needs_its_reference(tmp_path: Path, capsys) -> None:
    prediction, reference = folder_of(tmp_path, PLAIN, [(row(1, 2), row(1, 2))] * 2)
    (reference / "case_1.nii.gz").unlink()
    assert determine(["-i", str(prediction), "-ref", str(reference), "-np", "1"]) == 2
    assert "1 of 2 are missing: case_1" in capsys.readouterr().err
    assert not (prediction / "postprocessing.json").exists() and not (prediction / "postprocessed").exists()


@pytest.mark.parametrize("fault", ["truncated", "unknown value"])
def test_one_bad_case_and_nothing_is_written(tmp_path: Path, capsys, fault: str) -> None:
    prediction, _ = folder_of(tmp_path, PLAIN, [(row(1, 2), row(1, 2))] * 2)
    last = prediction / "case_1.nii.gz"
    if fault == "truncated":
        last.write_bytes(last.read_bytes()[:60])
    else:
        write(last, row(1, 9))
    (tmp_path / "pp.json").write_text(json.dumps({
        "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"],
        "postprocessing_kwargs": [{"labels_or_regions": [1]}]}))
    given = ["-i", str(prediction), "-o", str(tmp_path / "out"), "-np", "1", "-pp_file", str(tmp_path / "pp.json")]
    assert apply(given) == 2
    assert str(last) in capsys.readouterr().err and not (tmp_path / "out").exists()
    write(last, row(1, 2))
    assert apply(given) == 0 and (tmp_path / "out" / "case_1.nii.gz").is_file()
