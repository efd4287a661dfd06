"""A mini SAM with untrained weights and one small made batch, which several tests read and none changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from samunet.networks.checkpoints.untrained import untrained_state
from samunet.networks.sam import Sam, build_sam
from samunet.pretraining.anatomy import FAR, GRID, LABELS, PARTITION, Anatomies
from samunet.pretraining.batches import Batch, BatchShape, make_batch


@pytest.fixture(scope="session")
def small_batch() -> Batch:
    """One family of four patients, two slices of 64 x 64 pixels each."""
    return make_batch(BatchShape(1, 4, 2, 64), 3, 0)


@pytest.fixture(scope="session")
def mini_sam() -> Sam:
    """A mini SAM with the `untrained` weights."""
    sam = build_sam("mini", 256)
    sam.load_state_dict(untrained_state())
    return sam


@pytest.fixture(scope="session")
def cube() -> Tensor:
    """Coordinates (x, y, z) of the fields' samples, float (GRID, GRID, GRID, 3); x varies along the last axis."""
    axis = torch.linspace(-1, 1, GRID)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([x, y, z], -1)


@pytest.fixture(scope="session")
def anatomy_of(cube: Tensor) -> Callable[..., Anatomies]:
    """One anatomy of hand-made fields, by label; label 0 is everywhere where no other is given."""

    def make(fields: dict[int, Tensor]) -> Anatomies:
        stack = torch.full((1, LABELS, GRID, GRID, GRID), FAR)
        stack[:, :PARTITION] = -FAR
        stack[:, 0] = 0.0
        for label, field in fields.items():
            stack[0, label] = field
        return Anatomies(stack)

    return make
