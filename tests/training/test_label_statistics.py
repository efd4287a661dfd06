"""Object sizes worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import EncoderPlan
from samunet.training.label_statistics import (
    case_statistics,
    label_statistics,
    voxels_per_token,
    warn_of_small_objects,
)

LABELS = LabelSpace({"background": 0, "square": 1, "dot": 2, "absent": 3})


def test_a_token_of_a_tile_of_64_at_256_pixels_covers_4_voxels() -> None:
    assert voxels_per_token(EncoderPlan("untrained", 256, (48, 64), 0.5, "repeat", 4, "float16", 0, 20)) == 4


def test_figures_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    segmentation = np.full((4, 20, 20), -1, np.int16)
    segmentation[0, :9, :9] = 1
    segmentation[1, :10, :10] = 1
    segmentation[2, :12, :12] = 1
    segmentation[3, 5:7, 5:7] = 2
    figures = case_statistics(segmentation, LABELS, 4.0)
    assert figures["square"] == {"voxels_per_slice": [81, 100, 144, 0], "voxels": 325, "in_plane_extent_voxels": 10.0,
                                 "in_plane_extent_tokens": 2.5}
    assert figures["dot"]["in_plane_extent_tokens"] == 0.5
    assert figures["absent"]["in_plane_extent_voxels"] is None
    statistics = label_statistics({"one": figures}, LABELS, 4.0)
    assert statistics["classes"]["square"] == {"cases": 1, "median_voxels": 325.0,
                                               "median_in_plane_extent_voxels": 10.0,
                                               "median_in_plane_extent_tokens": 2.5}
    warn_of_small_objects(statistics)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "'dot' spans 0.5 tokens" in said[0] and "no training case holds 'absent'" in said[1]


def test_regions_are_named_as_in_the_dataset() -> None:
    regions = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))
    segmentation = np.zeros((1, 4, 4), np.int16)
    segmentation[0, 0, :3] = 1
    segmentation[0, 1, 0] = 2
    figures = case_statistics(segmentation, regions, 1.0)
    assert figures["whole"]["voxels"] == 4 and figures["core"]["voxels"] == 1
