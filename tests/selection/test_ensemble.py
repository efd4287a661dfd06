"""samunet_ensemble and nnU-Net's ensembling give the same labels, for folders of both and mixed ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from probability_folders import GEOMETRY, PLAIN, REGIONS, dataset_json, nnunet_in_threads, write_folder

from samunet.cli.ensemble import main

NAMES = ("case_1", "case_2")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kinds", [(False, False), (True, True), (False, True), (True, False), (True, False, False)])
@pytest.mark.parametrize("labels", [PLAIN, REGIONS], ids=["plain", "regions"])
def test_the_same_labels_as_nnunet(tmp_path: Path, monkeypatch, labels: dict, kinds: tuple[bool, ...]) -> None:
    pytest.importorskip("nnunetv2")
    from nnunetv2.ensembling import ensemble

    nnunet_in_threads(monkeypatch, "nnunetv2.ensembling.ensemble")
    folders = [tmp_path / str(number) for number in range(len(kinds))]
    for number, nnunet in enumerate(kinds):
        write_folder(folders[number], labels, NAMES, number, nnunet=nnunet)
    ensemble.ensemble_folders(list(map(str, folders)), str(tmp_path / "theirs"), True, 1)
    assert main(["-i", *map(str, folders), "-o", str(tmp_path / "ours"), "-np", "1", "--save_npz"]) == 0
    for name in NAMES:
        ours, theirs = (sitk.ReadImage(str(tmp_path / each / f"{name}.nii.gz")) for each in ("ours", "theirs"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs))
        assert sorted(np.unique(sitk.GetArrayFromImage(ours))) == [0, 1, 2]
        assert ours.GetSpacing() == pytest.approx(theirs.GetSpacing())
        assert ours.GetOrigin() == pytest.approx(theirs.GetOrigin())
        chances = [np.load(tmp_path / each / f"{name}.npz")["probabilities"] for each in ("ours", "theirs")]
        np.testing.assert_array_equal(*chances)
        assert (tmp_path / "ours" / f"{name}.pkl").read_bytes() == (folders[0] / f"{name}.pkl").read_bytes()
    for name in ("dataset.json", "plans.json"):  # nnU-Net leaves the second out
        assert (tmp_path / "ours" / name).read_bytes() == (folders[0] / name).read_bytes()


def test_an_ensemble_can_be_ensembled_again_with_several_processes(tmp_path: Path) -> None:
    for number in range(2):
        write_folder(tmp_path / str(number), PLAIN, NAMES, number)
    first, second, both, again = (str(tmp_path / each) for each in ("0", "1", "both", "again"))
    assert main(["-i", first, second, "-o", both, "-np", "2", "--save_npz"]) == 0
    assert main(["-i", both, "-o", again, "-np", "1"]) == 0
    assert (tmp_path / "again" / "case_1.nii.gz").read_bytes() == (tmp_path / "both" / "case_1.nii.gz").read_bytes()
    assert not list((tmp_path / "again").glob("*.npz"))
    described = json.loads((tmp_path / "again" / "label_colours.json").read_text())["labels"]
    assert {each["name"]: each["value"] for each in described} == {
        name: value for name, value in PLAIN["labels"].items() if value}


def other_names_of_labels(folder: Path) -> None:
    (folder / "dataset.json").write_text(json.dumps(dataset_json({"labels": {"background": 0, "b": 1, "a": 2}})))


def other_grid(folder: Path) -> None:
    write_folder(folder, PLAIN, NAMES, 1, geometry=replace(GEOMETRY, origin=(0.0, 3.25, 40.0)))


def other_classes(folder: Path) -> None:
    np.savez_compressed(folder / "case_2.npz", probabilities=np.zeros((4, *GEOMETRY.shape), np.float32))


@pytest.mark.parametrize("damage, found", [
    (lambda folder: (folder / "case_1.npz").unlink(), "1 of 2 are missing: case_1"),
    (lambda folder: [path.unlink() for path in folder.glob("*.npz")], "2 of 2 are missing"),
    (lambda folder: (folder / "case_2.nii.gz").unlink(), "needs its segmentation"),
    (lambda folder: (folder / "case_2.npz").write_bytes(b"PK"), "whole .npz file"),
    (lambda folder: (folder / "dataset.json").unlink(), "must hold dataset.json"),
    (lambda folder: (folder / "plans.json").write_text('{"image_reader_writer": "Unknown"}'), "reader"),
    (other_names_of_labels, "b: 1, a: 2"),
    (other_grid, "on one grid"),
    (other_classes, "(4, 4, 9, 8) instead of (3, 4, 9, 8)"),
])
def test_folders_that_do_not_fit_are_one_message_and_nothing_is_written(tmp_path: Path, capsys, damage,
                                                                        found: str) -> None:
    for number in range(2):
        write_folder(tmp_path / str(number), PLAIN, NAMES, number)
    damage(tmp_path / "1")
    before = contents(tmp_path)
    assert main(["-i", str(tmp_path / "0"), str(tmp_path / "1"), "-o", str(tmp_path / "out"), "-np", "1"]) == 2
    message = capsys.readouterr().err
    assert found in message and message.count("error:") == 1
    assert contents(tmp_path) == before and not (tmp_path / "out").exists()


def test_the_output_must_not_be_an_input(tmp_path: Path, capsys) -> None:
    write_folder(tmp_path / "0", PLAIN, NAMES, 0)
    before = contents(tmp_path)
    assert main(["-i", str(tmp_path / "0"), "-o", str(tmp_path / "0")]) == 2
    assert "must not be an input folder" in capsys.readouterr().err and contents(tmp_path) == before
