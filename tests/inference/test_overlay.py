"""Images whose pixels can be checked by hand."""

from __future__ import annotations

import json

import matplotlib.image
import numpy as np
import pytest
import SimpleITK as sitk
from skimage import io

from samunet.cli.plot_overlay_pngs import main
from samunet.dataset.labels import LabelSpace
from samunet.inference.contact_sheet import Sheet, draw_contact_sheet, shown_frames
from samunet.inference.overlay import Overlay, draw_overlay, middle_of_foreground

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
FIRST, SECOND = (213, 94, 0), (86, 180, 233)  # the first two colours of samunet.dataset.label_colours


def test_middle_by_hand():
    prediction = np.zeros((9, 10, 11), np.uint8)
    prediction[3:6, 2, 8] = 1
    overlay = Overlay(np.zeros(prediction.shape), prediction, None, (1.0, 1.0, 1.0))
    assert middle_of_foreground(overlay) == (4, 2, 8)
    empty = Overlay(overlay.image, np.zeros_like(prediction), None, (1.0, 1.0, 1.0))
    assert middle_of_foreground(empty) == (4, 5, 5)


def test_fill_is_the_labels_colour_and_outline_the_references(tmp_path):
    """A black 2D image, its left half predicted as 1: filled pixels are FILL of a colour, nowhere the second."""
    prediction = np.zeros((1, 20, 20), np.uint8)
    prediction[0, :, :10] = 1
    image = np.zeros((1, 20, 20), np.float32)
    draw_overlay(Overlay(image, prediction, None, (999.0, 1.0, 1.0)), LABELS, "t", tmp_path / "plain.png")
    reference = np.zeros_like(prediction)
    reference[0, 5:15, 12:18] = 2
    draw_overlay(Overlay(image, prediction, reference, (999.0, 1.0, 1.0)), LABELS, "t", tmp_path / "outlined.png")
    fill = tuple(round(0.45 * value) for value in FIRST)
    plain, outlined = (_pixels(tmp_path / f"{name}.png") for name in ("plain", "outlined"))
    assert 0.8 < _count(plain, fill) / _count(plain, (0, 0, 0)) < 1.3
    # Outside the legend, orange is drawn only as the outline.
    assert _count(outlined, SECOND) > _count(plain, SECOND)


def _pixels(path):
    return np.round(matplotlib.image.imread(path)[..., :3] * 255).astype(int)


def _count(pixels, colour):
    return int((np.abs(pixels - np.array(colour)).max(-1) <= 2).sum())


@pytest.fixture
def folders(tmp_path):
    for case in range(2):
        labels = np.zeros((6, 8, 7), np.uint8)
        labels[2:4, 2:5, 3:6] = 1 + case
        for folder, name, array in (("images", f"c{case}_0000", labels * 5.0), ("labels", f"c{case}", labels)):
            (tmp_path / folder).mkdir(exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / folder / f"{name}.nii.gz"))
    (tmp_path / "labels" / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "MRI"}, "labels": dict(LABELS.names), "numTraining": 2, "file_ending": ".nii.gz"}))
    return tmp_path


def run(folders, *arguments):
    return main(["-i", str(folders / "images"), "-s", str(folders / "labels"), "-o", str(folders / "out"), "-np", "1",
                 *arguments])


def test_one_image_for_each_case_that_has_a_segmentation(folders, capsys):
    assert run(folders, "-r", str(folders / "labels")) == 0
    assert sorted(path.name for path in (folders / "out").iterdir()) == ["c0.png", "c1.png"]
    (folders / "labels" / "c0.nii.gz").unlink()
    assert run(folders) == 0
    assert "1 of 2 images" in capsys.readouterr().err


def test_bad_input_is_reported(folders, capsys):
    assert run(folders, "-channel_idx", "3") == 2
    assert "channel 3 of 1" in capsys.readouterr().err
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((6, 8, 9), np.uint8)), str(folders / "labels" / "c0.nii.gz"))
    assert run(folders) == 2
    assert "(6, 8, 9)" in capsys.readouterr().err
    assert main(["-o", str(folders / "out")]) == 2


def test_a_segmentation_along_other_axes_is_turned_and_drawn_alike(folders, capsys):
    assert run(folders) == 0
    straight = [_pixels(folders / "out" / f"c{case}.png") for case in range(2)]
    path = str(folders / "labels" / "c1.nii.gz")
    sitk.WriteImage(sitk.Flip(sitk.ReadImage(path), [True, True, True]), path)
    assert run(folders) == 0
    assert all(np.array_equal(_pixels(folders / "out" / f"c{case}.png"), straight[case]) for case in range(2))
    assert "c1.nii.gz is stored in another direction" in capsys.readouterr().err


def test_other_values_and_other_grids_are_reported_together(folders, capsys):
    mask = sitk.GetImageFromArray(np.full((6, 8, 7), 255, np.uint8))
    mask.SetSpacing((1.0, 1.0, 2.0))
    sitk.WriteImage(mask, str(folders / "labels" / "c0.nii.gz"))
    assert run(folders) == 2
    message = capsys.readouterr().err
    assert "2 problems" in message and "255 (336 voxels)" in message and "must have its image's spacing" in message
    assert "images/c0_0000.nii.gz has (1.0, 1.0, 1.0) mm" in message

def test_what_is_passed_over_is_named_and_links_to_nothing_are_refused(folders, capsys):
    for name in ("images/c9_0000.nii", "labels/c9.NII.GZ"):
        (folders / name).touch()
    (folders / "references").mkdir()
    (folders / "references" / "c1.nii.gz").write_bytes((folders / "labels" / "c1.nii.gz").read_bytes())
    assert run(folders, "-r", str(folders / "references")) == 0
    printed = capsys.readouterr().err
    assert f"ignored in {folders / 'images'}: c9_0000.nii (an image" in printed
    assert f"ignored in {folders / 'labels'}: c9.NII.GZ (an image" in printed
    assert f"without a reference in {folders / 'references'}: c0\n" in printed
    (folders / "labels" / "c0.nii.gz").unlink()
    (folders / "labels" / "c0.nii.gz").symlink_to("nowhere")
    assert run(folders) == 2
    assert "1 link to nothing: c0.nii.gz" in capsys.readouterr().err


def test_a_bad_case_does_not_keep_the_others_from_being_drawn(folders, capsys):
    path = folders / "images" / "c0_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:50])
    assert run(folders) == 2
    assert str(path) in capsys.readouterr().err
    assert [image.name for image in (folders / "out").iterdir()] == ["c1.png"]


@pytest.mark.parametrize(("output", "lost"), [("labels", "c0.png"), ("images", None)])
def test_overlays_do_not_replace_what_they_show(tmp_path, capsys, output, lost):
    for folder, name, values in (("images", "c0_0000", 9), ("labels", "c0", 1)):
        (tmp_path / folder).mkdir()
        io.imsave(tmp_path / folder / f"{name}.png", np.full((8, 9), values, np.uint8), check_contrast=False)
    (tmp_path / "labels" / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "grey"}, "labels": dict(LABELS.names), "numTraining": 1, "file_ending": ".png"}))
    before = (tmp_path / "labels" / "c0.png").read_bytes()
    code = main(["-i", str(tmp_path / "images"), "-s", str(tmp_path / "labels"), "-o", str(tmp_path / output), "-np",
                 "1"])
    assert (code, "must not replace" in capsys.readouterr().err) == ((2, True) if lost else (0, False))
    assert (tmp_path / "labels" / "c0.png").read_bytes() == before and (tmp_path / "images"
                                                                        / "c0.png").is_file() == (lost is None)


@pytest.mark.parametrize("content",
                         [[], {"labels": dict(LABELS.names)}, {"labels": dict(LABELS.names), "file_ending": 3}])
def test_a_dataset_json_without_file_ending_is_reported(folders, capsys, content):
    (folders / "labels" / "dataset.json").write_text(json.dumps(content))
    assert run(folders) == 2
    assert "`file_ending`" in capsys.readouterr().err


@pytest.mark.parametrize("names", [1, "MRI", ["MRI"]])
def test_channel_names_that_are_no_mapping_are_reported(folders, capsys, names):
    path = folders / "labels" / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "channel_names": names}))
    assert run(folders) == 2
    assert (f"`channel_names` in dataset.json must map numbers to names.\n  where: {path}\n  found: {names!r}"
            in capsys.readouterr().err)
    assert not (folders / "out").exists()


def test_twelve_frames_at_most_from_the_first_to_the_last():
    assert shown_frames(5) == [0, 1, 2, 3, 4]
    assert shown_frames(1) == [0]
    assert shown_frames(23) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]
    assert len(set(shown_frames(13))) == 12 and shown_frames(13)[-1] == 12


def test_a_contact_sheet_keeps_colours_and_fills_only_the_labelled_frame(tmp_path):
    """Two red frames, in the second the left half predicted as 1: filled pixels are red and FILL of a colour."""
    frames = np.zeros((2, 20, 20, 3), np.float32)
    frames[..., 0] = 255
    prediction = np.zeros((2, 20, 20), np.uint8)
    prediction[1, :, :10] = 1
    draw_contact_sheet(Sheet(frames, prediction, None, ("f9", "f10")), LABELS, "t", tmp_path / "sheet.png")
    pixels = _pixels(tmp_path / "sheet.png")
    fill = tuple(round(0.45 * value + 0.55 * below) for value, below in zip(FIRST, (255, 0, 0), strict=True))
    assert 2.5 < _count(pixels, (255, 0, 0)) / _count(pixels, fill) < 3.5


@pytest.mark.parametrize("colours", [True, False])
def test_sequences_become_contact_sheets(tmp_path, capsys, colours):
    for folder, values in (("images/a_0000", (10, 20)), ("labels/a", (0, 1))):
        (tmp_path / folder).mkdir(parents=True)
        for index, value in enumerate(values):
            grey = folder.startswith("labels") or not colours
            frame = np.full((8, 12) if grey else (8, 12, 3), value, np.uint8)
            io.imsave(tmp_path / folder / f"{index}.png", frame, check_contrast=False)
    (tmp_path / "labels" / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": dict(LABELS.names), "numTraining": 1,
        "file_ending": "/"}))
    assert run(tmp_path, "-r", str(tmp_path / "labels")) == 0, capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    assert matplotlib.image.imread(tmp_path / "out" / "a.png").shape[1] == 600, "two panels of 3 inches"
