"""Volumes of three datasets, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans, digest_of_plan
from samunet.planning.volume_rules import (
    FIRST_STAGES,
    VolumePlan,
    plan_hybrid,
    plan_volume,
    plan_voxel_volume,
    plan_voxels,
)


def stack(spacing_mm: tuple[float, ...], median: tuple[int, ...], tile: tuple[int, int]) -> VolumePlan:
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), spacing_mm, median, False, ("MRI",), ("zscore",),
                          (False,), ({},))
    section = EncoderPlan("mini", 256, tile, 0.5, "neighbours", 16, "float16", 0, 400)
    return plan_volume(dataset, replace(section, hybrid=plan_hybrid(dataset, section)))


def test_isotropic_volumes_are_halved_along_all_axes() -> None:
    # 65536 // (59 * 43) = 25 slices, of which 24 can be halved twice; after that 6 slices are too few to be halved
    # again.
    plan = stack((1.0, 1.0, 1.0), (36, 50, 35), (59, 43))
    assert plan.shape == (24, 59, 43) and plan.padded == (24, 64, 48) and plan.depth == 24
    assert plan.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    assert plan.cell == (4, 4, 4) and plan.cells == (6, 16, 12)


def test_thick_slices_are_kept_apart_until_in_plane_voxels_are_half_as_thick() -> None:
    # 65536 // 128**2 = 4 slices of 10 mm; in-plane voxels of 1.5, 3 and 6 mm, of which only the last is over half of
    # 10.
    # 128 pixels are halved five times, since the last half leaves 4.
    plan = stack((10.0, 1.5, 1.5), (9, 256, 256), (128, 128))
    assert plan.shape == plan.padded == (4, 128, 128)
    assert plan.strides == ((1, 1, 1), *[(1, 2, 2)] * 5)
    assert plan.kernels == ((1, 3, 3), (1, 3, 3), *[(3, 3, 3)] * 4)
    assert plan.cell == (1, 4, 4) and plan.cells == (4, 32, 32)


def test_a_single_slice_is_a_stack_of_one() -> None:
    plan = stack((999.0, 1.0, 1.0), (1, 60, 80), (60, 80))
    assert plan.shape == (1, 60, 80) and plan.padded == (1, 64, 80) and plan.cell == (1, 4, 4)


@pytest.mark.parametrize("median, depth", [((3, 60, 80), 3), ((7, 60, 80), 7), ((9, 60, 80), 8), ((40, 60, 80), 12)])
def test_no_slices_of_padding_are_computed(median: tuple[int, int, int], depth: int) -> None:
    assert stack((1.0, 1.0, 1.0), median, (60, 80)).depth == depth


def test_embeddings_are_read_of_encoders_that_a_user_chose() -> None:
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (36, 50, 35), False, ("MRI",),
                          ("zscore",), (False,), ({},))
    made = {name: plan_hybrid(dataset, EncoderPlan(name, 256, (59, 43), 0.5, "neighbours", 16, "float16", 0, 400))
            for name in ("mini-3", "untrained", "vit_b", "mymodel-0a1b2c3d")}
    assert {name: plan.embeddings for name, plan in made.items()} == {
        "mini-3": False, "untrained": False, "vit_b": True, "mymodel-0a1b2c3d": True}
    assert "gained nothing" in made["mini-3"].reasons["embeddings"]
    assert "--encoder" in made["vit_b"].reasons["embeddings"]


def dataset_of(spacing_mm: tuple[float, ...], median: tuple[int, ...]) -> DatasetPlan:
    thick = max(spacing_mm) > 3 * min(spacing_mm)
    return DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), spacing_mm, median, thick, ("MRI",), ("zscore",), (False,),
                       ({},))


def test_small_cases_are_read_voxel_by_voxel() -> None:
    voxels, reason = plan_voxels(dataset_of((1.0, 1.0, 1.0), (36, 50, 35)))  # 63,000 voxels
    assert voxels is None and "65536" in reason


def test_thick_slices_are_halved_in_the_plane_alone() -> None:
    # A slice of 256 x 216 voxels is 128 x 108 = 13,824 places, of which 49,152 hold three. Places of 3.1 mm are halved
    # to 6.2 and 12.5; three slices are too few to be halved, however thick they are.
    voxels, _ = plan_voxels(dataset_of((10.0, 1.5625, 1.5625), (9, 256, 216)))
    assert voxels is not None
    assert (voxels.shape, voxels.place) == ((3, 256, 216), (1, 2, 2))
    assert voxels.strides == ((1, 1, 1), *[(1, 2, 2)] * 4)
    assert voxels.kernels == ((1, 3, 3), *[(3, 3, 3)] * 4)


def test_of_large_thick_slices_three_are_cut() -> None:
    # 49,152 places of 1 x 2 x 2 voxels are three slices of 65,536 voxels.
    voxels, _ = plan_voxels(dataset_of((5.0, 0.8, 0.8), (100, 512, 512)))
    assert voxels is not None and (voxels.shape, voxels.place) == ((3, 256, 256), (1, 2, 2))


def test_of_large_cases_a_cube_is_read() -> None:
    # 49,152 places of 2 x 2 x 2 voxels of 1 mm are 393,216 voxels: 73**3 is 389,017, 74**3 is more. Of 73 slices, 64
    # are halved four times together with the cell.
    voxels, _ = plan_voxels(dataset_of((1.0, 1.0, 1.0), (300, 400, 400)))
    assert voxels is not None
    assert (voxels.shape, voxels.place) == ((64, 73, 73), (2, 2, 2))
    # 2 mm is twice as coarse, so it is not halved first: of 196,608 voxels, 36 x 73 x 73 are 191,844, and a cube of 74
    # mm has 37 x 74 x 74, too many.
    voxels, _ = plan_voxels(dataset_of((2.0, 1.0, 1.0), (50, 400, 400)))
    assert voxels is not None and (voxels.shape[1:], voxels.place) == ((73, 73), (1, 2, 2))


def test_single_slices_are_pictures() -> None:
    voxels, _ = plan_voxels(dataset_of((999.0, 1.0, 1.0), (1, 400, 380)))  # 200 x 190 places, 38,000
    assert voxels is not None
    assert (voxels.shape, voxels.place) == ((1, 400, 380), (1, 2, 2))


def test_volumes_without_embeddings_are_those_of_the_section() -> None:
    dataset = dataset_of((10.0, 1.5625, 1.5625), (9, 256, 216))
    section = EncoderPlan("mini", 256, (160, 135), 0.5, "repeat", 16, "float16", 0, 400)
    planned = replace(section, hybrid=plan_hybrid(dataset, section))
    volume = plan_voxel_volume(dataset, planned)
    # In-plane 2 ** 4 places of 2 voxels: 216 of them are padded to 224.
    assert (volume.shape, volume.padded, volume.place) == ((3, 256, 216), (3, 256, 224), (1, 2, 2))
    assert plan_volume(dataset, planned).place == (1, 1, 1)
    before = replace(section, hybrid=replace(planned.hybrid, voxels=None))
    assert plan_voxel_volume(dataset, before) == plan_volume(dataset, before)


def test_plans_without_the_section_have_the_four_stages_of_their_time() -> None:
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (10.0, 1.5, 1.5), (9, 256, 256), True, ("MRI",),
                          ("zscore",), (False,), ({},))
    section = EncoderPlan("mini", 256, (128, 128), 0.5, "neighbours", 16, "float16", 0, 400)
    assert len(plan_volume(dataset, section).strides) == 4


def test_only_runs_on_volumes_depend_on_the_volumes_for_voxels() -> None:
    dataset = dataset_of((10.0, 1.5625, 1.5625), (9, 256, 216))
    section = EncoderPlan("mini", 256, (160, 135), 0.5, "repeat", 16, "float16", 0, 400)
    planned = replace(section, hybrid=plan_hybrid(dataset, section))
    of_before = replace(section, hybrid=replace(planned.hybrid, voxels=None))
    plans = Plans("p", "d", dataset, {"mini": section})
    assert digest_of_plan(plans, planned) == digest_of_plan(plans, of_before)
    assert digest_of_plan(plans, of_before, "volumes") == digest_of_plan(plans, of_before)
    assert digest_of_plan(plans, planned, "volumes") != digest_of_plan(plans, of_before, "volumes")
    four_stages = replace(section, hybrid=plan_hybrid(dataset, section, FIRST_STAGES))
    assert digest_of_plan(plans, four_stages) == digest_of_plan(plans, section)  # runs from before plans had sections
