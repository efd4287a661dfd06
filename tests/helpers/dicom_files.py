"""Synthetic DICOM series: every header is written here, no patient is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

TILT = np.radians(20.0)
TURN = np.array([[np.cos(TILT), -np.sin(TILT), 0], [np.sin(TILT), np.cos(TILT), 0], [0, 0, 1]])
LEAN = np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]])
# Directions of a row and of a column, in LPS.
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": tuple((TURN @ LEAN)[:, :2].T.ravel().round(6)),
    "flipped": (-1, 0, 0, 0, 1, 0),
    "upside down": (-1, 0, 0, 0, -1, 0),
}
SPACING_MM = (2.5, 0.8, 0.6)  # z, y, x
ORIGIN_MM = (-31.5, 12.25, 104.0)


def ramp(shape=(5, 6, 7)) -> np.ndarray:
    """int16 (Z, Y, X), whose values say where they are: 100 z + 10 y + x."""
    z, y, x = np.indices(shape)
    return (100 * z + 10 * y + x).astype(np.int16)


def affine_of(orientation: str, spacing_mm=SPACING_MM) -> np.ndarray:
    """Float64 (4, 4) from indices (z, y, x, 1) to LPS mm, written from the definition, not by the code under test."""
    row, column = np.reshape(ORIENTATIONS[orientation], (2, 3)).astype(float)
    matrix = np.eye(4)
    matrix[:3, 0] = np.cross(row, column) * spacing_mm[0]
    matrix[:3, 1], matrix[:3, 2] = column * spacing_mm[1], row * spacing_mm[2]
    matrix[:3, 3] = ORIGIN_MM
    return matrix


def slices(voxels: np.ndarray, orientation: str = "axial", spacing_mm=SPACING_MM, **changes) -> list[FileDataset]:
    """A CT series of `voxels` int16 (Z, Y, X), one dataset a slice; `changes` are attributes of all of them."""
    affine, series = affine_of(orientation, spacing_mm), _uid("series")
    made = []
    for index, plane in enumerate(voxels):
        slice_ = _image(plane, CTImageStorage, "CT", series, f"slice {index}")
        slice_.ImagePositionPatient = _text(affine[:3] @ (index, 0, 0, 1))
        slice_.ImageOrientationPatient = _text(ORIENTATIONS[orientation])
        slice_.PixelSpacing, slice_.SliceThickness = _text(spacing_mm[1:]), str(spacing_mm[0])
        slice_.RescaleSlope, slice_.RescaleIntercept, slice_.KVP = "1", "0", "120"
        slice_.InstanceNumber = len(voxels) - index  # against the positions: numbers must not count
        for keyword, value in changes.items():
            setattr(slice_, keyword, value)
        made.append(slice_)
    return made


def enhanced(voxels: np.ndarray, orientation: str = "axial", order: Sequence[int] | None = None) -> FileDataset:
    """One enhanced MR file whose frames hold the slices of `voxels` in `order`; slopes are 2, intercepts the frame's.
    """
    order = range(len(voxels))[::-1] if order is None else order
    affine = affine_of(orientation)
    file = _image(voxels[list(order)], EnhancedMRImageStorage, "MR", _uid("enhanced series"), "enhanced")
    file.NumberOfFrames = len(voxels)
    file.SharedFunctionalGroupsSequence = [_item(
        PlaneOrientationSequence=[_item(ImageOrientationPatient=_text(ORIENTATIONS[orientation]))],
        PixelMeasuresSequence=[_item(PixelSpacing=_text(SPACING_MM[1:]), SliceThickness=str(SPACING_MM[0]))])]
    file.PerFrameFunctionalGroupsSequence = [_item(
        PlanePositionSequence=[_item(ImagePositionPatient=_text(affine[:3] @ (index, 0, 0, 1)))],
        PixelValueTransformationSequence=[_item(RescaleSlope="2", RescaleIntercept=str(frame), RescaleType="US")],
        FrameContentSequence=[_item(StackID="1", InStackPositionNumber=index + 1, DimensionIndexValues=[1, index + 1])],
    ) for frame, index in enumerate(order)]
    return file


def write_series(folder: Path, series: Sequence[FileDataset]) -> Path:
    """Write each dataset to a file whose name says nothing about its place."""
    folder.mkdir(parents=True)
    for index, slice_ in enumerate(series):
        slice_.save_as(folder / f"IM{(7 * index + 3) % 101:04d}", enforce_file_format=True)
    return folder


def _image(voxels: np.ndarray, kind: str, modality: str, series: str, name: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, kind
    meta.MediaStorageSOPInstanceUID = _uid(name)
    image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    image.SOPClassUID, image.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = _uid("study"), series, _uid("frame")
    image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "Synthetic", "1", "", "O"
    image.StudyID, image.AccessionNumber, image.ReferringPhysicianName = "1", "", ""
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = "20200101"
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = "120000"
    image.Modality, image.Manufacturer, image.SeriesNumber, image.InstanceNumber = modality, "samunet tests", 3, 1
    image.ImageType, image.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "HFS"
    image.PositionReferenceIndicator = ""
    image.Rows, image.Columns = voxels.shape[-2:]
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 1
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelData = voxels.astype("<i2").tobytes()
    return image


def _item(**values) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _text(values) -> list[str]:
    return [f"{float(value) + 0:.6f}" for value in values]


def _uid(name: str) -> str:
    return generate_uid(entropy_srcs=["samunet tests", name])
