"""Which files and folders hold DICOM, and their headers; the package pydicom is imported where a file is opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from samunet.console import say_once
from samunet.dataset.folder_listing import broken_links
from samunet.dataset.voxel_checks import cannot_read
from samunet.digests import files_in
from samunet.errors import UserError, joined, some

if TYPE_CHECKING:
    from pydicom import Dataset

PREAMBLE_BYTES, MAGIC = 128, b"DICM"
# Of a folder's files, how many are opened to see whether it is a series: a case's folder may begin with other files.
OPENED = 20
DIRECTORY = "1.2.840.10008.1.3.10"  # a DICOMDIR: a table of contents, no image


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's preamble (PS3.10, section 7.1)."""
    try:
        with open(path, "rb") as stream:
            return stream.read(PREAMBLE_BYTES + len(MAGIC))[PREAMBLE_BYTES:] == MAGIC
    except OSError:
        return False


def series_folders(folders: Iterable[Path]) -> list[Path]:
    """Those of `folders` that have DICOM files among their first files; folders that cannot be listed are none."""
    found = []
    for folder in folders:
        with suppress(OSError):
            if any(map(is_dicom, files_in(folder)[:OPENED])):
                found.append(folder)
    return found


def headers(folder: Path) -> list[tuple[Path, Dataset]]:
    """Every DICOM file of `folder`, in the order of their names, without its voxels.

    Hidden files, a DICOMDIR and files of other formats are ignored, the latter with a warning.

    Raises:
        UserError: pydicom is not installed, no DICOM file, a link to nothing, a header that is damaged.
    """
    pydicom = library(folder)
    if problems := broken_links(folder, sorted(path.name for path in folder.iterdir()
                                               if path.is_symlink() and not path.exists())):
        raise joined(problems)
    found, ignored = [], []
    for path in files_in(folder):
        if not is_dicom(path):
            ignored.append(path.name)
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception as fault:  # pydicom raises all kinds of exceptions on damaged files
            raise cannot_read(path, fault) from fault
        if header.file_meta.get("MediaStorageSOPClassUID") != DIRECTORY:
            found.append((path, header))
    if not found:
        raise UserError("A folder of a DICOM series must hold DICOM files.", where=folder,
                        found=some(ignored) or "no files", mend="Put the files of one series there.")
    if ignored:
        say_once(f"Warning: ignored in {folder}: {some(ignored)} (no DICOM)")
    return found


def read_frames(path: Path, wanted: Sequence[int]) -> np.ndarray:
    """The frames number `wanted` of a file as they are stored, (frames, rows, columns), in the file's own type.

    Raises:
        UserError: compressed in a way that no installed package decodes; damaged or missing voxels.
    """
    from pydicom.pixels.utils import pixel_array

    _require_decoder(path)
    try:
        frames = np.asarray(pixel_array(path))
    except Exception as fault:  # decoders raise all kinds of exceptions on damaged files
        raise cannot_read(path, fault) from fault
    return (frames if frames.ndim == 3 else frames[None])[list(wanted)]


def _require_decoder(path: Path) -> None:
    from pydicom import dcmread
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dcmread(path, specific_tags=[], stop_before_pixels=True).file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        missing = "samunet's DICOM library does not decode it"
    else:
        if decoder.is_available:
            return
        missing = f"it needs one of the packages: {'; '.join(decoder.missing_dependencies)}"
    raise UserError(
        "The voxels of a DICOM file must be uncompressed, or compressed in a way that an installed package decodes.",
        where=path, found=f"{syntax.name} ({syntax}): {missing}",
        mend="Install such a package, or decompress the series (`gdcmconv --raw` or `dcmdjpeg`).",
    )


def library(where: Path) -> ModuleType:
    """The package pydicom, which only the extra `dicom` installs."""
    try:
        import pydicom
    except ImportError as fault:
        raise UserError("Reading DICOM needs the package pydicom.", where=where, found="it is not installed",
                        mend="Install the extra: pip install 'samunet[dicom]'. Or convert the series to NIfTI."
                        ) from fault
    return pydicom
