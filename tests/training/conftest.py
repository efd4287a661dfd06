"""A tiny made dataset: three cases whose embeddings show where the labels are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.planning.tiles import TileFrame
from samunet.training.sampling import LabelSlices
from samunet.training.trainer import TrainingSet
from samunet.variants.base import EmbeddingVariant, VariantContext

torch.set_num_threads(1)

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
DATASET_PLAN = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (4, 32, 32), False, ("MRI",), ("zscore",),
                           (False,), ({},))
SECTION = EncoderPlan("untrained", 32, (32, 32), 0.5, "repeat", 1, 4, "float16", 0, 20, 800)


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


def made_training_set() -> TrainingSet:
    frame = TileFrame((32, 32), (32, 32), 0.5)
    segmentations = []
    for case in range(3):
        segmentation = np.zeros((4, 32, 32), np.int16)
        segmentation[1:3, 4:20, 4 + case:20] = 1
        segmentation[2, 10:14, 10:14] = 2
        segmentations.append(segmentation)
    return TrainingSet(("one", "two", "three"), [MadeEmbeddings(frame, 4, seed) for seed in range(3)],
                       [LabelSlices.build(segmentation, frame, LABELS) for segmentation in segmentations])


def tiny_variant(seed: int = 0) -> TinyVariant:
    torch.manual_seed(seed)
    return TinyVariant(VariantContext(LABELS, DATASET_PLAN, SECTION, {}))


@pytest.fixture
def training_set() -> TrainingSet:
    return made_training_set()


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """This module: its plans, its labels, `tiny_variant`."""
    return sys.modules[__name__]
