"""A tiny made dataset: three cases whose embeddings show where the labels are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor, nn

from samunet.dataset.dataset import load_dataset
from samunet.dataset.labels import LabelSpace
from samunet.files import write_json
from samunet.inputs.batches import Batches
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.inputs.tiles import TileSamples
from samunet.planning.plans import AdapterPlan, DatasetPlan, EncoderPlan, Plans
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.preprocess import preprocess_dataset
from samunet.variants.base import VariantContext
from samunet.variants.kinds import EmbeddingVariant

torch.set_num_threads(1)

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
DATASET_PLAN = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (4, 32, 32), False, ("MRI",),
                           ("zscore",),
                           (False,), ({},))
SECTION = EncoderPlan("untrained", 32, (32, 32), 0.5, "repeat", 4, "float16", 0, 20, 800,
                      adapters=AdapterPlan(3, input_size=16))


@dataclass(frozen=True)
class MadeEmbeddings:
    """Cached embeddings in memory: (slice, tile) -> (256, 2, 2), made from the slice's number."""

    frame: TileFrame
    depth: int
    seed: int

    def read(self, picks: Sequence[tuple[int, int]]) -> Tensor:
        drawn = [np.random.default_rng([self.seed, *pick]).standard_normal((256, 2, 2), np.float32) for pick in picks]
        return torch.from_numpy(np.stack(drawn))


class TinyVariant(EmbeddingVariant):
    """One convolution, normalisation and dropout: everything that must survive a resume."""

    learning_rate = 1e-2

    def build_network(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(256, 8, 1), nn.BatchNorm2d(8), nn.Dropout(0.3), nn.Conv2d(8, 3, 1),
                             nn.Upsample(scale_factor=4))


NAMES = ("one", "two", "three")
CASES = ("a1", "a2", "b1", "b2", "c1", "d1")
UNLABELLED = "b2"


def made_labels() -> list[LabelSlices]:
    frame = TileFrame((32, 32), (32, 32), 0.5)
    segmentations = []
    for case in range(3):
        segmentation = np.zeros((4, 32, 32), np.int16)
        segmentation[1:3, 4:20, 4 + case:20] = 1
        segmentation[2, 10:14, 10:14] = 2
        segmentations.append(segmentation)
    return [LabelSlices.build(segmentation, frame, LABELS) for segmentation in segmentations]


def made_embeddings() -> list[MadeEmbeddings]:
    return [MadeEmbeddings(TileFrame((32, 32), (32, 32), 0.5), 4, seed) for seed in range(3)]


def made_batches() -> Batches:
    labels = made_labels()
    return Batches(NAMES, Sampler(labels, LABELS, 4, 0), TileSamples(made_embeddings(), labels))


def tiny_variant(seed: int = 0) -> TinyVariant:
    torch.manual_seed(seed)
    return TinyVariant(VariantContext(LABELS, DATASET_PLAN, SECTION, {}))


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """This module: its plans, its labels, `tiny_variant`."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A root with raw and preprocessed folders; every file but the embeddings is there."""
    root = tmp_path_factory.mktemp("prepared")
    raw, preprocessed = root / "raw" / "Dataset005_Made", root / "preprocessed" / "Dataset005_Made"
    random = np.random.default_rng([7])
    for name in CASES:
        segmentation = np.zeros((3, 30, 28), np.uint8)
        segmentation[1:, 6:18, 5:15] = 1
        segmentation[2, 8:12, 7:11] = 2
        image = segmentation * 40.0 + random.normal(100, 5, segmentation.shape)
        _write(raw / "imagesTr" / f"{name}_0000.nii.gz", image.astype(np.float32))
        if name != UNLABELLED:
            for folder in (raw / "labelsTr", preprocessed / "gt_segmentations"):
                _write(folder / f"{name}.nii.gz", segmentation)
    write_json(raw / "dataset.json", {
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1, "b": 2}, "numTraining": len(CASES),
        "file_ending": ".nii.gz", "unlabelled": [UNLABELLED],
    })
    plans = Plans("tiny", "Dataset005_Made", DATASET_PLAN, {"untrained": SECTION})
    plans.save(preprocessed / "tiny.json")
    write_json(preprocessed / "dataset_fingerprint.json", {"made": True})
    splits = [{"train": ["a1", "a2", "b1"], "val": ["c1", "d1"]}, {"train": ["c1", "d1"], "val": ["a1", "a2", "b1"]}]
    write_json(preprocessed / "splits_final.json", splits)
    preprocess_dataset(load_dataset(raw), plans, preprocessed / "tiny" / "arrays", 1)
    return root


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
