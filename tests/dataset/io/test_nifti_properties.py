"""NIfTI headers of every sound sort are written back as they came; of any other sort, files are refused by name or read
on a sound grid.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from json_values import REPEATED

from samunet.dataset.io.readers import reader_named
from samunet.errors import UserError

SHAPE = (5, 4, 3)  # x, y, z
MM_OF_UNIT = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
READER = "SimpleITKIO"
VOXELS = (np.arange(60, dtype=np.float32).reshape(SHAPE, order="F")) / 4
ANGLE = st.floats(-3.1, 3.1)


def rotation(a: float, b: float, c: float) -> np.ndarray:
    def turn(first: int, second: int, angle: float) -> np.ndarray:
        matrix = np.eye(3)
        matrix[[first, second], [first, second]] = np.cos(angle)
        matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
        return matrix

    return turn(0, 1, a) @ turn(0, 2, b) @ turn(1, 2, c)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """A sound voxel-to-world matrix in mm: turned, mirrored or not, spacings from 0.05 to 20 mm."""
    matrix = np.eye(4)
    spacing = [draw(st.floats(0.05, 20)) for _ in range(3)]
    mirrored = [draw(st.sampled_from([1, -1])) for _ in range(3)]
    matrix[:3, :3] = rotation(*(draw(ANGLE) for _ in range(3))) @ np.diag(np.multiply(spacing, mirrored))
    matrix[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return matrix


def write(path: Path, voxels: np.ndarray, form: np.ndarray, codes: tuple[int, int], unit: int) -> Path:
    """Write (x, y, z) with `form` (mm) as both forms, in the unit that code `unit` names."""
    scaled = form.copy()
    scaled[:3] /= MM_OF_UNIT[unit]
    image = nibabel.Nifti1Image(voxels, None)
    image.header.set_qform(scaled, codes[0])
    image.header.set_sform(scaled, codes[1])
    image.header["xyzt_units"] = unit
    nibabel.save(image, path)
    return path


@REPEATED
@given(form=affines(), codes=st.tuples(st.integers(0, 4), st.integers(0, 4)), unit=st.sampled_from([0, 2, 3]))
def test_forms_codes_and_units_come_back(tmp_path: Path, form: np.ndarray, codes: tuple[int, int], unit: int) -> None:
    assume(codes != (0, 0))
    source, target = write(tmp_path / "c_0000.nii.gz", VOXELS, form, codes, unit), tmp_path / "c.nii.gz"
    reader = reader_named(READER)

    image, geometry = reader.read_images([source])

    np.testing.assert_array_equal(image[0], VOXELS.T)
    np.testing.assert_allclose(geometry.spacing_mm[::-1], np.linalg.norm(form[:3, :3], axis=0), rtol=1e-5)
    labels = (image[0] > 5).astype(np.uint8)
    reader.write_segmentation(labels, target, geometry)
    ours, theirs = nibabel.load(target), nibabel.load(source)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), labels.T)
    for name in ("qform_code", "sform_code", "xyzt_units"):
        assert int(ours.header[name]) == int(theirs.header[name]), name
    if codes[0]:
        np.testing.assert_allclose(ours.get_qform(), theirs.get_qform(), rtol=1e-4, atol=1e-4)
    if codes[1]:
        np.testing.assert_allclose(ours.get_sform(), theirs.get_sform(), rtol=1e-5, atol=1e-5)
    again = reader.read_segmentation(target)[1]
    np.testing.assert_allclose(again.spacing_mm, geometry.spacing_mm, rtol=1e-5)
    np.testing.assert_allclose(again.origin, geometry.origin, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(again.direction, geometry.direction, atol=1e-5)


FIELDS = ((0, "i"), (40, "8h"), (70, "h"), (72, "h"), (76, "8f"), (108, "f"), (112, "2f"), (123, "B"), (252, "2h"),
          (256, "6f"), (280, "12f"), (344, "4s"))
SHORT = st.integers(-(2**15), 2**15 - 1)
NUMBER = st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30])


@st.composite
def corrupted(draw: st.DrawFn) -> bytes:
    """A sound file (uncompressed) with one field, or any bytes of the header, replaced."""
    image = nibabel.Nifti1Image(VOXELS, np.diag([1, 2, 3, 1]))
    content = bytearray(image.to_bytes())
    if draw(st.booleans()):
        for place in draw(st.lists(st.integers(0, 347), min_size=1, max_size=4)):
            content[place] = draw(st.integers(0, 255))
    else:
        offset, form = draw(st.sampled_from(FIELDS))
        count, kind = int(form[:-1] or 1), form[-1]
        values = {"f": NUMBER, "h": SHORT | st.integers(0, 5), "i": st.integers(-(2**31), 2**31 - 1),
                  "B": st.integers(0, 255)}
        if kind == "s":
            struct.pack_into("<4s", content, offset, draw(st.binary(min_size=4, max_size=4)))
        else:
            struct.pack_into(f"<{form}", content, offset, *(draw(values[kind]) for _ in range(count)))
    return bytes(content)


@REPEATED
@given(content=corrupted())
def test_any_header_is_refused_by_name_or_read_on_a_sound_grid(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c_0000.nii.gz"
    path.write_bytes(gzip.compress(content, 1))
    try:
        image, geometry = reader_named(READER).read_images([path])
    except UserError as fault:
        assert path.name in str(fault)
        return
    assert (image.dtype == np.float32 and image.ndim == 4 and image.shape[1:] == geometry.shape
            and np.isfinite(image).all())
    assert 0 < image.size <= VOXELS.size * 8
    assert all(1e-3 <= value <= 1e4 for value in geometry.spacing_mm) or geometry.is_2d
    direction = np.reshape(geometry.direction, (len(geometry.origin), -1))
    assert np.isfinite(geometry.origin).all() and np.isfinite(direction).all() and abs(abs(np.linalg.det(direction))
                                                                                       - 1) < 1e-3
