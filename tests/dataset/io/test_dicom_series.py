"""DICOM series as volumes: order, grid, intensities, what is refused; dcm2niix as the second opinion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dcm2niix
import numpy as np
import pytest
from dicom_files import ORIENTATIONS, ORIGIN_MM, SPACING_MM, affine_of, enhanced, ramp, slices, write_series
from pydicom.encaps import encapsulate

from samunet.dataset.dataset import scan_images
from samunet.dataset.grids import affine_mm, turn_between
from samunet.dataset.integrity import verify_folder
from samunet.dataset.io.readers import reader_named
from samunet.dataset.io.sitk_io import SimpleItkIO, read_file
from samunet.errors import UserError


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_file(folder)
    assert len(caught.value.problems) == 1
    return str(caught.value)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_slices_are_sorted_by_position_and_placed_as_the_headers_say(tmp_path, orientation) -> None:
    array, geometry = read_file(write_series(tmp_path / "case", slices(ramp(), orientation)[::-1]))
    np.testing.assert_array_equal(array, ramp()[None])
    assert geometry.spacing_mm == pytest.approx(SPACING_MM)
    np.testing.assert_allclose(affine_mm(geometry), affine_of(orientation), atol=1e-4)
    assert geometry.origin == pytest.approx(ORIGIN_MM)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_dcm2niix_puts_every_voxel_at_the_same_place(tmp_path, orientation) -> None:
    """dcm2niix turns the axes, so its array is turned onto ours by the grids alone; then values must agree."""
    series = write_series(tmp_path / "case", slices(ramp(), orientation))
    subprocess.run([dcm2niix.bin, "-z", "n", "-f", "case", "-o", str(tmp_path), str(series)], check=True,
                   capture_output=True)
    ours, grid = read_file(series)
    theirs, other = read_file(tmp_path / "case.nii")
    turn = turn_between(other, grid)
    assert turn is not None
    np.testing.assert_array_equal(turn.apply(theirs), ours)


@pytest.mark.parametrize("orientation", ["axial", "oblique"])
def test_an_enhanced_file_is_sorted_and_rescaled_frame_by_frame(tmp_path, orientation) -> None:
    order = (2, 0, 4, 1, 3)
    array, geometry = read_file(write_series(tmp_path / "case", [enhanced(ramp(), orientation, order)]))
    for frame, index in enumerate(order):  # slope 2, the intercept is the frame's number
        np.testing.assert_array_equal(array[0, index], 2.0 * ramp()[index] + frame)
    np.testing.assert_allclose(affine_mm(geometry), affine_of(orientation), atol=1e-4)


def test_every_slice_has_its_own_slope_and_intercept(tmp_path) -> None:
    series = slices(ramp())
    for index, slice_ in enumerate(series):
        slice_.RescaleSlope, slice_.RescaleIntercept = str(1 + index / 4), str(-1024 + index)
    array, _ = read_file(write_series(tmp_path / "case", series))
    assert array.dtype == np.float32
    assert array[0, 2, 1, 3] == 1.5 * 213 - 1022
    assert array[0, 4, 0, 0] == 2 * 400 - 1020


def test_one_slice_takes_its_thickness(tmp_path) -> None:
    array, geometry = read_file(write_series(tmp_path / "case", slices(ramp((1, 6, 7)))))
    assert array.shape == (1, 1, 6, 7) and geometry.spacing_mm == SPACING_MM
    spaced = slices(ramp((1, 6, 7)), SpacingBetweenSlices="-4")  # of nuclear medicine: the sign is a direction
    assert read_file(write_series(tmp_path / "spaced", spaced))[1].spacing_mm == (4.0, *SPACING_MM[1:])


def moved(index: int, *by_mm: float):
    def change(series):
        position = np.array(series[index].ImagePositionPatient, float) + by_mm
        series[index].ImagePositionPatient = [f"{value:.6f}" for value in position]
    return change


def tilted(series):
    for index in range(len(series)):
        moved(index, 0, 0.5 * index, 0)(series)


def changed(index: int, **values):
    def change(series):
        for keyword, value in values.items():
            setattr(series[index], keyword, value)
    return change


def without(keyword: str):
    def change(series):
        for slice_ in series:
            delattr(slice_, keyword)
    return change


def copied(series):
    series.append(series[2].copy())


REFUSED = {
    "tilt": (tilted, ["right angles", "tilted by 11.3 degrees"]),  # atan(0.5 / 2.5)
    "one displaced": (moved(2, 1.0, 0, 0), ["right angles", "displaced by 1 mm"]),
    "missing": (lambda series: series.pop(2), ["without gaps", "usually 2.5 mm, but 5 mm between IM0010 and IM0017"]),
    "missing near the end": (lambda series: series.pop(3), ["without gaps", "5 mm between IM0017 and IM0024"]),
    "uneven": (moved(2, 0, 0, 0.5), ["without gaps", "3 mm between", "2 mm between"]),
    "duplicate": (copied, ["at one place", "1 of 6"]),
    "two series": (changed(1, SeriesInstanceUID="1.2.3"), ["SeriesInstanceUID", "4 slices", "1 slices of 1.2.3"]),
    "two frames": (changed(1, FrameOfReferenceUID="1.2.3"), ["FrameOfReferenceUID", "1 slices of 1.2.3"]),
    "no frame": (without("FrameOfReferenceUID"), ["FrameOfReferenceUID", "none"]),
    "two orientations": (changed(0, ImageOrientationPatient=["1", "0", "0", "0", "0", "-1"]),
                         ["one ImageOrientationPatient", "4 slices of (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)"]),
    "two spacings": (changed(0, PixelSpacing=["0.8", "0.7"]), ["one PixelSpacing", "4 slices of (0.8, 0.6)"]),
    "two sizes": (changed(0, Rows=3, PixelData=bytes(42)), ["one size", "4 slices of (6, 7)", "1 slices of (3, 7)"]),
    "no spacing": (without("PixelSpacing"), ["usable PixelSpacing", "no such attribute"]),
    "no position": (without("ImagePositionPatient"), ["usable ImagePositionPatient"]),
    "no orientation": (without("ImageOrientationPatient"), ["usable ImageOrientationPatient"]),
    "zero spacing": (lambda series: [changed(index, PixelSpacing=["0", "0"])(series) for index in range(5)],
                     ["spacing", "0.0"]),
    "monochrome1": (changed(0, PhotometricInterpretation="MONOCHROME1"), ["MONOCHROME2", "inverted"]),
    "colours": (changed(0, PhotometricInterpretation="RGB", SamplesPerPixel=3), ["grey", "RGB, 3 samples"]),
    "no image": (changed(0, Rows=None), ["must be an image"]),
    "cine": (changed(0, NumberOfFrames=9), ["several frames", "9 frames without functional groups"]),
    "truncated": (changed(0, PixelData=bytes(10)), ["readable"]),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_no_volume_is_refused_with_one_message(tmp_path, fault) -> None:
    change, expected = REFUSED[fault]
    series = slices(ramp())
    change(series)
    message = refusal(write_series(tmp_path / "case", series))
    for text in expected:
        assert text in message


def test_a_link_to_nothing_is_no_missing_end(tmp_path) -> None:
    folder = write_series(tmp_path / "case", slices(ramp()))
    (folder / "IM0031").unlink()
    (folder / "IM0031").symlink_to(tmp_path / "nowhere")
    assert "link to nothing: IM0031" in refusal(folder)


def test_several_enhanced_files_are_refused(tmp_path) -> None:
    other = enhanced(ramp())
    assert "one enhanced file" in refusal(write_series(tmp_path / "case", [enhanced(ramp()), other]))


def test_other_files_are_ignored_with_a_warning(tmp_path, capsys) -> None:
    folder = write_series(tmp_path / "case", slices(ramp()))
    (folder / "readme.txt").write_text("not DICOM")
    np.testing.assert_array_equal(read_file(folder)[0][0], ramp())
    assert "readme.txt (no DICOM)" in capsys.readouterr().err


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch) -> None:
    folder = write_series(tmp_path / "case", slices(ramp()))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert "pip install 'samunet[dicom]'" in refusal(folder)


def test_a_syntax_that_nothing_decodes_is_named_with_its_remedy(tmp_path) -> None:
    series = slices(ramp())
    for slice_ in series:
        slice_.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
        slice_.PixelData = encapsulate([b"\xff\xd8"])
        slice_["PixelData"].is_undefined_length = True
    message = refusal(write_series(tmp_path / "case", series))
    assert "JPEG Lossless" in message and "1.2.840.10008.1.2.4.70" in message and "gdcmconv --raw" in message


def test_compressed_voxels_are_the_same(tmp_path) -> None:
    series = slices(ramp())
    for slice_ in series:
        slice_.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)  # RLE
    array, _ = read_file(write_series(tmp_path / "case", series))
    np.testing.assert_array_equal(array, ramp()[None])


def test_rounded_positions_are_no_gaps(tmp_path) -> None:
    """Steps of 0.625 mm in positions of one decimal: 0.6, 0.7, 0.6; more than a tenth of a step off is refused."""
    series = slices(ramp((9, 6, 7)), spacing_mm=(0.625, 0.8, 0.6))
    for index, slice_ in enumerate(series):
        slice_.ImagePositionPatient = ["0", "0", f"{round(index * 0.625, 1)}"]
    _, geometry = read_file(write_series(tmp_path / "case", series))
    assert geometry.spacing_mm[0] == pytest.approx(0.625)


def test_folders_of_series_are_cases_of_one_channel_beside_files(tmp_path, capsys) -> None:
    write_series(tmp_path / "scan_0001", slices(ramp()))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no DICOM")
    image, geometry = reader_named("SimpleITKIO").read_images([tmp_path / "scan_0001"])
    SimpleItkIO().write_segmentation(image[0].astype(np.uint16), tmp_path / "other_0000.nii.gz", geometry)
    cases, problems = scan_images(tmp_path, ".nii.gz", 1)
    assert not problems
    assert [(case.name, [path.name for path in case.images]) for case in cases] == [
        ("other", ["other_0000.nii.gz"]), ("scan_0001", ["scan_0001"])]
    assert "notes (a folder)" in capsys.readouterr().err
    np.testing.assert_array_equal(reader_named("SimpleITKIO").read_images(cases[0].images)[0], image)


def test_a_raw_dataset_may_hold_series_with_labels_as_nifti(tmp_path) -> None:
    folder = tmp_path / "Dataset009_Scans"
    series = write_series(folder / "imagesTr" / "a", slices(ramp(), "oblique"))
    (folder / "labelsTr").mkdir()
    SimpleItkIO().write_segmentation((ramp() > 200).astype(np.uint8), folder / "labelsTr" / "a.nii.gz",
                                     read_file(series)[1])
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "numTraining": 1, "file_ending": ".nii.gz"}))
    assert verify_folder(folder, 1).cases[0].images == (series,)
    (folder / "dataset.json").write_text((folder / "dataset.json").read_text().replace('"CT"', '"CT", "1": "PET"'))
    with pytest.raises(UserError, match="the channels that dataset.json names"):
        verify_folder(folder, 1)


def test_files_of_a_series_without_a_folder_of_their_own_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="DICOM files belong into one folder for each case"):
        scan_images(write_series(tmp_path / "case", slices(ramp())), ".nii.gz", 1)


def test_a_reader_that_reorients_turns_series_too(tmp_path) -> None:
    image, geometry = reader_named("SimpleITKIOWithReorient").read_images(
        [write_series(tmp_path / "case", slices(ramp()))])
    np.testing.assert_array_equal(image[0], ramp()[:, ::-1, ::-1])  # LPS to RAS
    assert geometry.file is not None and geometry.file.origin == pytest.approx(ORIGIN_MM)
