"""samunet_evaluate_clicks on the small synthetic dataset, with SAM's decoder and random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.cli.evaluate_clicks import main
from samunet.evaluation.clicks import click_score
from samunet.interaction.session import Session


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Path:
    """`images` and `labels` of two cases, and of a third one an image alone."""
    raw = prepared / "raw" / "Dataset005_Made"
    for name in ("c1", "d1", "b2"):
        copied(raw / "imagesTr" / f"{name}_0000.nii.gz", tmp_path / "images")
    for name in ("c1", "d1"):
        copied(raw / "labelsTr" / f"{name}.nii.gz", tmp_path / "labels")
    return tmp_path


def copied(path: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / path.name)


def evaluated(place: Path, model: Path, *flags: str) -> int:
    return main(["-m", str(model), "-i", str(place / "images"), "-gt", str(place / "labels"),
                 "-o", str(place / "clicks.json"), "-device", "cpu", *flags])


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_file_is_marked_and_its_clicks_give_its_scores(place, zeroshot, capsys) -> None:
    assert evaluated(place, zeroshot, "--clicks", "2", "--seed", "4") == 0
    assert "ignored, since they have no reference: b2" in capsys.readouterr().err
    content = json.loads((place / "clicks.json").read_text())
    assert content["oracle"] is True and content["simulator"] == "largest_error" and content["seed"] == 4
    assert content["variant"] == "sam_zeroshot" and content["model"] == str(zeroshot)
    assert list(content["cases"]) == ["c1", "d1"] and list(content["cases"]["c1"]) == ["a", "b"]
    # The same clicks again, by hand.
    truth, session = read(place / "labels" / "c1.nii.gz"), Session(zeroshot, device="cpu")
    session.set_image(place / "images" / "c1_0000.nii.gz")
    for number in range(3):
        for value, name in ((1, "a"), (2, "b")):
            row, score = content["cases"]["c1"][name], click_score(truth == value, session.mask == value, (1, 1, 1))
            assert (row["Dice"][number], row["NSD"][number]) == (score.dice, score.nsd)
            assert row["Dice_area"] is None and row["present"]
        for name in ("a", "b"):
            if number < 2:
                click = content["cases"]["c1"][name]["clicks"][number]
                assert (truth == {"a": 1, "b": 2}[name])[tuple(click["place"])] == click["positive"]
                session.add_point(click["place"], name, click["positive"])
    first = content["cases"]["c1"]["a"]
    assert first["Dice"][0] == 0 and first["clicks"][0]["positive"]


def test_the_same_command_writes_the_same_bytes_and_a_box_comes_first(place, zeroshot) -> None:
    assert evaluated(place, zeroshot, "--clicks", "1", "--box") == 0
    first = (place / "clicks.json").read_bytes()
    assert evaluated(place, zeroshot, "--clicks", "1", "--box") == 0
    assert (place / "clicks.json").read_bytes() == first
    content, truth, session = json.loads(first), read(place / "labels" / "c1.nii.gz"), Session(zeroshot, device="cpu")
    session.set_image(place / "images" / "c1_0000.nii.gz")
    for value, name in ((1, "a"), (2, "b")):
        voxels = np.argwhere(truth == value)
        session.add_box(voxels.min(0), voxels.max(0), name)
    assert content["box"] is True
    assert content["cases"]["c1"]["b"]["Dice"][0] == click_score(truth == 2, session.mask == 2, (1, 1, 1)).dice


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda place: (place / "images" / "d1_0000.nii.gz").unlink(), "Every reference needs its image"),
        (lambda place: shutil.rmtree(place / "labels"), "labels"),
        (lambda place: [path.unlink() for path in (place / "labels").iterdir()], "must hold segmentations"),
        (lambda place: relabelled(place / "labels" / "d1.nii.gz", lambda array: array * 9), "dataset.json lists"),
        (lambda place: relabelled(place / "labels" / "d1.nii.gz", lambda array: array[:, :-1]), "image's"),
        (lambda place: (place / "images" / "c1_0000.nii.gz").write_bytes(b"none"), "c1_0000"),
    ],
    ids=["no image", "no folder", "no reference", "unknown label", "another grid", "unreadable"],
)
def test_bad_input_is_one_message_and_nothing_is_written(place, zeroshot, capsys, damage, words) -> None:
    damage(place)
    assert evaluated(place, zeroshot) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and not (place / "clicks.json").exists()


def relabelled(path: Path, changed) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(changed(read(path))), str(path))


def test_a_model_without_prompts_and_another_ending_are_refused(place, zeroshot, prior, capsys) -> None:
    assert evaluated(place, prior) == 2
    assert "answers prompts" in capsys.readouterr().err
    assert main(["-m", str(zeroshot), "-i", str(place / "images"), "-gt", str(place / "labels"), "-o",
                 str(place / "clicks.txt"), "-device", "cpu"]) == 2
    assert ".json" in capsys.readouterr().err and not (place / "clicks.txt").exists()
