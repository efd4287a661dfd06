"""Arrays brought onto the grid of another file."""

from pathlib import Path

import numpy as np
import pytest

from samunet import console
from samunet.dataset.alignment import LABEL, PREDICTION, on_grid
from samunet.dataset.geometry import Geometry

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
IMAGE, OTHER = Path("imagesTr/a_0000.nii.gz"), Path("labelsTr/a.nii.gz")
ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(1, 4, 5, 6)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(console, "_said", set())


def grid(shape=(4, 5, 6), spacing=(3.0, 1.0, 2.0), origin=(5.0, 6.0, 7.0), direction=IDENTITY) -> Geometry:
    return Geometry("SimpleITKIO", shape, spacing, origin, direction)


def test_the_same_grid_gives_the_array_itself(capsys):
    placed, problems = on_grid(ARRAY, grid(origin=(5.0, 6.0 + 1e-7, 7.0)), grid(), OTHER, IMAGE, LABEL)
    assert placed is ARRAY and not problems and capsys.readouterr().err == ""


def test_reversed_rows_are_turned_with_one_line(capsys):
    """Rows at y 10, 9, 8, 7, 6 mm instead of 6 to 10."""
    mirrored = grid(origin=(5.0, 10.0, 7.0), direction=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    for _ in range(2):
        placed, problems = on_grid(ARRAY, mirrored, grid(), OTHER, IMAGE, LABEL)
        assert not problems and np.array_equal(placed, ARRAY[:, :, ::-1])
    assert capsys.readouterr().err == (f"{OTHER} is stored in another direction than {IMAGE}: its axes are permuted "
                                       "or flipped, without interpolation.\n")


def test_permuted_axes_of_another_shape_are_turned():
    """Stored as (y, z, x): the array's first axis runs along y."""
    stored = np.ascontiguousarray(ARRAY.transpose(0, 2, 1, 3))
    permuted = grid((5, 4, 6), (1.0, 3.0, 2.0), direction=(1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0))
    placed, problems = on_grid(stored, permuted, grid(), OTHER, IMAGE, LABEL)
    assert not problems and np.array_equal(placed, ARRAY)


def test_a_shift_is_warned_of_in_mm_and_voxels(capsys):
    placed, problems = on_grid(ARRAY, grid(origin=(8.0, 6.0, 11.0)), grid(), OTHER, IMAGE, LABEL)
    assert placed is ARRAY and not problems
    # 3 mm along x are 1.5 voxels of 2 mm, 4 mm along z 1.33 voxels of 3 mm; together 5 mm.
    assert ("origin or direction of labelsTr/a.nii.gz differs from that of imagesTr/a_0000.nii.gz: "
            "corners are up to 5 mm (1.5 voxels)") in capsys.readouterr().err


@pytest.mark.parametrize(("other", "rules"), [
    ({"shape": (4, 5, 7)}, ["shape"]),
    ({"shape": (4, 5, 7), "spacing": (3.0, 1.0, 1.0)}, ["shape", "spacing"]),
    ({"spacing": (3.0, 1.0, 2.1)}, ["spacing"]),
    ({"direction": (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)}, ["direction"]),
    # flips to a place where the image is not
    ({"direction": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)}, ["direction"]),
])
def test_what_no_turn_explains_is_a_problem_that_names_both_files(other, rules):
    placed, problems = on_grid(ARRAY, grid(**other), grid(), OTHER, IMAGE, PREDICTION)
    assert [problem.rule for problem in problems] == [f"A prediction must have its reference's {rule}."
                                                      for rule in rules]
    assert all(problem.where == str(OTHER) and str(IMAGE) in problem.found and problem.mend for problem in problems)
    assert placed is ARRAY


def test_the_distance_of_a_refused_grid_is_said():
    (problem,) = on_grid(ARRAY, grid(spacing=(3.0, 1.0, 4.0)), grid(), OTHER, IMAGE, LABEL)[1]
    # The last of 6 columns ends 5.5 voxels behind the first one's middle: at 11 mm in the image, at 22 mm in the label.
    assert problem.found == ("(3.0, 1.0, 4.0) mm; imagesTr/a_0000.nii.gz has (3.0, 1.0, 2.0) mm (z, y, x); corners "
                             "are up to 11 mm (5.5 voxels) apart")


def test_images_without_place_compare_by_their_shape():
    natural = Geometry("NaturalImage2DIO", (1, 5, 6), (999.0, 1.0, 1.0))
    assert on_grid(ARRAY[:, :1], natural, natural, OTHER, IMAGE, LABEL)[1] == []
    transposed = Geometry("NaturalImage2DIO", (1, 6, 5), (999.0, 1.0, 1.0))
    (problem,) = on_grid(ARRAY[:, :1], transposed, natural, OTHER, IMAGE, LABEL)[1]
    assert problem.found == "(1, 6, 5); imagesTr/a_0000.nii.gz has (1, 5, 6) (z, y, x)"
