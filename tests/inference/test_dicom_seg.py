"""DICOM SEG written for synthetic series, read back by pydicom and highdicom: places, names, colours."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import ORIENTATIONS, affine_of, enhanced, ramp, slices, write_series
from highdicom.color import CIELabColor
from highdicom.seg import segread
from pydicom.sr.codedict import codes

from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.dicom_seg import ANATOMICAL, MAY_BE_EMPTY, PATHOLOGICAL, code_of, write_dicom_seg

LABELS = LabelSpace({"background": 0, "liver": 1, "Löwe \\ a long name": 2})


def labelled() -> np.ndarray:
    """Label 1 in the second half of slice 1 and in slice 2, label 2 in one voxel of slice 3; nothing else."""
    segmentation = np.zeros(ramp().shape, np.uint8)
    segmentation[1, :, 4:], segmentation[2], segmentation[3, 4, 5] = 1, 1, 2
    return segmentation


def written(folder: Path, series, segmentation: np.ndarray, labels=LABELS, reader="SimpleITKIO") -> Path:
    path = write_series(folder / "case", series)
    _, geometry = reader_named(reader).read_images([path])
    write_dicom_seg(segmentation, geometry, path, folder / "case.dcm", labels, "hybrid")
    return folder / "case.dcm"


def places_of(path: Path, segment: int, orientation: str) -> set[tuple[int, ...]]:
    """Indices (z, y, x) of the series' voxels that a segment holds, by the places that highdicom gives."""
    volume = segread(path).get_volume(segment_numbers=[segment], combine_segments=True)
    inside = np.argwhere(volume.array > 0)
    mm = volume.affine @ np.column_stack([inside, np.ones(len(inside))]).T
    return set(map(tuple, (np.linalg.inv(affine_of(orientation)) @ mm)[:3].T.round(3).astype(int).tolist()))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_segments_are_where_the_segmentation_is(tmp_path, orientation) -> None:
    path = written(tmp_path, slices(ramp(), orientation)[::-1], labelled())
    for value in (1, 2):
        expected = set(map(tuple, np.argwhere(labelled() == value).tolist()))
        assert places_of(path, value, orientation) == expected
    whole = segread(path).get_volume(combine_segments=True)
    turned = np.linalg.inv(affine_of(orientation)) @ whole.affine  # its axes are ours, up to direction
    np.testing.assert_allclose(np.abs(turned[:3, :3]), np.eye(3), atol=1e-4)


def test_pydicom_reads_the_position_of_every_frame(tmp_path) -> None:
    """Slices 1 and 2 hold label 1, slice 3 label 2; others are left out. Positions are the source slices' own."""
    series = slices(ramp(), "oblique")
    dataset = pydicom.dcmread(written(tmp_path, series, labelled()))
    found = {(part.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
              tuple(part.PlanePositionSequence[0].ImagePositionPatient),
              part.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
             for part in dataset.PerFrameFunctionalGroupsSequence}
    assert found == {(segment, tuple(series[place].ImagePositionPatient), series[place].SOPInstanceUID)
                     for segment, place in ((1, 1), (1, 2), (2, 3))}
    assert dataset.PatientID == "1" and dataset.StudyInstanceUID == series[0].StudyInstanceUID
    assert dataset.SeriesInstanceUID != series[0].SeriesInstanceUID
    assert dataset.FrameOfReferenceUID == series[0].FrameOfReferenceUID


def test_an_enhanced_series_refers_to_its_frames(tmp_path) -> None:
    order = (2, 0, 4, 1, 3)
    path = written(tmp_path, [enhanced(ramp(), "sagittal", order)], labelled())
    assert places_of(path, 1, "sagittal") == set(map(tuple, np.argwhere(labelled() == 1).tolist()))
    frames = {part.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
              for part in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence}
    assert frames == {order.index(place) + 1 for place in (1, 2, 3)}


def test_a_reader_that_reorients_writes_the_files_axes(tmp_path) -> None:
    path = written(tmp_path, slices(ramp()), labelled()[:, ::-1, ::-1], reader="SimpleITKIOWithReorient")
    assert places_of(path, 2, "axial") == {(3, 4, 5)}


def test_names_codes_colours_and_algorithm(tmp_path) -> None:
    one, two = pydicom.dcmread(written(tmp_path, slices(ramp()), labelled())).SegmentSequence
    assert (one.SegmentNumber, one.SegmentLabel, two.SegmentNumber, two.SegmentLabel) == (
        1, "liver", 2, "Löwe / a long name")
    kind, private = one.SegmentedPropertyTypeCodeSequence[0], two.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodingSchemeDesignator, kind.CodeValue, kind.CodeMeaning) == ("SCT", "10200004", "Liver")
    assert (private.CodingSchemeDesignator, private.LongCodeValue, private.CodeMeaning) == (
        "99SAMUNET", "Löwe / a long name", "Löwe / a long name")
    assert one.SegmentAlgorithmType == "AUTOMATIC"
    algorithm = one.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("samunet hybrid", "0.1.0")
    for segment, rgb in ((one, (213, 94, 0)), (two, (86, 180, 233))):
        colour = CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb()
        np.testing.assert_allclose(colour, rgb, atol=1)


def test_regions_overlap(tmp_path) -> None:
    labels = LabelSpace({"background": 0, "kidney": (1, 2), "tumor": (2,)}, (1, 2))
    path = written(tmp_path, slices(ramp()), labelled(), labels)
    assert len(places_of(path, 1, "axial")) == 18 + 42 + 1  # 6 x 3, 6 x 7 and one voxel
    assert places_of(path, 2, "axial") == {(3, 4, 5)}


def test_a_segmentation_without_foreground_is_written(tmp_path) -> None:
    dataset = pydicom.dcmread(written(tmp_path, slices(ramp()), np.zeros_like(labelled())))
    assert len(dataset.SegmentSequence) == 2 and not dataset.pixel_array.any()


def test_headers_that_were_anonymised_are_enough(tmp_path) -> None:
    series = slices(ramp(), "coronal")
    for slice_ in series:
        for keyword in (*MAY_BE_EMPTY, "SliceThickness"):
            if keyword in slice_:
                delattr(slice_, keyword)
    dataset = pydicom.dcmread(path := written(tmp_path, series, labelled()))
    assert dataset.PatientID == "" and dataset.PatientBirthDate == ""
    assert dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 2.5
    assert places_of(path, 2, "coronal") == {(3, 4, 5)}


def test_headers_without_identifiers_are_refused(tmp_path) -> None:
    series = slices(ramp())
    for slice_ in series:
        del slice_.StudyInstanceUID
    with pytest.raises(UserError, match="headers of a DICOM series must be valid"):
        written(tmp_path, series, labelled())


def test_every_name_of_the_table_has_a_code() -> None:
    assert code_of("Urinary_Bladder") == (codes.SCT.AnatomicalStructure, codes.SCT.Bladder)
    assert code_of("tumour")[1].value == "108369006"
    for name in (*ANATOMICAL, *PATHOLOGICAL):
        assert code_of(name)[1].scheme_designator == "SCT"


def test_without_highdicom_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UserError, match=r"pip install 'samunet\[dicom\]'"):
        written(tmp_path, slices(ramp()), labelled())
    assert not (tmp_path / "case.dcm").exists()
