"""Results of two folds and several models, for samunet and for nnU-Net, with the same segmentations in both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from probability_folders import GEOMETRY, PLANS, dataset_json, random_probabilities, write_folder

from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.evaluation.evaluate import evaluate_folder
from samunet.files import write_json
from samunet.inference.nnunet_files import nnunet_plans

DATASET = "Dataset900_Phantom"
FOLDS = {"0": ("a", "b"), "1": ("c",)}


def write_models(root: Path, labels: dict, seeds: Mapping[str, int]) -> None:
    """samunet's results of variants with these seeds, and the labels; equal seeds predict the same."""
    space = LabelSpace.from_dataset_json(labels)
    for number, name in enumerate(name for names in FOLDS.values() for name in names):
        reference = space.decode(random_probabilities(space, [100, number]), threshold=0.5)
        for folder in (root / "preprocessed" / DATASET / "gt_segmentations", root / "raw" / DATASET / "labelsTr"):
            folder.mkdir(parents=True, exist_ok=True)
            reader_named("SimpleITKIO").write_segmentation(reference, folder / f"{name}.nii.gz", GEOMETRY)
    for variant, seed in seeds.items():
        model = root / "results" / DATASET / f"{variant}__samunetPlans__untrained"
        for fold, names in FOLDS.items():
            write_fold(root, model, labels, fold, names, seed)
        PLANS.save(model / "plans.json")
        write_json(model / "dataset.json", dataset_json(labels))


def write_fold(root: Path, model: Path, labels: dict, fold: str, names: Sequence[str], seed: int) -> None:
    folder = model / f"fold_{fold}" / "validation"
    write_folder(folder, labels, names, 10 * seed + int(fold), companions=False)
    evaluate_folder(root / "preprocessed" / DATASET / "gt_segmentations", folder, LabelSpace.from_dataset_json(labels),
                    ".nii.gz", "SimpleITKIO", None, 1, names=names)
    write_json(folder.parent / "run.json", {
        "variant": model.name.split("__")[0], "encoder": {"id": "untrained", "name": "untrained", "digest": None},
        "finished": "2026-01-01T00:00:00+00:00", "trained_by": "samunet_train", "settings": {},
        "val_cases": list(names)})


def copy_for_nnunet(root: Path, variants: Sequence[str], configurations: Sequence[str]) -> dict[str, str]:
    """The same folds as nnU-Net's results under `root`/nnunet; returns nnU-Net's environment variables."""
    base = root / "nnunet"
    content = nnunet_plans(PLANS) | {"plans_name": "nnUNetPlans", "configurations": {
        name: {"architecture": {}, "spacing": [3.0, 1.5, 1.25]} for name in configurations}}
    for variant, name in zip(variants, configurations, strict=True):
        source = root / "results" / DATASET / f"{variant}__samunetPlans__untrained"
        target = base / "results" / DATASET / f"nnUNetTrainer__nnUNetPlans__{name}"
        for fold in FOLDS:
            shutil.copytree(source / f"fold_{fold}" / "validation", target / f"fold_{fold}" / "validation")
        (target / "plans.json").write_text(json.dumps(content))
        shutil.copyfile(source / "dataset.json", target / "dataset.json")
    preprocessed = base / "preprocessed" / DATASET
    shutil.copytree(root / "preprocessed" / DATASET, preprocessed)
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(content))
    return {f"nnUNet_{name}": str(base / name) for name in ("raw", "preprocessed", "results")}
