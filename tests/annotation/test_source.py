"""Which images of a folder are cases, and which folders are refused; nothing is written then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from annotation_server import write_image
from PIL import Image

from samunet.annotation.annotate import AnnotationSettings, new_project, open_cases
from samunet.annotation.project import channel_names
from samunet.annotation.requests import Finish
from samunet.annotation.source import find_source
from samunet.dataset.dataset import load_dataset
from samunet.errors import UserError

VOXELS = np.zeros((4, 3, 2))


def images(folder: Path, *names: str) -> Path:
    for name in names:
        write_image(folder / name, VOXELS, np.eye(4))
    return folder


def project(folder: Path, output: Path, labels: dict[str, int] | None = None):
    return new_project(AnnotationSettings(folder, output, labels=labels), None)


def test_names_with_channels_and_plain_names(tmp_path: Path) -> None:
    numbered = find_source(images(tmp_path / "a", "x_0000.nii.gz", "x_0001.nii.gz", "y_0000.nii.gz", "y_0001.nii.gz"))
    assert {name: [path.name for path in paths] for name, paths in numbered.images.items()} == {
        "x": ["x_0000.nii.gz", "x_0001.nii.gz"], "y": ["y_0000.nii.gz", "y_0001.nii.gz"]}
    plain = find_source(images(tmp_path / "b", "scan b.nii.gz", "scan-a.nii.gz"))
    assert list(plain.images) == ["scan b", "scan-a"] and plain.reader == "SimpleITKIO"


def test_a_bad_case_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = images(tmp_path / "a", "x_0000.nii.gz", "x_0001.nii.gz", "y_0001.nii.gz")
    assert list(find_source(folder).images) == ["x"]
    assert "case y lacks y_0000.nii.gz" in capsys.readouterr().err


@pytest.mark.parametrize(
    "names, rule",
    [
        ([], "The folder must hold images of one format."),
        (["x.nii.gz", "y.nii"], "The folder must hold images of one format."),
        (["x_0000.nii.gz", "y.nii.gz"], "Images must all have a channel number (CASE_0000), or none of them."),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, names: list[str], rule: str) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError) as fault:
        find_source(images(tmp_path / "a", *names))
    assert fault.value.rule == rule


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = images(tmp_path / "a", "x.nii.gz")
    (folder / "y.nii.gz").symlink_to("x.nii.gz")
    (folder / "z.nii.gz").symlink_to(images(tmp_path / "b", "z.nii.gz") / "z.nii.gz")
    source = find_source(folder)
    assert list(source.images) == ["x", "y"]
    assert "left out: A file of samunet_annotate must be in its folder" in capsys.readouterr().err
    (folder / "x.nii.gz").unlink()
    (folder / "x.nii.gz").symlink_to(tmp_path / "b" / "z.nii.gz")  # since it was listed
    with pytest.raises(UserError, match="after links are followed"):
        source.files("x")


def test_output_folders_that_are_refused(tmp_path: Path) -> None:
    folder = images(tmp_path / "a", "x.nii.gz")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    refused = {
        tmp_path / "other": "The output folder must be new, or one that samunet_annotate wrote.",
        folder: "The output folder must not be in the folder of images.",
        folder / "out": "The output folder must not be in the folder of images.",
    }
    for output, rule in refused.items():
        with pytest.raises(UserError) as fault:
            project(folder, output, {"a": 1})
        assert fault.value.rule == rule
    with pytest.raises(UserError, match="The classes to annotate must be given"):
        project(folder, tmp_path / "new")
    with pytest.raises(UserError, match="consecutive integers from 0"):
        project(folder, tmp_path / "new", {"a": 2})
    assert not (tmp_path / "new").exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "notes.txt", "other", "x.nii.gz"]


def test_labels_of_a_begun_folder_stay(tmp_path: Path) -> None:
    folder, output = images(tmp_path / "a", "x.nii.gz"), tmp_path / "out"
    project(folder, output, {"a": 1}).prepare()
    assert project(folder, output).labels.values == (0, 1)
    with pytest.raises(UserError, match="The labels must be those of the folder's dataset.json"):
        project(folder, output, {"a": 1, "b": 2})


def test_a_folder_of_the_output_that_leads_out_is_refused(tmp_path: Path) -> None:
    folder, output = images(tmp_path / "a", "x.nii.gz"), tmp_path / "out"
    project(folder, output, {"a": 1}).prepare()
    (output / "labelsTr").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (output / "labelsTr").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="after links are followed"):
        project(folder, output)


def test_files_of_the_output_that_lead_out_are_refused(tmp_path: Path) -> None:
    begun = project(images(tmp_path / "a", "x.nii.gz"), tmp_path / "out", {"a": 1})
    begun.prepare()
    for find in (begun.session_file, begun.prompts_file, begun.label_file):
        path = find("x")
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UserError, match="after links are followed"):
            find("x")


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_2d_images_and_tiffs_become_datasets_too(tmp_path: Path, ending: str) -> None:
    """A PNG has one plane; the label of a TIFF has its spacing beside it."""
    (tmp_path / "a").mkdir()
    if ending == ".png":
        Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a" / "x.png")
    else:
        tifffile.imwrite(tmp_path / "a" / "x.tif", np.zeros((5, 3, 6), np.uint16))
        (tmp_path / "a" / "x.json").write_text('{"spacing": [3, 2, 1]}')
    settings = AnnotationSettings(tmp_path / "a", tmp_path / "Dataset001_X", labels={"a": 1})
    cases = open_cases(settings, new_project(settings, None), None)
    opened = cases.opened("x")
    assert opened.display.shape == ((1, 3, 4) if ending == ".png" else (5, 3, 6))
    cases.act("x", Finish(True), opened.state()["version"])
    (case,) = load_dataset(tmp_path / "Dataset001_X").cases
    assert case.images[0].name == f"x_0000{ending}" and case.label.name == f"x{ending}"
    if ending == ".tif":
        assert opened.display.spacing_mm == (3, 2, 1)
        assert (tmp_path / "Dataset001_X" / "imagesTr" / "x.json").is_file()
        assert (tmp_path / "Dataset001_X" / "labelsTr" / "x.json").is_file()


def test_a_colour_image_has_three_named_channels(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / "a" / "x.png")
    assert channel_names(find_source(tmp_path / "a")) == {"0": "R", "1": "G", "2": "B"}
    assert channel_names(find_source(images(tmp_path / "b", "y_0000.nii.gz", "y_0001.nii.gz"))) == {
        "0": "zscore", "1": "zscore"}
