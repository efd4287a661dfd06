from __future__ import annotations

import json

import pytest

from samunet.dataset.geometry import Geometry, axis_not_in_file
from samunet.dataset.nnunet_properties import reader_properties

GEOMETRY = Geometry("SimpleITKIO", (4, 6, 5), (3.3, 0.8, 0.7), (1.5, -2.5, 0.1),
                    (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0))


def test_json_keeps_every_bit():
    assert Geometry.from_json(json.loads(json.dumps(GEOMETRY.to_json()))) == GEOMETRY


def test_nnunets_properties():
    assert reader_properties(GEOMETRY) == {
        "spacing": [3.3, 0.8, 0.7],
        "sitk_stuff": {"spacing": (0.7, 0.8, 3.3), "origin": GEOMETRY.origin, "direction": GEOMETRY.direction},
    }
    flat = Geometry("SimpleITKIO", (1, 6, 5), (799.2, 0.8, 0.7), (1.0, 2.0), (1.0, 0.0, 0.0, 1.0))
    assert reader_properties(flat)["sitk_stuff"]["spacing"] == (0.7, 0.8)
    assert reader_properties(Geometry("Tiff3DIO", (4, 6, 5), (3.3, 0.8, 0.7))) == {"spacing": [3.3, 0.8, 0.7]}


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "axis"),
    [
        ((1, 6, 5), (999.0, 1.0, 1.0), 0),  # a natural image
        ((1, 6, 5), (499.5, 0.5, 0.25), 0),
        ((1, 6, 5), (1998.0, 1.0, 2.0), 0),
        ((6, 1, 5), (0.5, 499.5, 0.5), 1),  # after a plan's transpose
        ((1, 6, 5), (999.0, 0.5, 0.5), None),  # 999 times neither pixel
        ((1, 6, 5), (5.0, 1.0, 1.0), None),  # one slice of a scan
        ((2, 6, 5), (999.0, 1.0, 1.0), None),
        ((1, 1, 1), (1.0, 1.0, 1.0), None),
    ],
)
def test_which_axis_a_2d_file_does_not_have(shape, spacing_mm, axis):
    assert axis_not_in_file(shape, spacing_mm) == axis
    assert Geometry("SimpleITKIO", shape, spacing_mm).is_2d == (axis is not None)
