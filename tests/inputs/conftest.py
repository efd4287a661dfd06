"""Two made cases, their plans and the untrained encoder at 64 pixels, for the tests of embeddings and their cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_dataset import made

from samunet.dataset.geometry import Geometry
from samunet.files import digest_of_array
from samunet.networks.checkpoints.encoders import Encoder, load_encoder
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.store import ArrayStore

__all__ = ["arrays", "encoder", "made", "plans"]

torch.set_num_threads(1)

SHAPE = (2, 12, 8)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("untrained", 64)


@pytest.fixture(params=["float16"])
def plans(request: pytest.FixtureRequest) -> Plans:
    """Two channels, tiles of 8 x 8: two tiles a slice. A test may parametrize the number type of the cache."""
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1, 1, 1), SHAPE, False, ("a", "b"),
                          ("zscore", "zscore"), (False, False), ({}, {}))
    section = EncoderPlan("untrained", 64, (8, 8), 0.5, "neighbours", 2, request.param, 0, 10, 800)
    return Plans("samunetPlans", "Dataset001_Made", dataset, {"untrained": section})


@pytest.fixture
def arrays(tmp_path: Path) -> ArrayStore:
    """Cases `one` and `two`, two slices each, in `tmp_path / "arrays"`."""
    store = ArrayStore(tmp_path / "arrays")
    for number, name in enumerate(("one", "two")):
        image = np.random.default_rng(number).standard_normal((2, *SHAPE), dtype=np.float32)
        segmentation = np.zeros((1, *SHAPE), np.int16)
        store.write(PreparedCase(image, segmentation, CaseProperties(
            name, Geometry("SimpleITKIO", SHAPE, (1, 1, 1)), SHAPE, ((0, 2), (0, 12), (0, 8)), SHAPE, SHAPE,
            ((-2.0, 2.0), (-2.0, 2.0)), digest_of_array(image), digest_of_array(segmentation), {})))
    return store
