"""A dataset of six synthetic cases in two folds, planned and preprocessed for the untrained encoder at 32 pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from samunet.benchmarking import choice, machines
from samunet.dataset.dataset import load_dataset
from samunet.dataset.paths import Paths
from samunet.files import make_folder, write_json
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.preprocess import preprocess_dataset

NAMES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("benchmark")
    raw, preprocessed = root / "raw" / "Dataset005_Made", root / "preprocessed" / "Dataset005_Made"
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
    write_json(raw / "dataset.json", {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1, "b": 2},
                                      "numTraining": len(NAMES), "file_ending": ".nii.gz"})
    dataset_plan = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (3, 30, 28), False, ("MRI",),
                               ("zscore",),
                               (False,), ({},))
    section = EncoderPlan("untrained", 32, (32, 32), 0.5, "repeat", 4, "float16", 0, 20, 0)
    plans = Plans("tiny", "Dataset005_Made", dataset_plan, {"untrained": section})
    plans.save(preprocessed / "tiny.json")
    write_json(preprocessed / "dataset_fingerprint.json", {"made": True})
    write_json(preprocessed / "splits_final.json", [{"train": ["a", "b", "c"], "val": ["d", "e", "f"]},
                                                    {"train": ["d", "e", "f"], "val": ["a", "b", "c"]}])
    preprocess_dataset(load_dataset(raw), plans, preprocessed / "tiny" / "arrays", 1)
    return root


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    return Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")


@contextmanager
def _jobs_here() -> Iterator[None]:
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        for module in (choice, machines):
            patch.setattr(module, "in_own_process", lambda work, *arguments: work(*arguments))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def jobs_here() -> Callable[[], AbstractContextManager[None]]:
    """A context in which jobs run in this process, which has torch loaded, instead of one of their own."""
    return _jobs_here


@pytest.fixture
def here() -> Iterator[None]:
    """The whole test is in that context."""
    with _jobs_here():
        yield
