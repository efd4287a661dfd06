"""Probability files (<case>.npz) of samunet and nnU-Net, read and written one class at a time.

The classes are the first axis of the array in the file, so averaging and decoding need a few volumes of memory for any
number of classes. Nothing is unpickled.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import whole_file

MEMBER = "probabilities.npy"
MEND = "Predict the case again with --save_probabilities."
TOLERANCE = 1e-2  # float16 and sums of a softmax may leave [0, 1] by less


def probability_shape(path: Path) -> tuple[int, ...]:
    """The shape (K, Z, Y, X) of the array in a probability file, from its header.

    Raises:
        UserError: the file is missing, no .npz with `probabilities`, or these are not four axes of floats.
    """
    with _opened(path) as stream:
        shape, _, _ = _header(stream, path)
    return shape


def mean_channels(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """The mean of several probability files of one shape: for each class float32 (Z, Y, X), in order.

    Sums in float32 in the order of `paths`, then divides, as nnU-Net 2.8.1 does (ensembling/ensemble.py).

    Raises:
        UserError: a file that is cut off, or holds values that are no probabilities.
    """
    for together in zip(*map(_channels, paths), strict=True):
        mean = together[0].astype(np.float32)
        for other in together[1:]:
            mean += other.astype(np.float32, copy=False)
        mean /= len(paths)
        yield mean


def decode_channels(channels: Iterable[np.ndarray], labels: LabelSpace, shape: tuple[int, ...]) -> np.ndarray:
    """What `LabelSpace.decode` makes of all channels at once: the segmentation `shape` (Z, Y, X) of `labels.dtype`."""
    segmentation = np.zeros(shape, labels.dtype)
    best = np.empty(0, np.float32)
    for index, channel in enumerate(channels):
        if labels.regions_class_order is not None and labels.has_regions:
            segmentation[channel > 0.5] = labels.regions_class_order[index]
        elif index == 0:
            best = channel.copy()
        else:
            higher = channel > best  # the first of equal classes wins, as in argmax
            segmentation[higher] = index
            np.copyto(best, channel, where=higher)
    return segmentation


def written(channels: Iterable[np.ndarray], path: Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Pass `channels` on, writing them to a probability file; the file is there when the last one is passed.

    Arguments:
        shape: (K, Z, Y, X).
    """
    with ExitStack() as stack:
        temporary = stack.enter_context(whole_file(path))
        archive = stack.enter_context(zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED))
        stream = stack.enter_context(archive.open(MEMBER, "w", force_zip64=True))
        npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for channel in channels:
            stream.write(np.ascontiguousarray(channel, "<f4").tobytes())
            yield channel


def _channels(path: Path) -> Iterator[np.ndarray]:
    """Each class's volume (Z, Y, X), checked."""
    with _opened(path) as stream:
        shape, fortran, dtype = _header(stream, path)
        # Of one class after a transpose; such an array is read as a whole.
        whole = _read(stream, math.prod(shape), dtype, path).reshape(shape, order="F") if fortran else None
        for index in range(shape[0]):
            channel = (_read(stream, math.prod(shape[1:]), dtype, path).reshape(shape[1:]) if whole is None
                       else whole[index])
            low, high = channel.min(initial=1), channel.max(initial=0)
            if not (-TOLERANCE <= low and high <= 1 + TOLERANCE):  # NaN fails as well
                raise UserError("Probabilities must be from 0 to 1.", where=path,
                                found=f"from {low:g} to {high:g} in class {index}", mend=MEND)
            yield channel


def _read(stream: IO[bytes], count: int, dtype: np.dtype, path: Path) -> np.ndarray:
    data = stream.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise _broken(path, "the array is cut off")
    return np.frombuffer(data, dtype)


def _header(stream: IO[bytes], path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first axis is the fastest, and number type."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if len(shape) != 4 or dtype.kind != "f" or not all(shape):
        raise _broken(path, f"{dtype} of shape {shape}; floats (classes, z, y, x) are needed")
    return shape, fortran, dtype


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The array of a probability file; what a broken file raises within the block becomes a UserError."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(MEMBER) as stream:
            yield stream
    except KeyError as fault:
        raise _broken(path, f"no {MEMBER}") from fault
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as fault:
        raise _broken(path, str(fault)[:200]) from fault


def _broken(path: Path, found: str) -> UserError:
    return UserError("A probability file must be a whole .npz file with `probabilities`.", where=path, found=found,
                     mend=MEND)
