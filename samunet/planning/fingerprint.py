"""The dataset's fingerprint: spacings, shapes and, for CT, foreground intensities. Same figures as nnU-Net v2's."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from samunet.console import progress, say
from samunet.dataset.alignment import LABEL, on_grid
from samunet.dataset.case_files import digests_of_case
from samunet.dataset.crop import crop_to_nonzero
from samunet.dataset.dataset import RawCase, RawDataset
from samunet.dataset.geometry import Geometry
from samunet.dataset.io.readers import ORIENTED_READERS, choose_reader, reader_named
from samunet.errors import BadCases, UserError, joined
from samunet.files import digest_of_json, read_json, write_json
from samunet.planning.normalization_rules import schemes_of
from samunet.planning.sections import Voxels
from samunet.schema import decode
from samunet.workers import each_case

FINGERPRINT_VERSION = 1
DIGEST = "samunet_fingerprint_digest"
# nnU-Net's constants: foreground voxels drawn in the whole dataset, and the seed for each case.
FOREGROUND_SAMPLES = 10**8
SAMPLING_SEED = 1234

Millimetres = Annotated[float, Meta(gt=0)]
Three = tuple[Millimetres, Millimetres, Millimetres]
Shape = tuple[Voxels, Voxels, Voxels]


@dataclass(frozen=True)
class Fingerprint:
    """What planning knows of a dataset. Cases stand in the order of their sorted names.

    Arguments:
        spacings_mm: (z, y, x) of each case, in the files' axis order.
        shapes_after_crop: voxels (z, y, x) of each case inside its non-zero box, in the files' axis order.
        median_relative_size_after_cropping: median of (voxels in the box / voxels in the file).
        foreground_intensity_properties_per_channel: for each CT channel, by its number as a string: `mean`, `median`,
            `std`, `min`, `max`, `percentile_00_5`, `percentile_99_5` of foreground voxels. Other channels have none,
            so that labels cannot shape their plans.
        label_channels: network output channels that dataset.json's labels ask for.
        dataset_digest: SHA-256 over all that was read.
    """

    spacings_mm: tuple[Three, ...]
    shapes_after_crop: tuple[Shape, ...]
    median_relative_size_after_cropping: Annotated[float, Meta(ge=0, le=1)]
    foreground_intensity_properties_per_channel: dict[str, dict[str, float]]
    label_channels: Annotated[int, Meta(ge=1)]
    dataset_digest: str

    def save(self, path: Path) -> None:
        """Write `dataset_fingerprint.json`: nnU-Net's keys, and ours after them, the last of which is a digest of all
        others.
        """
        content = {
            "spacings": self.spacings_mm,
            "shapes_after_crop": self.shapes_after_crop,
            "foreground_intensity_properties_per_channel": self.foreground_intensity_properties_per_channel,
            "median_relative_size_after_cropping": self.median_relative_size_after_cropping,
            "label_channels": self.label_channels,
            "dataset_digest": self.dataset_digest,
            "samunet_fingerprint_version": FINGERPRINT_VERSION,
        }
        write_json(path, {**content, DIGEST: digest_of_json(content)})

    @classmethod
    def load(cls, path: Path) -> Fingerprint:
        """Read what `save` wrote.

        Raises:
            UserError: missing file, not a fingerprint of this version (nnU-Net's own has no digest), values of another
                form, or other content than was written; that is seen by a digest which fingerprints of before do not
                have.
        """
        content = read_json(path)
        version = content.get("samunet_fingerprint_version") if isinstance(content, dict) else None
        if version != FINGERPRINT_VERSION:
            raise UserError(
                f"A fingerprint must be samunet's, of version {FINGERPRINT_VERSION}.",
                where=path,
                found=str(version),
                mend="Run samunet_extract_fingerprint --clean.",
            )
        values = {**content, "spacings_mm": content.get("spacings")}
        rule, mend = (
            "A fingerprint must hold what samunet_extract_fingerprint writes.",
            "Run samunet_extract_fingerprint --clean.",
        )
        found = decode(cls, values, rule=rule, where=path, mend=mend)
        cases = len(found.spacings_mm), len(found.shapes_after_crop)
        if cases[0] != cases[1] or not cases[0]:
            raise UserError(rule, where=path, found=f"spacings of {cases[0]} cases, shapes of {cases[1]}", mend=mend)
        if DIGEST in content and content.pop(DIGEST) != digest_of_json(content):
            raise UserError("A fingerprint must be as it was written.", where=path, found="other content", mend=mend)
        return found


def extract_fingerprint(dataset: RawDataset, path: Path, workers: int, clean: bool) -> Fingerprint:
    """Read every case, and write the fingerprint to `path`.

    A fingerprint of the same file contents is used again unless `clean`; after any edit of the data it is made anew.

    Raises:
        UserError: unknown channel name, a CT channel without any foreground voxel.
        BadCases: cases that cannot be read; all cases are looked at first, but none can be left out of a plan.
    """
    sampled = [index for index, scheme in enumerate(schemes_of(dataset.channel_names)) if scheme == "ct"]
    digest = dataset_digest(dataset, with_labels=bool(sampled), workers=workers)
    if path.is_file() and not clean:
        known = _known(path)
        if known is not None and known.dataset_digest == digest:
            say(f"Fingerprint of {dataset.name}: the data have not changed, {path} is used again.")
            return known
    reader = choose_reader(dataset)
    labelled = sum(case.label is not None for case in dataset.cases)
    samples = FOREGROUND_SAMPLES // max(labelled, 1)
    jobs = [_Job(case, reader, len(dataset.channel_names), tuple(sampled), samples) for case in dataset.cases]
    names = [case.name for case in dataset.cases]
    figures = dict(progress(each_case(_examine, jobs, names, workers), f"Fingerprint of {dataset.name}", len(jobs)))
    ordered = [figures[name] for name in names]
    fingerprint = Fingerprint(
        spacings_mm=tuple(case.spacing_mm for case in ordered),
        shapes_after_crop=tuple(case.shape for case in ordered),
        median_relative_size_after_cropping=float(np.median([case.relative_size for case in ordered])),
        foreground_intensity_properties_per_channel={
            str(channel): _statistics([case.intensities[place] for case in ordered], dataset, channel)
            for place, channel in enumerate(sampled)
        },
        label_channels=dataset.labels.channels,
        dataset_digest=digest,
    )
    fingerprint.save(path)
    return fingerprint


def dataset_digest(dataset: RawDataset, *, with_labels: bool, workers: int) -> str:
    """SHA-256 over the bytes of every image file (and label file, if asked), channel names, reader and label count.

    Of 3D TIFFs the files that hold their spacing count as well.
    """
    cases = [case if with_labels else replace(case, label=None) for case in dataset.cases]
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        found = list(pool.map(partial(_digests_or_fault, reader=choose_reader(dataset)), cases))
    if faults := [each for each in found if isinstance(each, UserError)]:
        raise BadCases(faults)
    return digest_of_json(
        {
            "cases": {case.name: digests for case, digests in zip(cases, found, strict=True)},
            "channel_names": list(dataset.channel_names),
            "reader": dataset.reader,
            "label_channels": dataset.labels.channels,
            **(
                {"oriented": True} if choose_reader(dataset) in ORIENTED_READERS else {}
            ),  # earlier versions did not turn arrays
        }
    )


def _digests_or_fault(case: RawCase, reader: str) -> dict[str, Any] | UserError:
    try:
        return digests_of_case(case, reader)
    except UserError as fault:
        return fault


@dataclass(frozen=True)
class _Job:
    case: RawCase
    reader: str
    channels: int
    sampled_channels: tuple[int, ...]
    samples: int


@dataclass(frozen=True)
class _Figures:
    """`intensities`: for each sampled channel float32 (samples,), or None without foreground."""

    spacing_mm: Three
    shape: Shape
    relative_size: float
    intensities: tuple[np.ndarray | None, ...]


def _examine(job: _Job) -> _Figures:
    reader = reader_named(job.reader)
    image, geometry = reader.read_images(job.case.images)
    if len(image) != job.channels:
        raise UserError(
            "A case must have the channels that dataset.json names.",
            where=job.case.images[0],
            found=f"{len(image)} channels, {job.channels} in `channel_names`",
            mend="Correct `channel_names`, or the image files.",
        )
    voxels = int(np.prod(image.shape[1:]))
    segmentation = _read_label(job, geometry) if job.sampled_channels and job.case.label is not None else None
    image, cropped, _ = crop_to_nonzero(image, segmentation)
    drawn: tuple[np.ndarray | None, ...] = (None,) * len(job.sampled_channels)
    if segmentation is not None:
        drawn = draw_foreground(image, cropped[0] > 0, job.sampled_channels, job.samples)
    depth, rows, columns = image.shape[1:]
    return _Figures(geometry.spacing_mm, (depth, rows, columns), depth * rows * columns / voxels, drawn)


def _read_label(job: _Job, geometry: Geometry) -> np.ndarray:
    """The label on the grid of its image, int16 (1, Z, Y, X)."""
    assert job.case.label is not None
    segmentation, found = reader_named(job.reader).read_segmentation(job.case.label)
    segmentation, problems = on_grid(segmentation, found, geometry, job.case.label, job.case.images[0], LABEL)
    if problems:
        raise joined(problems)
    return segmentation


def draw_foreground(
    image: np.ndarray, foreground: np.ndarray, channels: Sequence[int], samples: int
) -> tuple[np.ndarray | None, ...]:
    """Draw `samples` foreground values with replacement from each of `channels` of `image` (C, Z, Y, X).

    The values are nnU-Net's own: one generator for a case, and every channel draws in its turn, wanted or not.
    None for each channel where `foreground` (Z, Y, X) is empty.
    """
    if not foreground.any():
        return (None,) * len(channels)
    generator = np.random.RandomState(SAMPLING_SEED)
    drawn = {}
    for channel in range(max(channels) + 1):
        values = generator.choice(image[channel][foreground], samples, replace=True)
        if channel in channels:
            drawn[channel] = values
    return tuple(drawn[channel] for channel in channels)


def _statistics(drawn: Sequence[np.ndarray | None], dataset: RawDataset, channel: int) -> dict[str, float]:
    present = [values for values in drawn if values is not None]
    if not present:
        raise UserError(
            "CT normalisation needs foreground voxels in at least one labelled case.",
            where=f"{dataset.folder}, channel {channel} ('{dataset.channel_names[channel]}')",
            found="no voxel above 0 in any label file",
            mend="Check the label files, or name the channel 'zscore' in dataset.json.",
        )
    values = np.concatenate(present)
    statistics = {"mean": np.mean(values), "std": np.std(values), "min": np.min(values), "max": np.max(values)}
    # Last, because it may reorder the values: a copy of all samples would be 400 MB.
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5), overwrite_input=True)
    statistics |= {"median": median, "percentile_00_5": low, "percentile_99_5": high}
    return {name: float(figure) for name, figure in statistics.items()}


def _known(path: Path) -> Fingerprint | None:
    """The fingerprint at `path`, or None if it cannot serve (another version, nnU-Net's own, damaged)."""
    try:
        return Fingerprint.load(path)
    except UserError:
        return None
