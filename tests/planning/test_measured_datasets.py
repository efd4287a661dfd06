"""Plans of datasets with the image sizes of the two that the studies measure, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from samunet.dataset.dataset import RawDataset
from samunet.dataset.labels import LabelSpace
from samunet.planning.encoder_spec import NAMED_ENCODERS
from samunet.planning.fingerprint import Fingerprint
from samunet.planning.planner import plan_dataset, plan_encoder
from samunet.planning.sections import DatasetPlan, EncoderPlan
from samunet.planning.volume_rules import plan_volume

Shapes = tuple[tuple[int, int, int], ...]
# The smallest case, the median, and the largest.
HIPPOCAMPUS: Shapes = ((24, 40, 31), (36, 50, 35), (36, 50, 35), (36, 50, 35), (47, 59, 43))
ACDC: Shapes = ((6, 154, 154), (9, 256, 216), (9, 256, 216), (9, 256, 216), (18, 512, 428))


def plans(spacing_mm: tuple[float, float, float], shapes: Shapes) -> tuple[DatasetPlan, EncoderPlan]:
    labels = LabelSpace.from_dataset_json({"labels": {"background": 0, "one": 1, "two": 2}})
    dataset = RawDataset(Path("Dataset001_Made"), "Dataset001_Made", labels, ("MRI",), ".nii.gz", "SimpleITKIO", (),
                         frozenset(), {})
    fingerprint = Fingerprint((spacing_mm,) * len(shapes), shapes, 1.0, {}, 3, "digest")
    plan = plan_dataset(dataset, fingerprint)
    return plan, plan_encoder(plan, fingerprint, NAMED_ENCODERS["mini"])


@pytest.fixture
def hippocampus() -> tuple[DatasetPlan, EncoderPlan]:
    return plans((1.0, 1.0, 1.0), HIPPOCAMPUS)


@pytest.fixture
def acdc() -> tuple[DatasetPlan, EncoderPlan]:
    return plans((10.0, 1.5625, 1.5625), ACDC)


def test_hybrid_reads_volumes_of_the_same_size_whatever_the_encoder_reads(hippocampus, acdc) -> None:
    # 65536 // (59 * 43) = 25 slices, of which 24 can be halved twice. The extent of ACDC is 1.25 times the median's
    # 256 x 216, 320 x 270, and a tile half of it: 65536 // (160 * 135) = 3 slices. Larger volumes lost 0.28 Dice on it
    # in equal minutes (studies/hybrid.md).
    assert plan_volume(*hippocampus).shape == (24, 59, 43)
    assert plan_volume(*acdc).shape == (3, 160, 135)


def test_3d_adapters_and_3d_patches_are_planned_beside_the_embeddings(hippocampus, acdc) -> None:
    # 59 voxels are 14.8 voxels a token at 64 pixels and 7.4 at 128; 160 voxels are 10 at 256, which is the most.
    assert [plan.adapters.input_size for _, plan in (hippocampus, acdc)] == [128, 256]
    assert [plan.adapters.slices for _, plan in (hippocampus, acdc)] == [5, 5]
    assert [plan.patches_3d and plan.patches_3d.shape for _, plan in (hippocampus, acdc)] == [(36, 52, 36), (8, 64, 64)]


def test_tiles_of_the_embeddings(hippocampus, acdc) -> None:
    assert [(plan.tile_shape, plan.tile_step) for _, plan in (hippocampus, acdc)] == [((59, 43), 0.5),
                                                                                      ((160, 135), 0.5)]
    # 24 + 3 * 36 + 47 slices of one tile; on ACDC 6 slices of one tile (154 <= 160, but 154 columns need two of 135),
    # 27 of 3 x 3 and 18 of 6 x 6, each end reached in steps of at most half a tile.
    images = [plan.cache_bytes // (2 * 256 * (plan.input_size // 16) ** 2) for _, plan in (hippocampus, acdc)]
    assert images == [179, 6 * 2 + 27 * 9 + 18 * 36]
