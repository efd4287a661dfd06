"""The example of documentation/reference/session.md runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pages import ROOT, blocks

PAGE = ROOT / "documentation" / "reference" / "session.md"


def test_the_example_of_the_page_runs(
    prepared: Path, zeroshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = blocks(PAGE.read_text(encoding="utf-8"), "python")
    shutil.copytree(zeroshot, tmp_path / "model")
    shutil.copy(prepared / "raw" / "Dataset005_Made" / "imagesTr" / "c1_0000.nii.gz", tmp_path / "image_0000.nii.gz")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(PAGE), "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.splitlines() == ["(slice(2, 3, None), slice(3, 4, None), slice(9, 10, None))"]
    assert (tmp_path / "session_mask.nii.gz").is_file()
