"""3D patches of known geometries, worked out by hand, and the memory that bounds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from samunet.planning.patch3d_memory import Patch3dNumbers, patch3d_bytes
from samunet.planning.patch3d_rules import plan_patches_3d
from samunet.planning.plans import DatasetPlan, EncoderPlan, Patch3dPlan, Plans, digest_of_plan


def dataset_plan(spacing_mm: tuple[float, float, float], median: tuple[int, int, int]) -> DatasetPlan:
    return DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), spacing_mm, median, False, ("MRI",), ("zscore",),
                       (False,), ({},))


def plan(spacing_mm: tuple[float, float, float], median: tuple[int, int, int], size: str = "mini",
         target_gb: float = 8.0) -> Patch3dPlan:
    return plan_patches_3d(dataset_plan(spacing_mm, median), size, 3, target_gb)


def test_a_small_isotropic_image_is_seen_whole() -> None:
    # Tokens of 2 voxels would be 18 x 25 x 18 = 8100, over the 2048 of 8 GB; of 4 they are 9 x 13 x 9 = 1053, all of
    # which are taken: 36 x 52 x 36 voxels.
    made = plan((1.0, 1.0, 1.0), (36, 50, 35))
    assert made.token == (4, 4, 4) and made.shape == (36, 52, 36)
    assert made.batch_size == 1 and not made.checkpointed and "8100 tokens, over 2048" in made.reasons["token"]


def test_a_still_smaller_one_has_fine_tokens() -> None:
    # 8 x 16 x 16 tokens of 2 voxels.
    made = plan((1.0, 1.0, 1.0), (16, 32, 32))
    assert made.token == (2, 2, 2) and made.shape == (16, 32, 32)


def test_slices_of_10_mm_have_tokens_of_their_own() -> None:
    made = plan((10.0, 1.56, 1.56), (10, 256, 216))
    assert made.token == (1, 4, 4) and made.shape == (8, 64, 64)
    assert "6.41 times as coarse" in made.reasons["token"]


def test_a_large_ct_has_coarse_tokens() -> None:
    made = plan((0.8, 0.8, 0.8), (300, 512, 512))
    assert made.token == (4, 4, 4) and made.shape == (32, 64, 64)


@pytest.mark.parametrize("spacing, depth", [(1.0, 4), (1.5, 3), (2.0, 2), (2.1, 1)])
def test_tokens_are_about_as_deep_as_wide(spacing: float, depth: int) -> None:
    assert plan((spacing, 1.0, 1.0), (100, 200, 200)).token == (depth, 4, 4)


def test_2d_images_have_flat_patches_of_at_most_the_image() -> None:
    # 30 x 40 tokens of 2 voxels: all of them, 1200 of 2048.
    made = plan((999.0, 1.0, 1.0), (1, 60, 80))
    assert made.token == (1, 2, 2) and made.shape == (1, 60, 80)
    # 60 x 80 of 4, which are 4800: from 8 x 8 columns and rows in turn, to 40 x 48 = 1920.
    large = plan((999.0, 1.0, 1.0), (1, 240, 320))
    assert large.token == (1, 4, 4) and large.shape == (1, 160, 192)


def test_a_larger_target_gives_a_larger_patch() -> None:
    # 16 GB: 4096 tokens, 16 x 16 x 16.
    assert plan((0.8, 0.8, 0.8), (300, 512, 512), target_gb=16.0).shape == (64, 64, 64)


def test_large_encoders_are_checkpointed_and_then_get_smaller_patches() -> None:
    made = {size: plan((1.0, 1.0, 1.0), (64, 128, 128), size) for size in ("vit_b", "vit_l", "vit_h")}
    assert not made["vit_b"].checkpointed and made["vit_b"].shape == (32, 64, 64)
    assert made["vit_l"].checkpointed and made["vit_l"].shape == (32, 64, 64)
    # One window, blocks computed twice: and still the weights and their moments are over 8 GB.
    assert made["vit_h"].shape == (32, 32, 32) and made["vit_h"].checkpointed
    assert "more than the target of 8 GB" in made["vit_h"].reasons["checkpointed"]


def test_memory_grows_with_the_batch_and_shrinks_by_checkpoints() -> None:
    numbers = Patch3dNumbers("mini", (32, 64, 64), (4, 4, 4), 3)
    assert numbers.tokens == 8 * 16 * 16
    one, two = (patch3d_bytes(numbers, batch, checkpointed=False) for batch in (1, 2))
    assert one < two < 2 * one
    assert patch3d_bytes(numbers, 2, checkpointed=True) < two


SECTION = EncoderPlan("mini-3", 64, (8, 8), 0.5, "repeat", 2, "float16", 0, 1)
DATASET = dataset_plan((1.0, 1.0, 1.0), (36, 50, 35))


def test_plans_without_the_section_get_it_by_the_rule(tmp_path) -> None:
    old = Plans("old", "Dataset001_Old", DATASET, {"mini-3": SECTION})
    old.save(tmp_path / "old.json")
    read = Plans.load(tmp_path / "old.json")
    assert read.encoders["mini-3"].patches_3d is None
    whole = read.of_patches_3d("mini-3", "mini", 3)
    assert whole.encoders["mini-3"].patches_3d == plan((1.0, 1.0, 1.0), (36, 50, 35))
    assert whole.of_patches_3d("mini-3", "vit_h", 3) is whole  # what is planned stays
    whole.save(tmp_path / "new.json")
    assert Plans.load(tmp_path / "new.json") == whole


def test_digests_of_runs_that_read_no_3d_patches_stay() -> None:
    old = Plans("old", "Dataset001_Old", DATASET, {"mini-3": SECTION})
    new = old.of_patches_3d("mini-3", "mini", 3)
    section = new.encoders["mini-3"]
    assert digest_of_plan(old, SECTION) == digest_of_plan(new, section)
    assert section.patches_3d is not None
    other = replace(section, patches_3d=replace(section.patches_3d, token=(1, 2, 2)))
    assert digest_of_plan(new, section, "patches_3d") != digest_of_plan(new, other, "patches_3d")
