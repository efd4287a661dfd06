"""A segmentation of a DICOM series as a DICOM Segmentation object (PS3.3, section A.51), written by highdicom.

Every segment has a coded name, a colour and the algorithm that made it. Labels of common organs have SNOMED CT codes;
all others a code of the private scheme 99SAMUNET, whose value and meaning are the label's name.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samunet import __version__
from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import turn_between
from samunet.dataset.io.dicom_planes import Plane
from samunet.dataset.io.dicom_series import sorted_planes
from samunet.dataset.label_colours import colour_of
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import whole_file

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

PRIVATE_SCHEME = "99SAMUNET"
ANATOMY, ABNORMAL = "AnatomicalStructure", "MorphologicallyAbnormalStructure"
# Label names, in lower case with spaces, whose SNOMED CT code pydicom's dictionary has under this keyword.
ANATOMICAL = {
    "adrenal gland": "AdrenalGland", "aorta": "Aorta", "bladder": "Bladder", "urinary bladder": "Bladder",
    "bone": "Bone", "brain": "Brain", "colon": "Colon", "duodenum": "Duodenum", "esophagus": "Esophagus",
    "femur": "Femur", "gallbladder": "Gallbladder", "gall bladder": "Gallbladder", "heart": "Heart",
    "hippocampus": "Hippocampus", "inferior vena cava": "InferiorVenaCava", "kidney": "Kidney",
    "left atrium": "LeftAtrium", "left ventricle": "LeftVentricle", "liver": "Liver", "lung": "Lung",
    "pancreas": "Pancreas", "portal vein": "PortalVein", "prostate": "Prostate", "right ventricle": "RightVentricle",
    "spinal cord": "SpinalCord", "spleen": "Spleen", "splenic vein": "SplenicVein", "stomach": "Stomach",
    "thyroid": "Thyroid", "trachea": "Trachea", "uterus": "Uterus",
}
PATHOLOGICAL = {"edema": "Edema", "lesion": "Lesion", "mass": "Mass", "necrosis": "Necrosis", "neoplasm": "Neoplasm",
                "tumor": "Neoplasm", "tumour": "Neoplasm"}
SERIES_NUMBER = 900  # far above those that scanners give
# Of patient and study (PS3.3, sections C.7.1.1 and C.7.2.1); type 2: present, but may be empty.
MAY_BE_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                "AccessionNumber", "ReferringPhysicianName")
LABEL_CHARACTERS = 64  # of a SegmentLabel and of a code's meaning (PS3.5, value representation LO)


def write_dicom_seg(
    segmentation: np.ndarray, geometry: Geometry, series: Path, path: Path, labels: LabelSpace, algorithm: str
) -> None:
    """Write `segmentation` of the DICOM `series` to `path`, whole or not at all: one segment for each class or region.

    Each file is a new DICOM object: its identifiers and its time are new, while the voxels are the segmentation's.
    Patient, study and frame of reference are the series' own; nothing is anonymised.

    Arguments:
        segmentation: integer (Z, Y, X) on the grid `geometry`, which `samunet.dataset.io.dicom_series` read.
        algorithm: name of the variant.

    Raises:
        UserError: highdicom is not installed, the series has changed since it was read, or the file cannot be written.
    """
    highdicom = _library(series)
    planes, grid = sorted_planes(series, geometry.reader)
    if geometry.file is not None:  # arrays that a reader turned to RAS
        turn = turn_between(geometry, geometry.file)
        assert turn is not None  # the grid is a turned one
        segmentation = turn.apply(segmentation)
    if segmentation.shape != grid.shape:
        raise UserError("A DICOM series must not change while it is predicted.", where=series,
                        found=f"{grid.shape} voxels; {segmentation.shape} were read", mend="Predict the case again.")
    sources, order = _sources(planes, grid.spacing_mm[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about the scanner's own texts, which are copied as they are
        try:
            written = _object(highdicom, sources, _masks(segmentation, labels)[order], _segments(labels, algorithm),
                              algorithm)
        except (AttributeError, TypeError, ValueError) as fault:  # what highdicom raises on headers
            raise UserError("The headers of a DICOM series must be valid, for its DICOM SEG copies from them.",
                            where=series, found=f"{type(fault).__name__}: {fault}",
                            mend="Correct the headers and predict again. The segmentation in the other format is "
                                 "written all the same.") from fault
    with whole_file(path) as temporary:
        written.save_as(temporary)


def _object(
    highdicom: Any, sources: list[Dataset], masks: np.ndarray, segments: list[SegmentDescription], algorithm: str
) -> Any:
    made = highdicom.seg.Segmentation(
        source_images=sources, pixel_array=masks,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(), series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(), instance_number=1,
        manufacturer="samunet", manufacturer_model_name=algorithm, software_versions=__version__,
        device_serial_number=__version__, content_label="SAMUNET", content_description="Automatic segmentation",
        series_description=f"samunet {algorithm}"[:LABEL_CHARACTERS],
    )
    made.SpecificCharacterSet = "ISO_IR 192"  # label names may have any letters
    return made


def code_of(name: str) -> tuple[Any, Any]:
    """Category and type of a label's name, as codes of pydicom: SNOMED CT where the tables above know it."""
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    plain = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    for table, category in ((ANATOMICAL, ANATOMY), (PATHOLOGICAL, ABNORMAL)):
        if plain in table:
            return getattr(codes.SCT, category), getattr(codes.SCT, table[plain])
    text = _text(name)
    return codes.SCT.Tissue, CodedConcept(text, PRIVATE_SCHEME, text)


def _segments(labels: LabelSpace, algorithm: str) -> list[SegmentDescription]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    made = AlgorithmIdentificationSequence(f"samunet {algorithm}"[:LABEL_CHARACTERS], codes.DCM.ArtificialIntelligence,
                                           __version__)
    segments = []
    for number, label in enumerate(labels.foreground, 1):
        name = labels.name_of(label)
        category, kind = code_of(name)
        segments.append(SegmentDescription(
            number, _text(name), category, kind, SegmentAlgorithmTypeValues.AUTOMATIC, made,
            display_color=CIELabColor.from_rgb(*colour_of(number)),
        ))
    return segments


def _masks(segmentation: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """The label map, whose values are the numbers of the segments; for regions, which overlap, uint8 (Z, Y, X, K)."""
    if labels.has_regions:
        return np.stack([labels.mask(segmentation, label) for label in labels.foreground], -1).astype(np.uint8)
    return np.where(np.isin(segmentation, labels.foreground), segmentation, 0).astype(labels.dtype)


def _sources(planes: Sequence[Plane], step_mm: float) -> tuple[list[Dataset], np.ndarray]:
    """The series' headers, and which slice (its place along the normal) each of their frames is.

    Attributes that the standard allows to be empty, and that anonymised headers lack, are added empty.
    """
    from pydicom import dcmread

    one_slice_each = len({plane.path for plane in planes}) == len(planes)
    sources: list[Dataset] = [dcmread(plane.path, stop_before_pixels=True)
                              for plane in (planes if one_slice_each else planes[:1])]
    for source in sources:
        for keyword in MAY_BE_EMPTY:
            if keyword not in source:
                setattr(source, keyword, "")
        if one_slice_each and not source.get("SliceThickness"):
            source.SliceThickness = f"{step_mm:.10g}"
    order = np.arange(len(planes)) if one_slice_each else np.argsort([plane.frame for plane in planes])
    return sources, order


def _text(name: str) -> str:
    """A label's name as a DICOM text: no backslash, which separates values, at most 64 characters."""
    return " ".join(name.replace("\\", "/").split())[:LABEL_CHARACTERS]


def _library(where: Path) -> Any:
    try:
        import highdicom
    except ImportError as fault:
        raise UserError("Writing DICOM SEG needs the package highdicom.", where=where, found="it is not installed",
                        mend="Install the extra: pip install 'samunet[dicom]'.") from fault
    return highdicom
