"""Bad input: NIfTI headers.

The same header is given to a training case, a case to predict, a reference and a prediction.
"""

from __future__ import annotations

import bz2
import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.case_files import prediction, test_image, test_label, train_image, train_label
from tests.faults.entry import Entry, all_of, anything, same_score
from tests.faults.place import Place

OFFSETS = {
    "sizeof_hdr": (0, "i"), "dim": (40, "8h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"),
    "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"), "xyzt_units": (123, "B"),
    "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern": (256, "3f"), "qoffset": (268, "3f"),
    "srow_x": (280, "4f"), "srow_y": (296, "4f"), "srow_z": (312, "4f"), "magic": (344, "4s"),
}
FORMS = ("qform_code", "sform_code", "quatern", "qoffset", "srow_x", "srow_y", "srow_z")
NAN, INF = float("nan"), float("inf")
MEETING = ("verify", "preprocess", "predict", "overlay", "evaluate")
NAMED = ("c1|c6",)


def read_header(path: Path) -> dict[str, tuple[Any, ...]]:
    """The fields of a NIfTI file's header as they are in it."""
    content = gzip.decompress(path.read_bytes())
    return {name: struct.unpack_from("<" + form, content, offset) for name, (offset, form) in OFFSETS.items()}


def set_header(path: Path, **fields: Any) -> None:
    """Overwrite fields of a .nii.gz file's header; what follows stays."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    for name, value in fields.items():
        offset, form = OFFSETS[name]
        struct.pack_into("<" + form, content, offset, *(value if isinstance(value, tuple | list) else (value,)))
    path.write_bytes(gzip.compress(bytes(content), 1))


def roles(place: Place) -> list[Path]:
    """The files that commands meet: image and label to train, image to predict, reference, prediction."""
    return [train_image(place), train_label(place), test_image(place), test_label(place), prediction(place)]


def with_fields(**fields: Any) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        for path in roles(place):
            set_header(path, **fields)

    return make


def with_bytes(change: Callable[[bytes], bytes]) -> Callable[[Place], None]:
    """Replace the compressed files by what `change` makes of their uncompressed content."""

    def make(place: Place) -> None:
        for path in roles(place):
            path.write_bytes(change(gzip.decompress(path.read_bytes())))

    return make


def forms_kept(place: Place, base: Place, command: str) -> str | None:
    """A prediction has the forms, codes and units of its image, as its file says them."""
    if command != "predict":
        return None
    image, made = read_header(test_image(place)), read_header(place.path("out_new", "c6.nii.gz"))
    for name in ("qform_code", "sform_code"):
        if max(int(image[name][0]), 0) != made[name][0]:  # a negative code is no code, and is written as 0
            return f"{name} {made[name]}, image {image[name]}"
    if image["sform_code"][0] > 0 and any(not np.allclose(image[row], made[row], rtol=1e-5, atol=1e-5)
                                          for row in ("srow_x", "srow_y", "srow_z")):
        return f"sform {[made[row] for row in ('srow_x', 'srow_y', 'srow_z')]}"
    if image["qform_code"][0] > 0 and any(not np.allclose(image[name], made[name], atol=1e-5)
                                          for name in ("quatern", "qoffset")):
        return f"quaternion {made['quatern']}, offset {made['qoffset']}"
    if image["xyzt_units"][0] & 7 and image["xyzt_units"][0] & 7 != made["xyzt_units"][0] & 7:
        return f"units {made['xyzt_units']}, image {image['xyzt_units']}"
    return None


SOUND = all_of(forms_kept, same_score)
DIM = (3, 18, 20, 6, 1, 1, 1, 1)
PIX = (1, 1, 1.2, 2, 0, 0, 0, 0)


def _pix(**values: float) -> tuple[float, ...]:
    """The usual spacing with some axes changed."""
    return (1, values.get("x", 1), values.get("y", 1.2), values.get("z", 2), 0, 0, 0, 0)


def _spaced(value: float) -> dict[str, Any]:
    """All that says the spacing along x says `value`."""
    return {"pixdim": _pix(x=value), "srow_x": (-value, 0, 0, 0)}


REFUSED: dict[str, dict[str, Any]] = {
    "spacing 0": _spaced(0), "spacing NaN": _spaced(NAN), "spacing infinite": _spaced(INF),
    "spacing 1e30": _spaced(1e30), "spacing 1e-30": _spaced(1e-30), "spacing 1e6": _spaced(1e6),
    "spacing 1e-5": _spaced(1e-5),
    "all spacings 0": {"pixdim": (1, 0, 0, 0, 0, 0, 0, 0), "srow_x": (0,) * 4, "srow_y": (0,) * 4, "srow_z": (0,) * 4},
    "sform NaN": {"srow_y": (NAN,) * 4}, "sform infinite": {"srow_z": (0, 0, INF, 0)},
    "offset NaN": {"qoffset": (NAN, 0, 0), "srow_x": (1, 0, 0, NAN)}, "no dimensions": {"dim": (0, *DIM[1:])},
    "eight dimensions": {"dim": (8, *DIM[1:])}, "minus one dimension": {"dim": (-1, *DIM[1:])},
    "an axis of no voxels": {"dim": (3, 18, 0, 6, 1, 1, 1, 1)},
    "an axis of minus 20 voxels": {"dim": (3, 18, -20, 6, 1, 1, 1, 1)},
    "32767 voxels along each axis": {"dim": (3, 32767, 32767, 32767, 1, 1, 1, 1)},
    "one slice more than there is": {"dim": (3, 18, 20, 7, 1, 1, 1, 1)},
    "complex voxels": {"datatype": 32, "bitpix": 64, "dim": (3, 9, 20, 3, 1, 1, 1, 1)},
    "complex128 voxels": {"datatype": 1792, "bitpix": 128, "dim": (3, 9, 20, 1, 1, 1, 1, 1)},
    "RGB voxels": {"datatype": 128, "bitpix": 24, "dim": (3, 18, 20, 2, 1, 1, 1, 1)},
    "RGBA voxels": {"datatype": 2304, "bitpix": 32, "dim": (3, 18, 20, 1, 1, 1, 1, 1)},
    "voxels of one bit": {"datatype": 1, "bitpix": 1}, "voxels of no type": {"datatype": 0, "bitpix": 0},
    "voxels of type 999": {"datatype": 999}, "slope infinite": {"scl_slope": INF},
    "intercept infinite": {"scl_slope": 1, "scl_inter": INF}, "slope -infinite": {"scl_slope": -INF},
    "data offset beyond the end": {"vox_offset": 1e6}, "data offset NaN": {"vox_offset": NAN},
    "data offset of minus 4": {"vox_offset": -4}, "magic of something else": {"magic": b"abcd"},
    "header size of 100": {"sizeof_hdr": 100},
}
# Sound, or odd in a way that may be refused: where it is used, the prediction is written as the image came.
EITHER: dict[str, dict[str, Any]] = {
    "sform moved": {"sform_code": 2, "srow_x": (-1, 0, 0, 4), "srow_y": (0, -1.2, 0, -7)},
    "sform mirrored": {"sform_code": 2, "srow_x": (1, 0, 0, -17)},
    "sform turned by 12 degrees":
        {"sform_code": 2, "srow_x": (-0.9781, 0.2495, 0, 0), "srow_y": (-0.2079, -1.1738, 0, 0)},
    "sform of other spacing than pixdim": {"srow_x": (-1.5, 0, 0, 0)},
    "sform of zeros": {"srow_x": (0,) * 4, "srow_y": (0,) * 4, "srow_z": (0,) * 4},
    "sform of rank two": {"srow_z": (-1, 0, 0, 0)},
    "sform sheared by 1e-3": {"qform_code": 0, "srow_y": (0, -1.2, 1e-3, 0)},
    "sform sheared by a quarter beside a good qform": {"srow_y": (0, -1.2, 0.5, 0)}, "sform alone": {"qform_code": 0},
    "qform alone": {"sform_code": 0}, "no form": {"qform_code": 0, "sform_code": 0},
    "sform code 4 and qform code 3": {"sform_code": 4, "qform_code": 3}, "sform code -1": {"sform_code": -1},
    "sform code 99": {"sform_code": 99},
    "units of micrometres":
        {"xyzt_units": 3, "pixdim": (1, 1000, 1200, 2000, 0, 0, 0, 0), "srow_x": (-1000, 0, 0, 0),
         "srow_y": (0, -1200, 0, 0), "srow_z": (0, 0, 2000, 0)},
    "units of metres":
        {"xyzt_units": 1, "pixdim": (1, 0.001, 0.0012, 0.002, 0, 0, 0, 0), "srow_x": (-0.001, 0, 0, 0),
         "srow_y": (0, -0.0012, 0, 0), "srow_z": (0, 0, 0.002, 0)},
    "units unknown": {"xyzt_units": 0}, "units of code 7": {"xyzt_units": 7},
    "units of seconds too": {"xyzt_units": 10}, "qfac 0": {"pixdim": (0, *PIX[1:])},
    "qfac 3": {"pixdim": (3, *PIX[1:])}, "negative pixdim": {"pixdim": (1, -1, 1.2, 2, 0, 0, 0, 0)},
    "a quaternion that is too long": {"sform_code": 0, "quatern": (0, 0.8, 0.8)},
    "a quaternion of NaN": {"quatern": (NAN, 0, 0)},
    "origin at 1e6 mm": {"qoffset": (1e6, 0, 0), "srow_x": (-1, 0, 0, 1e6)},
    "origin at 1e30 mm": {"qoffset": (1e30, 0, 0), "srow_x": (-1, 0, 0, 1e30)},
    "slope 0": {"scl_slope": 0, "scl_inter": 7}, "slope NaN": {"scl_slope": NAN},
    "four dimensions, one volume": {"dim": (4, 18, 20, 6, 1, 1, 1, 1)},
    "seven dimensions of one": {"dim": (7, 18, 20, 6, 1, 1, 1, 1)},
    "dimensions behind the last of 0": {"dim": (3, 18, 20, 6, 0, 0, 0, 0)},
    "bits that contradict the type": {"bitpix": 1},
}
BYTES: dict[str, tuple[Callable[[bytes], bytes], bool]] = {  # what is done, and whether it may be read
    "an empty file": (lambda content: b"", False),
    "the header alone": (lambda content: gzip.compress(content[:348]), False),
    "half of the header": (lambda content: gzip.compress(content[:170]), False),
    "half of the voxels": (lambda content: gzip.compress(content[: 352 + (len(content) - 352) // 2]), False),
    "the compressed stream cut off": (lambda content: gzip.compress(content)[:-30], False),
    "a wrong checksum":
        (lambda content: gzip.compress(content)[:-8] + b"\1\2\3\4" + gzip.compress(content)[-4:], False),
    "a page of HTML": (lambda content: b"<!DOCTYPE html><title>Sign in</title>" * 20, False),
    "zeros": (lambda content: bytes(2000), False), "bzip2 in place of gzip": (bz2.compress, False),
    "compressed twice": (lambda content: gzip.compress(gzip.compress(content)), False),
    "a pointer of Git LFS":
        (lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", False),
    "not compressed": (lambda content: content, True),
    "bytes behind the compressed stream": (lambda content: gzip.compress(content) + b"behind", True),
    "two compressed members": (lambda content: gzip.compress(content[:400]) + gzip.compress(content[400:]), True),
    "bytes behind the voxels": (lambda content: gzip.compress(content + b"behind"), True),
    "an extension that is longer than the file":
        (lambda content: gzip.compress(content[:348] + b"\1\0\0\0" + content[352:]), True),
    "an Analyze 7.5 header": (lambda content: gzip.compress(content[:344] + b"\0\0\0\0" + content[348:]), True),
}


def entries() -> list[Entry]:
    """All entries of this file."""
    made = [Entry("header", name, with_fields(**fields), MEETING, NAMED, None) for name, fields in REFUSED.items()]
    made += [Entry("header", name, with_fields(**fields), MEETING, NAMED, SOUND, warns=True)
             for name, fields in EITHER.items()]
    made += [Entry("file", name, with_bytes(change), MEETING, NAMED, anything if may else None)
             for name, (change, may) in BYTES.items()]
    return made
