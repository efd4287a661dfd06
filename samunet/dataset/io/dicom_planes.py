"""What DICOM headers say about each slice: classic files hold one slice, enhanced multi-frame files hold many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samunet.errors import UserError

if TYPE_CHECKING:
    from pydicom import Dataset

# The functional group of an enhanced file that holds an attribute (PS3.3, section C.7.6.16.2).
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
_GEOMETRY_MEND = ("Export the series again as CT, MR or PET images with their geometry; screenshots, projections and "
                  "localizers without it are not volumes.")


@dataclass(frozen=True)
class Plane:
    """One slice: frame number `frame`, from 0, of the file `path`.

    `position` is of the first voxel's centre in mm, x to the patient's left, y to the back, z to the head; `row` and
    `column` are the unit vectors along a row (growing column number) and along a column. `spacing_mm` is (between rows,
    between columns). `step_mm` is the header's slice distance or thickness, None without one; only single slices need
    it. Intensities are stored values times `slope` plus `intercept`.
    """

    path: Path
    frame: int
    shape: tuple[int, int]
    position: tuple[float, ...]
    row: tuple[float, ...]
    column: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    step_mm: float | None
    slope: float
    intercept: float
    series: str
    frame_of_reference: str


def planes_of(path: Path, header: Dataset) -> list[Plane]:
    """The slices of one file, in the file's order.

    Raises:
        UserError: no image, colours, MONOCHROME1, a lookup table for the intensities; no spacing, position or
            orientation, or values of them that are no finite numbers.
    """
    _require_grey(path, header)
    frames = int(header.get("NumberOfFrames") or 1)
    parts = header.get("PerFrameFunctionalGroupsSequence")
    if parts is None and frames > 1:
        raise UserError("A DICOM file with several frames must say where each of them is (enhanced CT, MR or PET).",
                        where=path, found=f"{frames} frames without functional groups ({header.get('Modality')})",
                        mend="Cines and ultrasound loops are no volumes. Convert the file, or remove its case.")
    if parts is not None and len(parts) != frames:
        raise UserError("An enhanced DICOM file must describe each of its frames.", where=path,
                        found=f"{frames} frames, {len(parts)} descriptions", mend="Export the series again.")
    shared = header.get("SharedFunctionalGroupsSequence") or [{}]
    return [_plane(path, header, frame, [parts[frame], shared[0]] if parts is not None else [])
            for frame in range(frames)]


def _plane(path: Path, header: Dataset, frame: int, groups: Sequence[Any]) -> Plane:
    values = _Values(path, header, frame, groups)
    orientation = values.required("ImageOrientationPatient", 6)
    step = values.numbers("SpacingBetweenSlices", 1) or values.numbers("SliceThickness", 1)
    return Plane(
        path, frame, (int(header.Rows), int(header.Columns)),
        position=values.required("ImagePositionPatient", 3),
        row=orientation[:3], column=orientation[3:],
        spacing_mm=values.required("PixelSpacing", 2),
        step_mm=abs(step[0]) if step else None,
        slope=(values.numbers("RescaleSlope", 1) or (1.0,))[0],
        intercept=(values.numbers("RescaleIntercept", 1) or (0.0,))[0],
        series=str(header.get("SeriesInstanceUID", "")),
        frame_of_reference=str(header.get("FrameOfReferenceUID", "")),
    )


class _Values:
    """The attributes of one frame: in its own functional groups, then in the shared ones, then in the file's header."""

    def __init__(self, path: Path, header: Dataset, frame: int, groups: Sequence[Any]) -> None:
        self.path, self.header, self.frame, self.groups = path, header, frame, groups

    def _places(self, keyword: str) -> Iterator[Any]:
        for group in self.groups:
            yield from (group.get(_GROUPS[keyword]) or [])[:1]
        yield self.header

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """`count` finite numbers; None where the file has no such attribute, or an empty one."""
        try:
            values = [place.get(keyword) for place in self._places(keyword) if place.get(keyword) is not None]
            if not values or values[0] == "":
                return None
            value = values[0]
            found = tuple(float(each) for each in ([value] if count == 1 else value))
        except (TypeError, ValueError) as fault:
            raise self._wrong(keyword, str(fault)) from fault
        if len(found) != count or not all(map(math.isfinite, found)):
            raise self._wrong(keyword, str(found))
        return found

    def required(self, keyword: str, count: int) -> tuple[float, ...]:
        found = self.numbers(keyword, count)
        if found is None:
            raise self._wrong(keyword, "no such attribute")
        return found

    def _wrong(self, keyword: str, found: str) -> UserError:
        return UserError(f"A slice of a DICOM series must have a usable {keyword}.", where=self.path,
                         found=f"{found} (frame {self.frame + 1})", mend=_GEOMETRY_MEND)


def _require_grey(path: Path, header: Dataset) -> None:
    """Refuse files whose stored numbers are not one intensity a voxel."""
    if not header.get("Rows") or not header.get("Columns"):
        raise UserError("Every DICOM file of a case must be an image.", where=path,
                        found=f"modality {header.get('Modality')} without rows and columns",
                        mend="Move reports, presentation states and structure sets out of the folder.")
    grey = header.get("PhotometricInterpretation")
    if header.get("SamplesPerPixel", 1) != 1 or grey not in ("MONOCHROME1", "MONOCHROME2"):
        raise UserError("A DICOM image must be grey, with one value a voxel.", where=path,
                        found=f"{grey}, {header.get('SamplesPerPixel')} samples",
                        mend="Colours are secondary captures or fused images: name the original series.")
    if grey == "MONOCHROME1":
        raise UserError("A DICOM image must be MONOCHROME2: high values are bright.", where=path,
                        found="MONOCHROME1, in which low values are bright, as of a radiograph",
                        mend="A model would see it inverted. Convert the series to MONOCHROME2.")
    if header.get("ModalityLUTSequence"):
        raise UserError("Intensities of a DICOM image must be stored values times a slope plus an intercept.",
                        where=path, found="a lookup table (Modality LUT Sequence)",
                        mend="Apply the table, and save the series without it.")
