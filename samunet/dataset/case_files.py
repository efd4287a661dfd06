"""The files that belong to a case, including the spacing files of 3D TIFFs, and their digests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samunet.dataset.dataset import RawCase
from samunet.dataset.io import tiff3d_io
from samunet.errors import UserError
from samunet.files import digest_of_path


def image_files(images: Sequence[Path], reader: str) -> list[Path]:
    """A case's `images`, in channel order; for 3D TIFFs also their spacing file, whether it exists or not."""
    return [*images, *([tiff3d_io.image_spacing_file(images[0])] if reader == tiff3d_io.NAME else [])]


def label_files(label: Path, reader: str) -> list[Path]:
    """A case's `label`; for a 3D TIFF also its spacing file, whether it exists or not."""
    return [label, *([tiff3d_io.label_spacing_file(label)] if reader == tiff3d_io.NAME else [])]


def digests_of_case(case: RawCase, reader: str) -> dict[str, Any]:
    """SHA-256 (hex) of what `reader` reads of a case: `images` in channel order, and `label`, None without one.

    For 3D TIFFs also `spacings`: of the image's and, if there is one, the label's spacing file; None if it is missing.

    Raises:
        UserError: a file that cannot be read.
    """
    try:
        return _digests(case, reader)
    except OSError as fault:
        raise UserError("Every image and label file must be readable.", where=fault.filename or f"case {case.name}",
                        found=fault.strerror or str(fault), mend="Restore the file, or allow to read it.") from fault


def _digests(case: RawCase, reader: str) -> dict[str, Any]:
    digests: dict[str, Any] = {
        "images": [digest_of_path(path) for path in case.images],
        "label": digest_of_path(case.label) if case.label else None,
    }
    beside = (image_files(case.images, reader)[len(case.images) :]
              + (label_files(case.label, reader)[1:] if case.label else []))
    if beside:
        digests["spacings"] = [digest_of_path(path) if path.is_file() else None for path in beside]
    return digests
