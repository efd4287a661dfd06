"""Ensembles: the mean of several models' probabilities, decoded, for folders of samunet and nnU-Net, also mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from samunet.console import progress
from samunet.dataset.case_paths import is_there
from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import same_grid
from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError, joined, some
from samunet.files import copy_whole, require_writable
from samunet.locks import lock_beside, owned
from samunet.selection.prediction_folder import PredictionFolder, open_predictions
from samunet.selection.probabilities import decode_channels, mean_channels, probability_shape, written
from samunet.workers import each_case

SAVE = "Predict the cases again with --save_probabilities (nnU-Net: the same flag) into every folder."
# What nnU-Net and samunet write beside probabilities; copied as they are, never opened.
PROPERTIES = (".pkl", ".properties.json")


@dataclass(frozen=True)
class Merge:
    """One case of an ensemble.

    Arguments:
        sources: the folder of each model's files.
        readers: the reader of each.
        ending: of segmentations, in all of them.
        geometry: of the output; known after the checks.
    """

    name: str
    sources: tuple[Path, ...]
    readers: tuple[str, ...]
    ending: str
    labels: LabelSpace
    output: Path
    save_probabilities: bool = False
    geometry: Geometry | None = None

    @property
    def probabilities(self) -> list[Path]:
        """Each model's probability file."""
        return [folder / f"{self.name}.npz" for folder in self.sources]


def ensemble_folders(folders: Sequence[Path], output: Path, workers: int, *, save_probabilities: bool = False) -> int:
    """Average the probabilities of the same cases in several folders and write the labels; returns the cases' number.

    The rule is nnU-Net's (ensembling/ensemble.py, 2.8.1). Unlike there, labels, shapes and geometries are compared as
    well as case lists, and plans.json is written beside dataset.json, both of the first folder. Of nnU-Net's .pkl files
    nothing is read: the geometry is that of the first folder's segmentation.

    Raises:
        UserError: the folders do not fit to each other, a file is missing or broken, or the output is one of the
            folders or cannot be written. All are named together, and nothing is written.
    """
    if output.resolve() in {folder.resolve() for folder in folders}:
        raise UserError("The output folder must not be an input folder.", where=output, mend="Choose another for -o.")
    opened = [open_predictions(folder) for folder in folders]
    names = _common_cases(opened)
    first = opened[0]
    merges = [Merge(name, tuple(each.folder for each in opened), tuple(each.reader for each in opened), first.ending,
                    first.labels, output, save_probabilities) for name in names]
    checked = checked_merges(merges, workers)
    require_writable(output)
    with owned(lock_beside(output), output):
        first.copy_companions(output)
        write_merges(checked, workers)
    return len(names)


def checked_merges(merges: Sequence[Merge], workers: int) -> list[Merge]:
    """The merges with their geometries, after a look at every file that they need.

    Raises:
        BadCases: of each bad case: missing files, other numbers of classes, other shapes, other geometries.
    """
    found = dict(progress(each_case(_geometry, merges, [each.name for each in merges], workers), "checking",
                          len(merges)))
    return [replace(each, geometry=found[each.name]) for each in merges]


def write_merges(merges: Sequence[Merge], workers: int) -> None:
    """Average, decode and write checked merges; each worker holds one case, a few volumes for any number of classes."""
    for _ in progress(each_case(_write, merges, [each.name for each in merges], workers), "averaging", len(merges)):
        pass


def require_same_labels(folders: Sequence[PredictionFolder]) -> None:
    """Compare labels and endings of several folders.

    Raises:
        UserError: they differ; names every folder that differs from the first.
    """
    first, problems = folders[0], []
    for other in folders[1:]:
        mine, others = ((each.labels.names, each.labels.foreground, each.labels.regions_class_order, each.ending)
                        for each in (first, other))
        if mine != others:
            problems.append(UserError(
                "All folders must have the same labels and file ending.", where=other.dataset_json,
                found=f"{_described(other)}; {first.dataset_json} has {_described(first)}",
                mend="Ensemble models of one dataset; correct dataset.json where only names of labels differ."))
    if problems:
        raise joined(problems)


def _described(folder: PredictionFolder) -> str:
    order = folder.labels.regions_class_order
    return (", ".join(f"{name}: {value}" for name, value in folder.labels.names.items())
            + (f", regions_class_order {list(order)}" if order else "") + f", {folder.ending}")


def _common_cases(folders: Sequence[PredictionFolder]) -> list[str]:
    """The cases with probabilities, which must be the same in every folder."""
    require_same_labels(folders)
    found = {each.folder: {path.stem for path in each.folder.glob("*.npz") if not path.name.startswith(".")}
             for each in folders}
    wanted = sorted(set().union(*found.values()))
    problems = [UserError("Every folder must hold the probabilities of the same cases.", where=folder,
                          found=f"{len(wanted) - len(names)} of {len(wanted)} are missing: "
                                f"{some(sorted(set(wanted) - names))}", mend=SAVE)
                for folder, names in found.items() if len(names) < len(wanted)]
    if not wanted:
        problems = [UserError("A folder to ensemble must hold probabilities.", where=folder, found="no .npz file",
                              mend=SAVE) for folder in found]
    if problems:
        raise joined(problems)
    return wanted


def _geometry(merge: Merge) -> Geometry:
    """The grid of the first segmentation, after comparing all files of the case."""
    problems: list[UserError] = []
    paths = [folder / f"{merge.name}{merge.ending}" for folder in merge.sources]
    problems += [UserError("Every probability file needs its segmentation.", where=path, found="no such file",
                           mend=SAVE) for path in paths if not is_there(path, merge.ending)]
    if problems:
        raise joined(problems)
    geometries = [reader_named(reader).read_segmentation(path)[1]
                  for path, reader in zip(paths, merge.readers, strict=True)]
    for path, geometry, probabilities in zip(paths, geometries, merge.probabilities, strict=True):
        shape, wanted = probability_shape(probabilities), (merge.labels.channels, *geometry.shape)
        if shape != wanted:
            problems.append(UserError("Probabilities must have a channel for each class, and their segmentation's "
                                      "shape.", where=probabilities, found=f"{shape} instead of {wanted}", mend=SAVE))
        if not same_grid(geometries[0], geometry):
            problems.append(UserError(
                "The predictions of a case must be on one grid.", where=path,
                found=f"{_grid(geometry)}; {paths[0]} has {_grid(geometries[0])}",
                mend="Predict the same image files with every model."))
    if problems:
        raise joined(problems)
    return geometries[0]


def _grid(geometry: Geometry) -> str:
    values = (f"{round(value, 4) + 0:g}" for value in (*geometry.origin, *geometry.direction))
    return f"shape {geometry.shape}, spacing {geometry.spacing_mm} mm, origin and direction {' '.join(values)}"


def _write(merge: Merge) -> None:
    assert merge.geometry is not None  # checked
    shape = merge.geometry.shape
    channels = mean_channels(merge.probabilities)
    if merge.save_probabilities:
        channels = written(channels, merge.output / f"{merge.name}.npz", (merge.labels.channels, *shape))
        for ending in PROPERTIES:
            if (source := merge.sources[0] / f"{merge.name}{ending}").is_file():
                copy_whole(source, merge.output / source.name)
    segmentation = decode_channels(channels, merge.labels, shape)
    reader = reader_named(merge.readers[0])
    reader.write_segmentation(segmentation, merge.output / f"{merge.name}{merge.ending}", merge.geometry)
