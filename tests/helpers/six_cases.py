"""A dataset of six synthetic cases in two folds, planned and preprocessed for the untrained encoder at 32 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from samunet.dataset.dataset import load_dataset
from samunet.dataset.paths import Paths
from samunet.files import make_folder, write_json
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.preprocess import preprocess_dataset

NAMES = ("a", "b", "c", "d", "e", "f")
DATASET = "Dataset005_Made"
PLANS = "tiny"


def six_cases(root: Path) -> Paths:
    """Raw and preprocessed data below `root`, where a folder of results would be too; see the constants above."""
    paths = Paths(root / "raw", root / "preprocessed", root / "results")
    raw, preprocessed = paths.raw / DATASET, paths.preprocessed / DATASET
    random = np.random.default_rng(7)
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
    dataset_plan = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (3, 30, 28), False, ("MRI",),
                               ("zscore",), (False,), ({},))
    section = EncoderPlan("untrained", 32, (32, 32), 0.5, "repeat", 4, "float16", 0, 20, 0)
    plans = Plans(PLANS, DATASET, dataset_plan, {"untrained": section})
    plans.save(preprocessed / f"{PLANS}.json")
    write_json(preprocessed / "dataset_fingerprint.json", {"made": True})
    write_json(preprocessed / "splits_final.json", [{"train": ["a", "b", "c"], "val": ["d", "e", "f"]},
                                                    {"train": ["d", "e", "f"], "val": ["a", "b", "c"]}])
    preprocess_dataset(load_dataset(raw), plans, preprocessed / PLANS / "arrays", 1)
    return paths
