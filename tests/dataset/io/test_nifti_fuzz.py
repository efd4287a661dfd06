"""Any NIfTI header is read to a grid that can be, or refused: no traceback, nothing absurd, and what is read goes back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Header, header_dtype
from nibabel.nifti2 import header_dtype as header_dtype_2
from nifti_files import affine, write_nifti

from samunet.dataset.grids import same_grid
from samunet.dataset.io.sitk_io import SimpleItkIO
from samunet.errors import UserError

VOXELS = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
NUMBERS = st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-3, 1e4]))
CODES = st.integers(-2, 5)
FIELDS = st.fixed_dictionaries({}, optional={
    "pixdim0": NUMBERS, "pixdim": st.tuples(NUMBERS, NUMBERS, NUMBERS), "qform_code": CODES, "sform_code": CODES,
    "xyzt_units": st.integers(0, 127),
    **{name: NUMBERS
       for name in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "scl_slope", "scl_inter", "vox_offset")},
    **{name: st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS) for name in ("srow_x", "srow_y", "srow_z")},
    "dim": st.lists(st.integers(-1, 9), min_size=8, max_size=8),
    "datatype": st.sampled_from([0, 1, 2, 4, 16, 32, 64, 128, 512, 1024, 1536, 2304, 77]),
    "intent_code": st.sampled_from([0, 2, 1004, 1005, 1007]),
})


def _read_or_refused(path: Path) -> None:
    try:
        image, geometry = SimpleItkIO().read_images([path])
    except UserError as fault:
        assert str(path) in str(fault)
        return
    assert np.isfinite(image).all() and image.shape[1:] == geometry.shape
    assert all(1e-3 <= value <= 1e4 for value in geometry.spacing_mm[-len(geometry.origin) :])
    out = path.with_name("out.nii")
    SimpleItkIO().write_segmentation(np.zeros(geometry.shape, np.uint8), out, geometry)
    _, again = SimpleItkIO().read_segmentation(out)
    assert again.nifti == geometry.nifti and same_grid(again, geometry)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(fields=FIELDS, version=st.sampled_from([1, 2]), forms=st.sampled_from([(0, 0), (1, 0), (0, 1), (1, 1)]))
def test_fields_of_any_value(tmp_path_factory, fields, version, forms):
    path = tmp_path_factory.getbasetemp() / "fuzz.nii"
    fields = dict(fields)
    qfac = fields.pop("pixdim0", 1.0)
    if version == 1 and "vox_offset" in fields:
        fields["vox_offset"] = np.float32(fields["vox_offset"])
    elif "vox_offset" in fields:
        fields["vox_offset"] = 544 + int(np.nan_to_num(fields["vox_offset"], posinf=0, neginf=0)) % 9
    sform, qform = (affine() if code else None for code in forms)
    write_nifti(path, VOXELS, sform, qform, version=version, **fields)
    content = bytearray(path.read_bytes())
    place = (header_dtype if version == 1 else header_dtype_2).fields["pixdim"][1]
    content[place : place + (4 if version == 1 else 8)] = np.array(qfac, "f4" if version == 1 else "f8").tobytes()
    path.write_bytes(content)
    _read_or_refused(path)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, Nifti1Header.sizeof_hdr + 3), replaced=st.binary(min_size=1, max_size=8))
def test_bytes_of_any_value(tmp_path_factory, place, replaced):
    path = write_nifti(tmp_path_factory.getbasetemp() / "fuzz.nii", VOXELS, affine(), affine())
    content = bytearray(path.read_bytes())
    content[place : place + len(replaced)] = replaced
    path.write_bytes(content)
    _read_or_refused(path)
