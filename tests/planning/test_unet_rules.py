"""nnU-Net's rules: two grids by hand, then nnU-Net's own planner on made ones."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from samunet.planning.plans import DatasetPlan
from samunet.planning.unet_rules import plan_unet, topology


def grid(spacing_mm: tuple[float, float, float], shape: tuple[int, int, int], channels: int = 1) -> DatasetPlan:
    names = tuple(f"channel {index}" for index in range(channels))
    return DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), spacing_mm, shape, False, names, ("zscore",) * channels,
                       (False,) * channels, ({},) * channels)


def test_hippocampus_by_hand() -> None:
    # 50 -> 25 -> 13 -> 7 stops below 8; 35 -> 18 -> 9 -> 5; so three halvings each, and sides that 8 divides.
    plan = plan_unet(grid((1.0, 1.0, 1.0), (36, 50, 35)), classes=3, dimensions=2)
    assert plan.patch == (56, 40)
    assert plan.strides == ((1, 1), (2, 2), (2, 2), (2, 2)) and plan.kernels == ((3, 3),) * 4
    assert plan.widths == (32, 64, 128, 256)
    assert plan.batch_size == 12


def test_thick_slices_are_halved_late_and_have_flat_kernels_until_then() -> None:
    # 5 mm slices of 1 mm pixels: 1, 2 and 4 mm in-plane; only from 4 mm on is 5 mm less than twice as coarse.
    strides, kernels, patch = topology((5.0, 1.0, 1.0), (16, 64, 64))
    assert strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    assert kernels == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    assert patch == (16, 64, 64)


def test_an_axis_twice_as_coarse_waits_for_the_others() -> None:
    # 2 mm beside 1 mm are not less than twice as coarse: the kernel is flat and the axis whole for one stage.
    strides, kernels, _ = topology((2.0, 1.0, 1.0), (16, 32, 32))
    assert strides == ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    assert kernels == ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))


def test_an_axis_alone_is_halved_only_while_it_is_long() -> None:
    assert topology((1.0, 1.0), (4, 11))[0] == ((1, 1),)
    assert topology((1.0, 1.0), (4, 12))[0] == ((1, 1), (1, 2))


def test_a_batch_is_2_at_least_and_a_patch_shrinks_to_fit() -> None:
    small, large = (plan_unet(grid((1.0, 1.0, 1.0), (300, 600, 600)), 3, 3, memory) for memory in (8, 32))
    assert np.prod(small.patch) < np.prod(large.patch) and small.batch_size == large.batch_size == 2


@pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="needs nnU-Net")
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_equal_to_nnunets_planner(monkeypatch, dimensions: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    spacing_mm = tuple(np.exp(random.uniform(-0.7, 1.6, 3)).tolist())
    shape = tuple(random.integers(6, 320, 3).tolist())
    channels, classes = int(random.integers(1, 4)), int(random.integers(2, 12))
    ours = plan_unet(grid(spacing_mm, shape, channels), classes, dimensions)
    theirs = nnunets(monkeypatch, spacing_mm[-dimensions:], shape[-dimensions:], channels, classes)
    network = theirs["architecture"]["arch_kwargs"]
    assert ours.patch == tuple(theirs["patch_size"])
    assert ours.strides == tuple(map(tuple, network["strides"]))
    assert ours.kernels == tuple(map(tuple, network["kernel_sizes"]))
    assert ours.widths == tuple(network["features_per_stage"])
    assert ours.batch_size == min(theirs["batch_size"], {2: 12, 3: 2}[dimensions])


# Cases of one shape and spacing: Hippocampus, and like ACDC. The patches that fit 8 GB, and nnU-Net's batch, which is
# at most 5 % of the dataset's voxels: 0.05 * 260 * 36 * 50 * 35 / (40 * 56 * 40) = 9.1 on hippocampus.
REFERENCES = [((1.0, 1.0, 1.0), (36, 50, 35), 3, 260, (40, 56, 40), 58, 9),
              ((10.0, 1.5625, 1.5625), (9, 256, 216), 4, 200, (10, 256, 224), 7, 7)]


@pytest.mark.parametrize(("spacing_mm", "shape", "classes", "cases", "patch", "fitting", "batch"), REFERENCES)
def test_reference_values_of_3d_fullres(monkeypatch, spacing_mm, shape, classes, cases, patch, fitting, batch) -> None:
    ours = plan_unet(grid(spacing_mm, shape), classes, dimensions=3)
    assert ours.patch == patch and ours.batch_size == 2
    assert ours.reasons["batch_size"].startswith(f"{fitting} patches of ")
    assert min(fitting, round(0.05 * cases * np.prod(shape) / np.prod(patch))) == batch
    if importlib.util.find_spec("nnunetv2") is None:
        return
    theirs = nnunets(monkeypatch, spacing_mm, shape, 1, classes, covered=0.05, voxels=cases * float(np.prod(shape)))
    network = theirs["architecture"]["arch_kwargs"]
    assert tuple(theirs["patch_size"]) == patch and theirs["batch_size"] == batch
    assert tuple(map(tuple, network["strides"])) == ours.strides
    assert tuple(map(tuple, network["kernel_sizes"])) == ours.kernels
    assert tuple(network["features_per_stage"]) == ours.widths


def nnunets(monkeypatch, spacing, shape, channels: int, classes: int, covered: float = 1e9,
            voxels: float = 1e15) -> dict:
    """nnU-Net's configuration for a grid, without a dataset on disk and, by default, its cap by the dataset's size."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "unused")
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    class Planner(ExperimentPlanner):
        def determine_normalization_scheme_and_whether_mask_is_used_for_norm(self):
            return [], []

    planner = Planner.__new__(Planner)
    planner.__dict__ |= made_planner(channels, classes) | {"max_dataset_covered": covered}
    return planner.get_plans_for_configuration(np.array(spacing), np.array(shape), "made", voxels, {})


def made_planner(channels: int, classes: int) -> dict:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    # The values that ExperimentPlanner.__init__ sets.
    return {
        "UNet_class": PlainConvUNet, "UNet_base_num_features": 32, "UNet_reference_val_3d": 560_000_000,
        "UNet_reference_val_2d": 85_000_000, "UNet_reference_val_corresp_GB": 8, "UNet_reference_val_corresp_bs_2d": 12,
        "UNet_reference_val_corresp_bs_3d": 2, "UNet_featuremap_min_edge_length": 4, "UNet_vram_target_GB": 8,
        "UNet_blocks_per_stage_encoder": (2,) * 14, "UNet_blocks_per_stage_decoder": (2,) * 13,
        "UNet_min_batch_size": 2,
        "UNet_max_features_2d": 512, "UNet_max_features_3d": 320, "max_dataset_covered": 1e9,
        "preprocessor_name": "made",
        "dataset_json": {"channel_names": {str(index): "x" for index in range(channels)},
                         "labels": {str(index): index for index in range(classes)}},
    }
