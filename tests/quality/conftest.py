"""Six cases in two folds, and a label prior of each fold: predictions that differ from case to case, in seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.dataset import load_dataset
from samunet.dataset.paths import Paths
from samunet.files import make_folder, write_json
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.preprocess import preprocess_dataset
from samunet.training.run import ensure_trained
from samunet.training.settings import Request

NAMES = ("a", "b", "c", "d", "e", "f")
DATASET = "Dataset005_Made"
MODEL = "label_prior__tiny__untrained"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Raw data, preprocessed data and both folds of the model."""
    root = tmp_path_factory.mktemp("quality")
    paths = Paths(root / "raw", root / "preprocessed", root / "results")
    raw, preprocessed = paths.raw / DATASET, paths.preprocessed / DATASET
    random = np.random.default_rng([7])
    for index, name in enumerate(NAMES):
        labels = np.zeros((3, 30, 28), np.uint8)
        labels[1:, 4 + index : 18, 5:15] = 1
        labels[2, 20:24, 7 : 11 + index] = 2
        image = (labels * 40.0 + random.normal(100, 5, labels.shape)).astype(np.float32)
        for path, volume in ((raw / "imagesTr" / f"{name}_0000.nii.gz", image),
                             (raw / "labelsTr" / f"{name}.nii.gz", labels),
                             (preprocessed / "gt_segmentations" / f"{name}.nii.gz", labels)):
            make_folder(path.parent)
            sitk.WriteImage(sitk.GetImageFromArray(volume), str(path))
    write_json(raw / "dataset.json", {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "big": 1, "small": 2},
                                      "numTraining": len(NAMES), "file_ending": ".nii.gz"})
    plan = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (3, 30, 28), False, ("MRI",), ("zscore",),
                       (False,), ({},))
    section = EncoderPlan("untrained", 32, (32, 32), 0.5, "repeat", 4, "float16", 0, 20, 0)
    plans = Plans("tiny", DATASET, plan, {"untrained": section})
    plans.save(preprocessed / "tiny.json")
    write_json(preprocessed / "dataset_fingerprint.json", {"made": True})
    write_json(preprocessed / "splits_final.json", [{"train": ["a", "b", "c"], "val": ["d", "e", "f"]},
                                                    {"train": ["d", "e", "f"], "val": ["a", "b", "c"]}])
    preprocess_dataset(load_dataset(raw), plans, preprocessed / "tiny" / "arrays", 1)
    for fold in ("0", "1"):
        request = Request("5", "label_prior", fold, "untrained", "tiny")
        ensure_trained(request, paths, trained_by="samunet_train", workers=1)
    return paths


@pytest.fixture
def model(trained: Paths, tmp_path: Path) -> Path:
    """A copy of the model, to be calibrated or damaged."""
    return shutil.copytree(trained.results / DATASET / MODEL, tmp_path / DATASET / MODEL)
