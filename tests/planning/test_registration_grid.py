from __future__ import annotations

from samunet.planning.registration_grid import MOST_VOXELS, coarsened


def test_grid_is_capped_along_its_longest_axes() -> None:
    assert coarsened((36, 50, 35), 2_000_000) == (36, 50, 35)
    assert coarsened((20, 512, 512), 2_000_000) == (20, 316, 316)  # 20 * 316^2 = 1,997,120
    assert coarsened((1, 4000, 1000), 2_000_000) == (1, 2000, 1000)


def test_small_cases_are_registered_on_their_own_grid_and_cine_mri_on_about_three_pixels() -> None:
    assert coarsened((36, 50, 35)) == (36, 50, 35)  # hippocampus, 63,000 voxels
    assert coarsened((9, 256, 216)) == (9, 85, 85) and 9 * 85 * 85 <= MOST_VOXELS < 9 * 86 * 86
    assert coarsened((1, 512, 512)) == (1, 256, 256)
