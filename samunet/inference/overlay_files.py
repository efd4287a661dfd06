"""The files of each overlay, for a raw dataset or for a folder of predictions; one image a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samunet.console import progress, say
from samunet.dataset.alignment import SEGMENTATION
from samunet.dataset.case_paths import SEQUENCE_READERS, is_there, label_ending
from samunet.dataset.dataset import RawCase, RawDataset, channel_names_of, collect_cases, read_dataset_json
from samunet.dataset.folder_listing import list_folder
from samunet.dataset.geometry import Geometry
from samunet.dataset.io.readers import choose_reader, reader_for, reader_named
from samunet.dataset.labels import LabelSpace
from samunet.dataset.segmentations import read_on_grid
from samunet.errors import UserError, joined, some
from samunet.files import require_writable
from samunet.inference.contact_sheet import Sheet, draw_contact_sheet
from samunet.inference.overlay import Overlay, draw_overlay
from samunet.workers import each_case


@dataclass(frozen=True)
class OverlayJob:
    """One overlay: files in, PNG out. `channel` is the image channel that is shown; colour sequences show all.

    `title` is above the overlay, by default the name.
    """

    name: str
    images: tuple[Path, ...]
    prediction: Path
    reference: Path | None
    reader: str
    labels: LabelSpace
    channel: int
    output: Path
    title: str = ""


def jobs_of_dataset(dataset: RawDataset, output: Path, channel: int) -> list[OverlayJob]:
    """The labels of a raw dataset's training cases over their images."""
    reader = choose_reader(dataset)
    return [
        OverlayJob(case.name, case.images, case.label, None, reader, dataset.labels, channel,
                   output / f"{case.name}.png")
        for case in dataset.cases
        if case.label is not None
    ]


def jobs_of_folder(
    images: Path, segmentations: Path, references: Path | None, dataset_file: Path, output: Path, channel: int
) -> list[OverlayJob]:
    """Segmentations, and references if they exist, over the images of the same name.

    Raises:
        UserError: a dataset.json by which no case can be found, no images, or none of them has a segmentation.
    """
    content, labels = read_dataset_json(dataset_file)
    ending = content["file_ending"]
    cases = collect_cases(images, ending, len(channel_names_of(content, dataset_file)))
    reader = reader_for(content.get("overwrite_image_reader_writer"), ending, cases[0].images[0], dataset_file)
    of_labels = label_ending(ending)
    _check_folders([segmentations] if references is None else [segmentations, references], of_labels)
    drawn = [case for case in cases if is_there(segmentations / f"{case.name}{of_labels}", of_labels)]
    if not drawn:
        raise UserError("The folder of segmentations must hold some of the images' cases.", where=segmentations,
                        found=f"no {cases[0].name}{of_labels}",
                        mend="Name the folder that samunet_predict wrote with -s.")
    if len(drawn) < len(cases):
        say(f"{len(cases) - len(drawn)} of {len(cases)} images have no segmentation and are skipped.")

    def reference_of(case: RawCase) -> Path | None:
        path = references / f"{case.name}{of_labels}" if references else None
        return path if path and is_there(path, of_labels) else None

    if references and (without := [case.name for case in drawn if reference_of(case) is None]):
        say(f"without a reference in {references}: {some(without)}")
    return [
        OverlayJob(case.name, case.images, segmentations / f"{case.name}{of_labels}", reference_of(case), reader,
                   labels, channel, output / f"{case.name}.png")
        for case in drawn
    ]


def _check_folders(folders: Sequence[Path], ending: str) -> None:
    """Report the ignored files in folders of segmentations.

    Raises:
        UserError: a folder that is missing, or holds broken links.
    """
    listings = [list_folder(folder, ending) for folder in folders]
    for listing in listings:
        listing.say_passed_over()
    if problems := [problem for listing in listings for problem in listing.link_problems()]:
        raise joined(problems)


def draw_all(jobs: Sequence[OverlayJob], output: Path, workers: int) -> None:
    """Draw all jobs in parallel.

    Raises:
        UserError: a folder that cannot be written to, or overlays that would replace their own input. Nothing is
            written then.
    """
    read = {path.resolve() for job in jobs for path in (*job.images, job.prediction, job.reference) if path is not None}
    if lost := [job.output.name for job in jobs if job.output.resolve() in read]:
        raise UserError("Overlays must not replace the files that they show.", where=output, found=some(lost),
                        mend="Name another folder with -o.")
    require_writable(output)
    for _ in progress(each_case(draw, jobs, [job.name for job in jobs], workers), "drawing", len(jobs)):
        pass


def draw(job: OverlayJob) -> None:
    """Read one case's files and write its overlay.

    Raises:
        UserError: unreadable files, no such channel, a segmentation on another grid than the image (see
            `alignment.on_grid`) or with values that dataset.json does not list.
    """
    reader = reader_named(job.reader)
    # If channels have files of their own, only the channel's file is read.
    alone = len(job.images) > 1 and job.channel < len(job.images)
    paths = job.images[job.channel : job.channel + 1] if alone else job.images
    image, geometry = reader.read_images(paths)
    channel = 0 if alone else job.channel
    if channel >= len(image):
        raise UserError("-channel_idx must be one of the image's channels.", where=job.images[0],
                        found=f"channel {job.channel} of {len(image)}")
    prediction, *others = _maps(job, geometry, paths[0])
    reference = others[0] if others else None
    if job.reader in SEQUENCE_READERS:
        frames = np.moveaxis(image, 0, -1) if len(image) == 3 else image[channel]
        names = geometry.frames or tuple(map(str, range(len(frames))))
        draw_contact_sheet(Sheet(frames, prediction, reference, names), job.labels,
                           job.title or job.name, job.output)
    else:
        draw_overlay(Overlay(image[channel], prediction, reference, geometry.spacing_mm), job.labels,
                     job.title or job.name, job.output)


def _maps(job: OverlayJob, geometry: Geometry, image: Path) -> list[np.ndarray]:
    """Label values (Z, Y, X) of the prediction and, if there is one, the reference, on the image's grid."""
    maps, problems = [], []
    for path in (job.prediction, job.reference):
        if path is not None:
            segmentation, found = read_on_grid(job.reader, path, geometry, image, job.labels, SEGMENTATION)
            maps.append(segmentation[0])
            problems += found
    if problems:
        raise joined(problems)
    return maps
