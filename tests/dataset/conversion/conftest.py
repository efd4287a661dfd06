"""The three root folders, empty, which nnU-Net's converters write beside samunet's."""

from __future__ import annotations

from pathlib import Path

import pytest

from samunet.dataset.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """nnU-Net's raw folder, by its environment variable."""
    pytest.importorskip("nnunetv2")
    folder = tmp_path / "theirs"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_raw", str(folder))
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return folder
