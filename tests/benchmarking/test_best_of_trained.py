"""Real models from training to post-processed predictions, by the commands that samunet_find_best_configuration prints.
"""

from __future__ import annotations

import json
import shlex
from importlib import import_module
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from samunet.dataset.paths import Paths


def run(name: str, *given: str) -> None:
    assert import_module(f"samunet.cli.{name}").main(list(given)) == 0


def test_the_printed_commands_lead_to_the_cross_validated_labels(paths: Paths, tmp_path: Path, capsys) -> None:
    """Validation cases of a fold, predicted by its model alone and post-processed, are the ones that were compared."""
    folders = ["--raw", str(paths.raw), "--preprocessed", str(paths.preprocessed), "--results", str(paths.results)]
    for variant, length in (("label_prior", []), ("linear_head", ["--iterations", "3"])):
        for fold in ("0", "1"):
            run("train", "5", variant, fold, "-p", "tiny", "--encoder", "untrained", "--npz", "-device", "cpu", "-np",
                "1", *length, *folders)
    run("find_best_configuration", "5", "-f", "0", "1", "-p", "tiny", "-np", "1", *folders)
    results = paths.results / "Dataset005_Made"
    scores = json.loads((results / "inference_information.json").read_text())["all_results"]
    assert [name.count("__untrained") for name in scores] == [1, 1, 2]

    images = tmp_path / "images"
    images.mkdir()
    for name in "def":  # validated in fold 0
        (images / f"{name}_0000.nii.gz").symlink_to(paths.raw / "Dataset005_Made" / "imagesTr" / f"{name}_0000.nii.gz")
    for line in (results / "inference_instructions.txt").read_text().splitlines()[1:]:
        command, *words = shlex.split(line)
        words = [str(images) if word == "INPUT_FOLDER" else str(tmp_path / word) if word.startswith("OUTPUT_") else word
                 for word in words]
        if command == "samunet_predict":
            words.remove("1")  # fold 0 alone did not see these cases
            words += ["-device", "cpu"]
        run(command.removeprefix("samunet_"), *words)
    best = max(scores, key=lambda name: scores[name])
    compared = (results / "ensembles" / best if best.startswith("ensemble") else
                results / best / "crossval_results_folds_0_1") / "postprocessed"
    for name in "def":
        arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{name}.nii.gz")))
                  for folder in (tmp_path / "OUTPUT_FOLDER_PP", compared)]
        np.testing.assert_array_equal(*arrays)
        assert arrays[0].any()
