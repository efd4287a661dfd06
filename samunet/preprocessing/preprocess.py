"""Raw case -> preprocessed case: transpose, crop to the non-zero box, normalise, resample (nnU-Net v2's order)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from samunet.console import progress, say
from samunet.dataset.alignment import LABEL, on_grid
from samunet.dataset.case_files import digests_of_case
from samunet.dataset.crop import BoundingBox, crop_to_nonzero
from samunet.dataset.dataset import RawCase, RawDataset
from samunet.dataset.geometry import Geometry
from samunet.dataset.integrity import channel_problems
from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import OUTSIDE, LabelSpace
from samunet.dataset.memory import require_memory
from samunet.dataset.segmentations import read_on_grid, value_problems
from samunet.errors import UserError, joined
from samunet.files import digest_of_array, digest_of_json, make_folder
from samunet.locks import locked
from samunet.planning.plans import DatasetPlan, Plans
from samunet.planning.spacing import Shape, Three, reordered, resampled_shape
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.normalize import normalize, require_bounded
from samunet.preprocessing.resample import new_shape, resample
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.view_names import case_and_view
from samunet.workers import each_case

# Raised when this room's code starts to make other arrays from the same files and plan.
VERSION = 2
# What of the plan the arrays depend on; the median shape, say, moves with every case that is added.
ARRAY_DECISIONS = ("reader", "transpose_forward", "spacing_mm", "normalization", "use_mask_for_norm",
                   "foreground_intensity")
PERCENTILES = (0.5, 99.5)


def digest_of_decisions(dataset_plan: DatasetPlan) -> str:
    """Of what the arrays depend on in the plan; a stored case's signature has it under `plan`."""
    return digest_of_json([asdict(dataset_plan)[key] for key in ARRAY_DECISIONS])


def case_signature(case: RawCase, dataset_plan: DatasetPlan) -> dict[str, Any]:
    """What a case's arrays depend on: the digest of the plan's decisions and the SHA-256 of each raw file."""
    return {
        "version": VERSION,
        "plan": digest_of_decisions(dataset_plan),
        **digests_of_case(case, dataset_plan.reader),
    }


def prepare_case(case: RawCase, reader: str, dataset_plan: DatasetPlan, labels: LabelSpace) -> PreparedCase:
    """Read and preprocess one case; the only way to arrays, for training and for prediction.

    The image depends on the image files alone: where `use_mask_for_norm` holds, the mask is the image's non-zero mask,
    while nnU-Net also counts labelled voxels outside it. `intensity_percentiles` are of the final array, all voxels
    counted (inside and outside the mask, after resampling), linearly interpolated.

    Raises:
        UserError: unreadable files, another number of channels than planned, a label on another grid than its image
            (see `alignment.on_grid`), a label value that dataset.json does not list, RGB values outside 0..255, a
            spacing by which the case is larger than the free memory on the plan's grid, or smaller than half a voxel.
    """
    image, segmentation, geometry = _read(case, reader, dataset_plan.channel_names, labels)
    return prepare_arrays(image, segmentation, geometry, case, dataset_plan, case_signature(case, dataset_plan))


def prepare_arrays(
    image: np.ndarray, segmentation: np.ndarray | None, geometry: Geometry, case: RawCase, dataset_plan: DatasetPlan,
    signature: dict[str, Any],
) -> PreparedCase:
    """Preprocess one case that is in memory; see `prepare_case`.

    Arguments:
        image: float32 (C, Z, Y, X) with the plan's channels, and its `geometry`; not changed.
        segmentation: int16 (1, Z, Y, X), checked, on the image's grid; None without one.
        case: its name and files, for messages.
        signature: see `CaseProperties`.
    """
    axes = (0, *(axis + 1 for axis in dataset_plan.transpose_forward))
    spacing_mm = reordered(geometry.spacing_mm, dataset_plan.transpose_forward)
    label_values = None if segmentation is None else _values(segmentation)
    image = image.transpose(axes)
    shape_before_cropping = image.shape[1:]
    image, mask, bbox = crop_to_nonzero(image, None)
    outside = mask[0] == OUTSIDE
    if segmentation is not None:
        segmentation = _crop_segmentation(segmentation.transpose(axes), outside, bbox)
    image = np.array(image, np.float32, order="C")
    shape_after_cropping = image.shape[1:]
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # `require_bounded` names the file
            normalize(image, outside, dataset_plan.normalization, dataset_plan.use_mask_for_norm,
                      dataset_plan.foreground_intensity)
    except UserError as fault:
        raise UserError(fault.rule, where=case.images[0], found=fault.found, mend=fault.mend) from fault
    require_bounded(image, case.images)
    shape = _target_shape(case.images[0], image.shape, spacing_mm, dataset_plan.spacing_mm)
    image = resample(image, shape, spacing_mm, dataset_plan.spacing_mm, is_segmentation=False)
    if segmentation is not None:
        segmentation = resample(segmentation, shape, spacing_mm, dataset_plan.spacing_mm, is_segmentation=True)
    properties = CaseProperties(
        name=case.name,
        geometry=geometry,
        shape_before_cropping=_three(shape_before_cropping),
        bbox=bbox,
        shape_after_cropping=_three(shape_after_cropping),
        shape=shape,
        intensity_percentiles=tuple(_percentiles(channel) for channel in image),
        image_digest=digest_of_array(image),
        segmentation_digest=None if segmentation is None else digest_of_array(segmentation),
        signature=signature,
        label_values=label_values,
        label_on_grid=label_values is not None,
    )
    return PreparedCase(image, segmentation, properties)


def preprocess_dataset(dataset: RawDataset, plans: Plans, folder: Path, workers: int) -> ArrayStore:
    """Make the arrays of every case of `dataset` in `folder` (<preprocessed>/<Dataset>/<plans_name>/arrays).

    A case whose stored signature equals that of its raw files and the plan is unchanged, if dataset.json still lists
    its label values and its label is on its image's grid; arrays of cases that the dataset no longer has, and of files
    that cannot be preprocessed, are removed. Of commands side by side one makes the arrays, the others wait and find
    them.

    Raises:
        UserError: names that cannot be used.
        BadCases: when the arrays of all other cases are there, see `prepare_case`; or a worker was killed.
    """
    names = [case.name for case in dataset.cases]
    _check_names(names)
    store = ArrayStore(make_folder(folder))
    jobs = [_Job(case, plans.dataset, dataset.labels, folder) for case in dataset.cases]
    written = 0
    with locked(folder.with_name(f"{folder.name}.lock")):
        store.keep_only(names)
        for _, was_written in progress(each_case(_make, jobs, names, workers), "Preprocessing", len(jobs)):
            written += was_written
    if written < len(jobs):
        say(f"{len(jobs) - written} of {len(jobs)} cases were preprocessed already.")
    return store


@dataclass(frozen=True)
class _Job:
    case: RawCase
    dataset_plan: DatasetPlan
    labels: LabelSpace
    folder: Path


def _make(job: _Job) -> bool:
    """Preprocess and store one case unless its signature is the stored one and its files are whole.

    Returns whether it was written.

    Arrays of other files or plans are removed where the case cannot be preprocessed: training would use them.
    """
    store = ArrayStore(job.folder)
    stored = store.whole(job.case.name)
    if stored is None and job.case.name in store:
        say(f"{job.case.name}: the preprocessed files are damaged and are rebuilt")
    signed = stored is not None and stored.signature == case_signature(job.case, job.dataset_plan)
    if stored is not None and signed and _label_holds(store, stored, job):
        return False
    try:
        prepared = prepare_case(job.case, job.dataset_plan.reader, job.dataset_plan, job.labels)
    except UserError:
        if not signed:
            store.remove(job.case.name)
        raise
    store.write(prepared)
    return True


def _label_holds(store: ArrayStore, stored: CaseProperties, job: _Job) -> bool:
    """Whether the stored segmentation is what the label file gives.

    False where it was stored along the axes of another grid.

    Refuses stored arrays as they would be refused if they were rebuilt. The label file is read only where the stored
    properties leave that open: after a change of the labels in dataset.json, and once for arrays of earlier versions.
    """
    label, values = job.case.label, stored.label_values
    if label is None or (stored.label_on_grid and values is not None and job.labels.known.issuperset(values)):
        return True
    segmentation, found = reader_named(job.dataset_plan.reader).read_segmentation(label)
    placed, problems = on_grid(segmentation, found, stored.geometry, label, job.case.images[0], LABEL)
    problems += value_problems(segmentation, job.labels, label)
    if problems:
        raise joined(problems)
    if placed is not segmentation and not stored.label_on_grid:
        return False
    store.note(replace(stored, label_values=_values(segmentation), label_on_grid=True))
    return True


def _check_names(names: list[str]) -> None:
    problems = []
    if clashing := sorted({f"{name}_seg" for name in names} & set(names)):
        problems.append(UserError("No case may be named like another one with `_seg` at its end.",
                                  found=", ".join(clashing),
                                  mend="Rename these cases; their files would be taken for segmentations."))
    if viewed := [name for name in names if case_and_view(name)[1] is not None]:
        problems.append(UserError("No case's name may end with `__view` and a number.", found=", ".join(viewed),
                                  mend="Rename these cases; they would be taken for augmented views of others."))
    if problems:
        raise joined(problems)


def _read(
    case: RawCase, reader: str, channel_names: tuple[str, ...], labels: LabelSpace
) -> tuple[np.ndarray, np.ndarray | None, Geometry]:
    """Image, segmentation and image geometry as they are in the files, checked."""
    image, geometry = reader_named(reader).read_images(case.images)
    problems = channel_problems(image, case.images[0], channel_names)
    segmentation = None
    if case.label is not None:
        segmentation, of_label = read_on_grid(reader, case.label, geometry, case.images[0], labels, LABEL)
        problems += of_label
    if problems:
        raise joined(problems)
    return image, segmentation, geometry


def _target_shape(path: Path, shape: tuple[int, ...], spacing_mm: Three, target_mm: Three) -> Shape:
    """The shape (z, y, x) of an image (C, Z, Y, X) on the plan's grid; refused where the spacing in `path` is absurd.

    Held at once are its channels in float32 and, while one is resampled, that one in float64.
    """
    cropped, why = _three(shape[1:]), f"{_mm(spacing_mm)} in the file become {_mm(target_mm)} of the plan"
    mend = "Correct the spacing in the file's header, which is in mm, or crop the image."
    unrounded = zip(resampled_shape(cropped, spacing_mm, target_mm), cropped, strict=True)
    if all(new == 0 for new, old in unrounded if old > 1) and max(cropped) > 1:
        raise UserError("A case must be larger than half a voxel of the plan.", where=path,
                        found=f"{' x '.join(map(str, cropped))} voxels (z, y, x); {why}", mend=mend)
    target = new_shape(cropped, spacing_mm, target_mm)
    require_memory(target, 4 * shape[0] + 8, where=path, why=why, mend=mend)
    return target


def _mm(spacing_mm: Three) -> str:
    return f"voxels of {' x '.join(f'{value:g}' for value in spacing_mm)} mm"


def _crop_segmentation(segmentation: np.ndarray, outside: np.ndarray, bbox: BoundingBox) -> np.ndarray:
    """The box of `segmentation` (1, Z, Y, X) as int16, with -1 where it is background and outside the mask."""
    window = tuple(slice(low, high) for low, high in bbox)
    cropped = np.array(segmentation[(slice(None), *window)], np.int16, order="C")
    cropped[(cropped == 0) & outside] = OUTSIDE
    return cropped


def _values(segmentation: np.ndarray) -> tuple[int, ...]:
    return tuple(np.unique(segmentation).tolist())


def _percentiles(channel: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(channel, PERCENTILES)
    return float(low), float(high)


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return int(shape[0]), int(shape[1]), int(shape[2])
