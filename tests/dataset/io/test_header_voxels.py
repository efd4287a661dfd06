"""Voxels of a file by its first bytes alone."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from samunet.dataset.io.header_voxels import header_voxels


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_either_version_and_either_order(tmp_path: Path, kind: type, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    image = kind(np.zeros((3, 4, 5, 2), np.int16), np.eye(4))
    nibabel.save(image, path)
    assert header_voxels(path) == 120
    turned = kind(np.zeros((3, 4, 5, 2), np.int16), np.eye(4), image.header.as_byteswapped())
    turned.to_filename(path)
    assert header_voxels(path) == 120


def test_only_a_header_counts(tmp_path: Path) -> None:
    """The voxels need not be there, and files that are no NIfTI give nothing."""
    whole = tmp_path / "whole.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((30, 40, 50), np.float32), np.eye(4)), whole)
    content = whole.read_bytes()
    for name, written, expected in (
        ("cut.nii", content[:100], 60_000), ("short.nii", content[:79], None), ("other.png", b"\x89PNG" * 40, None),
        ("cut.nii.gz", gzip.compress(content)[:20], None), ("plain.nii.gz", content, None),
        ("zero.nii", content[:42] + b"\0\0" + content[44:], None),
    ):
        (tmp_path / name).write_bytes(written)
        assert header_voxels(tmp_path / name) == expected, name
    assert header_voxels(tmp_path) is None and header_voxels(tmp_path / "missing.nii") is None
