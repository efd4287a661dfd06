"""The best of what is trained is nnU-Net's choice on the same predictions; what is missing is one message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from probability_folders import PLAIN, REGIONS, nnunet_in_threads
from trained_models import DATASET, copy_for_nnunet, write_models

from samunet.cli.find_best_configuration import main
from samunet.files import read_json, write_json

VARIANTS = ("atlas", "hybrid", "unet")
CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres")
MODEL = "{}__samunetPlans__untrained"


def flags(root: Path) -> list[str]:
    return ["-np", "1", *(word for name in ("raw", "preprocessed", "results")
                          for word in (f"--{name}", str(root / name)))]


def information(root: Path) -> dict:
    return json.loads((root / "results" / DATASET / "inference_information.json").read_text())


@pytest.mark.parametrize("labels, seeds, members", [(PLAIN, (1, 2, 3), 2), (REGIONS, (4, 5, 6), 1),
                                                    (PLAIN, (7, 7, 7), 1)], ids=["ensemble", "regions", "tie"])
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_the_choice_is_nnunets(tmp_path: Path, monkeypatch, labels: dict, seeds: tuple[int, ...],
                                members: int) -> None:
    pytest.importorskip("nnunetv2")
    write_models(tmp_path, labels, dict(zip(VARIANTS, seeds, strict=True)))
    for name, value in copy_for_nnunet(tmp_path, VARIANTS, CONFIGURATIONS).items():
        monkeypatch.setenv(name, value)
    from nnunetv2.evaluation.find_best_configuration import (
        dumb_trainer_config_plans_to_trained_models_dict,
        find_best_configuration,
    )

    nnunet_in_threads(monkeypatch, "nnunetv2.postprocessing.remove_connected_components",
                      "nnunetv2.evaluation.evaluate_predictions", "nnunetv2.ensembling.ensemble")
    models = dumb_trainer_config_plans_to_trained_models_dict(["nnUNetTrainer"], list(CONFIGURATIONS), ["nnUNetPlans"])
    theirs = find_best_configuration(DATASET, models, True, 1, True, (0, 1))
    assert main(["900", "-f", "0", "1", *flags(tmp_path)]) == 0
    ours = information(tmp_path)
    assert list(ours["all_results"].values()) == pytest.approx(list(theirs["all_results"].values()), abs=1e-12)
    assert len(ours["all_results"]) == 6
    best, other = ours["best_model_or_ensemble"], theirs["best_model_or_ensemble"]
    named = dict(zip(VARIANTS, CONFIGURATIONS, strict=True))
    assert ([named[each["variant"]] for each in best["selected_model_or_models"]]
            == [each["configuration"] for each in other["selected_model_or_models"]])
    assert len(best["selected_model_or_models"]) == members
    for key in ("result_on_crossval_pre_pp", "result_on_crossval_post_pp"):
        assert best[key] == pytest.approx(other[key], abs=1e-12)
    assert best["result_on_crossval_post_pp"] >= best["result_on_crossval_pre_pp"]


def test_the_command_lines_and_folders(tmp_path: Path, capsys) -> None:
    write_models(tmp_path, PLAIN, {"hybrid": 1, "unet": 2})
    results = tmp_path / "results" / DATASET
    assert main([DATASET, "-f", "0", "1", *flags(tmp_path)]) == 0
    name = f"ensemble___{MODEL.format('hybrid')}___{MODEL.format('unet')}___0_1"
    folder = results / "ensembles" / name
    assert {path.name for path in folder.iterdir()} == {
        "a.nii.gz", "b.nii.gz", "c.nii.gz", "summary.json", "metrics.json", "dataset.json", "plans.json",
        "postprocessing.json", "postprocessed"}
    lines = (results / "inference_instructions.txt").read_text().splitlines()
    first, second = results / MODEL.format("hybrid"), results / MODEL.format("unet")
    predict = "samunet_predict -i INPUT_FOLDER -o OUTPUT_FOLDER_MODEL_{} -m {} -f 0 1 --save_probabilities"
    assert lines[1:] == [
        predict.format(1, first), predict.format(2, second),
        "samunet_ensemble -i OUTPUT_FOLDER_MODEL_1 OUTPUT_FOLDER_MODEL_2 -o OUTPUT_FOLDER",
        f"samunet_apply_postprocessing -i OUTPUT_FOLDER -o OUTPUT_FOLDER_PP -pp_file {folder / 'postprocessing.json'}"]
    assert lines[1] in capsys.readouterr().err
    before = (folder / "a.nii.gz").stat().st_mtime_ns
    assert main([DATASET, "-f", "0", "1", "--no_overwrite", *flags(tmp_path)]) == 0
    assert (folder / "a.nii.gz").stat().st_mtime_ns == before
    assert main([DATASET, "-f", "0", "1", "-v", "unet", "hybrid", "--disable_ensembling", *flags(tmp_path)]) == 0
    assert list(information(tmp_path)["all_results"]) == [MODEL.format("unet"), MODEL.format("hybrid")]
    assert "--save_probabilities" not in (results / "inference_instructions.txt").read_text()


def fold_of(root: Path, variant: str, fold: str) -> Path:
    return root / "results" / DATASET / MODEL.format(variant) / f"fold_{fold}"


def unfinished(root: Path) -> None:
    path = fold_of(root, "unet", "1") / "run.json"
    write_json(path, {**read_json(path), "finished": None})


def with_oracle(root: Path) -> None:
    path = fold_of(root, "unet", "1") / "run.json"
    write_json(path, {**read_json(path), "settings": {"oracle_prompts": "points"}})


def other_cases(root: Path) -> None:
    path = fold_of(root, "unet", "1") / "run.json"
    write_json(path, {**read_json(path), "val_cases": ["c", "d"]})


@pytest.mark.parametrize("damage, given, found", [
    (unfinished, ["-v", "hybrid", "unet"], "missing: fold 1"),
    (lambda root: None, ["-v", "hybrid", "atlas"], "no atlas"),
    (lambda root: None, ["-f", "0", "1", "2"], "none of 2 models has folds 0, 1, 2"),
    (other_cases, [], "missing, or of other cases: d"),
    (lambda root: (fold_of(root, "unet", "0") / "validation" / "a.nii.gz").unlink(), [], "other cases: a"),
    (lambda root: (fold_of(root, "unet", "0") / "validation" / "a.npz").unlink(), [],
     f"samunet_train {DATASET} unet 0 -p samunetPlans --encoder untrained --val --npz"),
])
def test_what_is_missing_is_reported_and_nothing_is_written(tmp_path: Path, capsys, damage, given, found: str) -> None:
    write_models(tmp_path, PLAIN, {"hybrid": 1, "unet": 2})
    damage(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["900", *(given if "-f" in given else ["-f", "0", "1", *given]), *flags(tmp_path)]) == 2
    assert found in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("damage, reason", [(unfinished, "lacks fold 1"), (with_oracle, "validated with prompts")])
def test_models_that_cannot_be_compared_are_left_out(tmp_path: Path, capsys, damage, reason: str) -> None:
    write_models(tmp_path, PLAIN, {"hybrid": 1, "unet": 2})
    damage(tmp_path)
    assert main(["900", "-f", "0", "1", *flags(tmp_path)]) == 0
    assert list(information(tmp_path)["all_results"]) == [MODEL.format("hybrid")]
    assert f"left out: {MODEL.format('unet')}, which" in (told := capsys.readouterr().err) and reason in told


@pytest.mark.parametrize("given, found", [
    (["4", "-d", "4"], "4 and -d 4"),
    ([], "neither"),
    (["4", "--shots", "5", "-device", "cpu"], "--shots, -device"),
    (["-d", "4", "--disable_ensembling", "-np", "1"], "-np, --disable_ensembling"),
    (["-d", "4", "-f", "0", "1"], "-f with several values"),
])
def test_the_two_forms_exclude_each_other(capsys, given: list[str], found: str) -> None:
    assert main(given) == 2
    message = capsys.readouterr().err
    assert message.count("error:") == 1 and f"found: {found}" in message
