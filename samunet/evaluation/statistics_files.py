"""Statistics of a folder of segmentations as one CSV or JSON file; see `samunet.evaluation.label_statistics`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from samunet.console import progress, say
from samunet.dataset.alignment import on_grid
from samunet.dataset.case_paths import label_ending
from samunet.dataset.dataset import channel_names_of, collect_cases, read_dataset_json
from samunet.dataset.folder_listing import list_folder
from samunet.dataset.integrity import channel_problems
from samunet.dataset.io.readers import ORIENTED_READERS, reader_named
from samunet.dataset.labels import LabelSpace
from samunet.dataset.segmentations import reader_of_listing, value_problems
from samunet.errors import UserError, joined, some
from samunet.evaluation.label_statistics import LabelStatistics, label_statistics
from samunet.files import require_writable, write_json, write_text
from samunet.locks import lock_beside, owned
from samunet.workers import each_case

ENDINGS = (".csv", ".json")
IMAGE = "An image must have its segmentation's {}."
COORDINATES = "mm in LPS: x grows to the patient's left, y to the back, z to the head"


@dataclass(frozen=True)
class Case:
    """One segmentation, its image files (none without images), and how both are read."""

    name: str
    segmentation: Path
    images: tuple[Path, ...]
    reader: str
    labels: LabelSpace
    channel_names: tuple[str, ...]


def write_statistics(
    segmentations: Path, dataset_file: Path, output: Path, workers: int, images: Path | None = None
) -> int:
    """Write the statistics of every segmentation of a folder to `output`, sorted by case; returns how many there are.

    .csv has one row for each case and label, empty fields where there is no value. .json has `coordinates`,
    `channel_names` and `cases`: for each case name, label name -> statistics, with null where there is no value.

    Arguments:
        dataset_file: names labels, channels and file ending.
        images: folder with each case's images, for means and standard deviations; other cases in it are ignored.

    Raises:
        UserError: no segmentations, a case without images, files that cannot be read, unknown label values, images on
            another grid (of all cases together); an output that cannot be written, or that another process writes.
            Nothing is written then.
    """
    if output.suffix not in ENDINGS:
        raise UserError("The output file must end with .csv or .json.", where=output,
                        found=output.suffix or "no ending", mend="Name it statistics.csv, for example.")
    cases = _cases(segmentations, dataset_file, images)
    require_writable(output.parent)
    with owned(lock_beside(output), output):
        finished = each_case(measure, cases, [case.name for case in cases], workers)
        measured = dict(sorted(progress(finished, "measuring", len(cases))))
        names = cases[0].channel_names if images is not None else ()
        if output.suffix == ".csv":
            write_text(output, _csv(measured, names))
        else:
            write_json(output, {"coordinates": COORDINATES, "channel_names": list(names), "cases": {
                case: {row.label: _without_label(row) for row in rows} for case, rows in measured.items()}})
    return len(measured)


def measure(case: Case) -> list[LabelStatistics]:
    """The statistics of one case.

    Raises:
        UserError: what is wrong with its files, all together.
    """
    reader = reader_named(case.reader)
    segmentation, geometry = reader.read_segmentation(case.segmentation)
    problems, image = value_problems(segmentation, case.labels, case.segmentation), None
    if case.images:
        image, of_image = reader.read_images(case.images)
        problems += channel_problems(image, case.images[0], case.channel_names)
        image, misplaced = on_grid(image, of_image, geometry, case.images[0], case.segmentation, IMAGE)
        problems += misplaced
    if problems:
        raise joined(problems)
    return label_statistics(segmentation[0], geometry, case.labels, image)


def _cases(segmentations: Path, dataset_file: Path, images: Path | None) -> list[Case]:
    content, labels = read_dataset_json(dataset_file)
    ending = content["file_ending"]
    listing = list_folder(segmentations, label_ending(ending))
    listing.say_passed_over()
    if problems := listing.link_problems():
        raise joined(problems)
    if not listing.paths:
        raise UserError("A folder of segmentations must hold some.", where=segmentations,
                        found=f"no file that ends with {label_ending(ending)}",
                        mend="Name the folder that samunet_predict wrote, or one with labels.")
    reader = reader_of_listing(content, listing, dataset_file)
    if reader in ORIENTED_READERS:
        reader = "SimpleITKIO"  # so that indices are those of the file's own axes
    names = {path.name.removesuffix(label_ending(ending)): path for path in listing.paths}
    channels = channel_names_of(content, dataset_file)
    files = _images_of(names, images, ending, channels, dataset_file) if images is not None else {}
    return [Case(name, path, files.get(name, ()), reader, labels, channels) for name, path in names.items()]


def _images_of(
    names: Mapping[str, Path], images: Path, ending: str, channels: tuple[str, ...], dataset_file: Path
) -> dict[str, tuple[Path, ...]]:
    """The image files of every named case."""
    if not channels:
        raise UserError("dataset.json must name the channels of the images.", where=dataset_file,
                        found="no `channel_names`", mend="Add them, or leave out -images.")
    files = {case.name: case.images for case in collect_cases(images, ending, len(channels))}
    if missing := [name for name in names if name not in files]:
        raise UserError("Every segmentation needs the images of its case.", where=images,
                        found=f"{len(missing)} of {len(names)} have none: {some(missing)}",
                        mend="Name the folder that was predicted, or leave out -images.")
    if others := len(files) - len(names):
        say(f"{others} of {len(files)} cases in {images} have no segmentation and are skipped.")
    return files


def _without_label(row: LabelStatistics) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if key != "label"}


def _csv(measured: Mapping[str, Sequence[LabelStatistics]], channel_names: Sequence[str]) -> str:
    """One row for each case and label; channels are numbered, since their names may be equal."""
    channels = [f"{number}_{name}" for number, name in enumerate(channel_names)]
    head = ["case", "label", "values", "voxels", "volume_ml",
            *(f"bbox_{axis}_{end}" for axis in "zyx" for end in ("start", "stop")),
            *(f"bbox_{axis}_{end}_mm" for axis in "xyz" for end in ("min", "max")),
            *(f"centroid_{axis}_mm" for axis in "xyz"),
            *(f"{what}_{channel}" for channel in channels for what in ("mean", "std"))]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    for case, rows in measured.items():
        for row in rows:
            writer.writerow([
                case, row.label, " ".join(map(str, row.values)), row.voxels, row.volume_ml,
                *_flat(row.bbox_voxels), *_flat(row.bbox_mm), *(row.centroid_mm or (None,) * 3),
                *(value for pair in zip(row.mean, row.std, strict=True) for value in pair)])
    return file.getvalue()


def _flat(bounds: Sequence[tuple[float, float]] | None) -> list[float | None]:
    return [None] * 6 if bounds is None else [value for pair in bounds for value in pair]
