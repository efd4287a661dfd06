"""Which entries of a folder are read, and with which words the others are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from samunet.dataset.folder_listing import list_folder
from samunet.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One of each kind of entry."""
    for name in ("a_0000.nii.gz", "a_0000.nii", "b_0000.NII.GZ", "c_0000.nii", "._a_0000.nii.gz", ".DS_Store",
                 "notes.txt",
                 "a.json", "a.npz", ".unfinished-x.nii.gz", "real.bin"):
        (tmp_path / name).touch()
    (tmp_path / "d_0000.nii.gz").mkdir()
    (tmp_path / "e_0000.nii.gz").symlink_to("nowhere")
    (tmp_path / "f_0000.nii.gz").symlink_to("real.bin")
    (tmp_path / "loop_0000.nii.gz").symlink_to("loop_0000.nii.gz")
    os.mkfifo(tmp_path / "pipe_0000.nii.gz")
    return tmp_path


def test_every_entry_is_read_or_named_with_its_reason(folder, capsys):
    listing = list_folder(folder, ".nii.gz")
    assert [path.name for path in listing.paths] == [
        "a_0000.nii.gz", "e_0000.nii.gz", "f_0000.nii.gz", "loop_0000.nii.gz"]
    assert [path.name for path in listing.broken_links] == ["e_0000.nii.gz", "loop_0000.nii.gz"]
    assert listing.passed_over == {
        "hidden": (".DS_Store", "._a_0000.nii.gz"),
        "also there as .nii.gz": ("a_0000.nii",),
        "an image, but not .nii.gz": ("b_0000.NII.GZ", "c_0000.nii"),
        "a folder": ("d_0000.nii.gz",),
        "not .nii.gz": ("notes.txt", "real.bin"),
        "no file": ("pipe_0000.nii.gz",),
    }
    listing.say_passed_over()
    listing.say_passed_over()
    assert capsys.readouterr().err == (
        f"Warning: ignored in {folder}: .DS_Store, ._a_0000.nii.gz (hidden); a_0000.nii (also there as .nii.gz); "
        "b_0000.NII.GZ, c_0000.nii (an image, but not .nii.gz); d_0000.nii.gz (a folder); notes.txt, real.bin (not "
        ".nii.gz); pipe_0000.nii.gz (no file)\n")


def test_links_to_nothing_are_one_error_that_says_how_to_fetch_them(folder):
    (problem,) = list_folder(folder, ".nii.gz").link_problems()
    assert problem.found == "2 links to nothing: e_0000.nii.gz, loop_0000.nii.gz" and problem.where == str(folder)
    assert "datalad get" in problem.mend and "git annex get" in problem.mend


def test_of_folders_of_frames_files_are_named(folder):
    listing = list_folder(folder, "/")
    assert [path.name for path in listing.paths] == ["d_0000.nii.gz", "e_0000.nii.gz", "loop_0000.nii.gz"]
    assert listing.passed_over["no folder of frames"][:2] == ("a_0000.nii", "a_0000.nii.gz")


def test_a_folder_is_listed_in_one_pass(tmp_path, monkeypatch):
    """No entry of a folder of plain files is looked at alone: 10,000 files on a network would take minutes."""
    for number in range(20):
        (tmp_path / f"{number:02d}_0000.nii.gz").touch()
    looked = []
    for name in ("stat", "lstat"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path, *rest, real=real,
                            **named: looked.append(path) or real(path, *rest, **named))
    assert len(list_folder(tmp_path, ".nii.gz").paths) == 20
    assert not [path for path in looked if str(path).startswith(str(tmp_path))]


def test_a_folder_that_is_missing_or_no_text(tmp_path):
    with pytest.raises(UserError, match="must exist and be readable"):
        list_folder(tmp_path / "none", ".png")
    bad = tmp_path / os.fsdecode(b"b\xff")
    bad.mkdir()
    with pytest.raises(UserError, match="must be UTF-8") as caught:
        list_folder(bad, ".png")
    assert caught.value.where.endswith("b\\udcff'")
