"""Windows over a case of 20 x 10 x 4 voxels, worked out by hand."""

from __future__ import annotations

from samunet.planning.windows_3d import Windows3d

# Of 8 voxels over 20, at most 16 / 3 = 5.33 apart: 4 windows, 12 / 3 = 4 apart. Over 10: 2 windows. Of 6 voxels over 4:
# one, with a voxel of padding on each side.
WINDOWS = Windows3d((20, 10, 4), (8, 8, 6))


def test_windows_overlap_by_a_third_and_begin_and_end_with_the_case() -> None:
    assert WINDOWS.starts == [[0, 4, 8, 12], [0, 2], [-1]]
    assert len(WINDOWS.all) == 8 and WINDOWS.all[:3] == [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
    assert WINDOWS.start((3, 1, 0)) == (12, 2, -1)


def test_the_nearest_window_has_the_place_in_its_middle() -> None:
    # Middles along the first axis: 4, 8, 12, 16; along the second: 4, 6.
    assert WINDOWS.nearest((0.5, 0.5, 0.5)) == (0, 0, 0)
    assert WINDOWS.nearest((6.5, 5.5, 2.0)) == (1, 1, 0)
    assert WINDOWS.nearest((6.0, 5.0, 2.0)) == (0, 0, 0)  # as far from both: the first
    assert WINDOWS.nearest((99.0, -5.0, 2.0)) == (3, 0, 0)


def test_a_box_has_all_windows_between_those_of_its_corners() -> None:
    assert WINDOWS.of_box([[5.0, 0.0, 0.0], [13.0, 1.0, 4.0]]) == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


def test_neighbours_end_at_the_border() -> None:
    assert WINDOWS.beside((0, 0, 0), 0, True) == (1, 0, 0)
    assert WINDOWS.beside((0, 0, 0), 0, False) is None
    assert WINDOWS.beside((3, 1, 0), 1, False) == (3, 0, 0)
    assert WINDOWS.beside((3, 1, 0), 2, True) is None


def test_padding_is_no_part_of_the_case() -> None:
    case, own = WINDOWS.inside((1, 1, 0))
    assert case == (slice(4, 12), slice(2, 10), slice(0, 4))
    assert own == (slice(0, 8), slice(0, 8), slice(1, 5))
