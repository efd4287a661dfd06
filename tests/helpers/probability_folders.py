"""Folders of predictions with probabilities, as samunet and as nnU-Net write them, and nnU-Net run in this process."""

from __future__ import annotations

import importlib
import json
import multiprocessing.dummy
import pickle
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from samunet.dataset.geometry import Geometry
from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.inference.export import Exported
from samunet.inference.nnunet_files import nnunet_plans, reader_properties, write_companions, write_prediction
from samunet.planning.plans import DatasetPlan, Plans
from samunet.preprocessing.case import CaseProperties

GEOMETRY = Geometry("SimpleITKIO", (4, 9, 8), (3.0, 1.5, 1.25), (-12.5, 3.25, 40.0),
                    (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
PLAIN = {"labels": {"background": 0, "a": 1, "b": 2}}
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
PLANS = Plans("samunetPlans", "Dataset900_Phantom",
              DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (3.0, 1.5, 1.25), (4, 9, 8), False, ("MRI",),
                          ("zscore",), (False,), ({},)), {})


def dataset_json(labels: dict[str, Any]) -> dict[str, Any]:
    return {"channel_names": {"0": "MRI"}, "numTraining": 3, "file_ending": ".nii.gz", **labels}


def random_probabilities(labels: LabelSpace, seed: Sequence[int]) -> np.ndarray:
    """Float32 (K, Z, Y, X), smooth, of every class somewhere."""
    noise = np.random.default_rng(seed).normal(size=(labels.channels, *GEOMETRY.shape))
    scores = np.exp(8 * gaussian_filter(noise, (0, 1, 1, 1)))
    return (scores / (1 + scores) if labels.has_regions else scores / scores.sum(0)).astype(np.float32)


def write_folder(folder: Path, labels: dict[str, Any], names: Sequence[str], seed: int, *, nnunet: bool = False,
                 geometry: Geometry = GEOMETRY, companions: bool = True) -> None:
    """Write segmentations and probabilities as samunet's prediction does, or as nnU-Net's."""
    space = LabelSpace.from_dataset_json(labels)
    for number, name in enumerate(names):
        probabilities = random_probabilities(space, [seed, number])
        segmentation = space.decode(probabilities, threshold=0.5)
        if nnunet:
            folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(folder / f"{name}.npz", probabilities=probabilities)
            (folder / f"{name}.pkl").write_bytes(pickle.dumps(reader_properties(geometry)))
            reader_named("SimpleITKIO").write_segmentation(segmentation, folder / f"{name}.nii.gz", geometry)
        else:
            properties = CaseProperties(name, geometry, geometry.shape, tuple((0, size) for size in geometry.shape),
                                        geometry.shape, geometry.shape, ((0.0, 1.0),), "", None, {})
            write_prediction(Exported(segmentation, probabilities), folder, properties, ".nii.gz")
    if companions and nnunet:
        (folder / "dataset.json").write_text(json.dumps(dataset_json(labels)))
        (folder / "plans.json").write_text(json.dumps(nnunet_plans(PLANS)))
    elif companions:
        write_companions(folder, PLANS, dataset_json(labels), {})


def nnunet_in_threads(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """nnU-Net's pools in these modules as threads: its processes take seconds to start."""
    for name in modules:
        module = importlib.import_module(name)
        monkeypatch.setattr(module, "multiprocessing", SimpleNamespace(get_context=lambda _: multiprocessing.dummy))
