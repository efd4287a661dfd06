"""Predict every case of a folder: read, preprocess, predict, export, write; the next is prepared meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from samunet.console import progress, say
from samunet.dataset.case_names import require_text
from samunet.dataset.dataset import RawCase, scan_images
from samunet.dataset.io.readers import VOLUME_ENDINGS
from samunet.errors import BadCases, UserError, joined
from samunet.files import require_writable
from samunet.inference.dicom_seg import write_dicom_seg
from samunet.inference.expected import announce_prediction
from samunet.inference.export import export_case
from samunet.inference.model_folder import TrainedModel
from samunet.inference.nnunet_files import prediction_is_whole, write_companions, write_prediction
from samunet.inference.predictor import predict_case
from samunet.inference.small_blobs import without_small_blobs
from samunet.inputs.read_ahead import read_ahead
from samunet.locks import owned
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.preprocess import prepare_case
from samunet.preprocessing.prompts.file import PromptsFile, read_prompts
from samunet.variants.registry import check_kinds, check_prompts
from samunet.variants.sliding_window import Slab
from samunet.workers import each_case, out_of_memory


@dataclass(frozen=True)
class PredictionSettings:
    """How a folder is predicted.

    Arguments:
        save_probabilities: also write each case's probabilities.
        continue_prediction: skip cases whose files exist; without it they are written again.
        tta: average over mirrored tiles.
        step: between neighbouring windows, see `Reading`.
        prompts: a prompts file, for a variant that answers prompts.
        remove_small_blobs: remove components of a class below this volume in ml; probabilities are unchanged.
        temperature: what logits are divided by for the saved probabilities; labels do not depend on it.
        preparing_workers: processes that read and preprocess the coming cases while one is predicted, two cases each
            in memory; with 1, a thread of this process prepares the next one.
        parts, part: this call predicts the cases number part, part + parts, ... of the sorted list.
    """

    save_probabilities: bool = False
    continue_prediction: bool = False
    tta: bool = False
    step: float | None = None
    parts: int = 1
    part: int = 0
    prompts: Path | None = None
    remove_small_blobs: float | None = None
    temperature: float = 1.0
    preparing_workers: int = 1

    def __post_init__(self) -> None:
        problems = []
        if self.step is not None and not 0 < self.step <= 1:
            problems.append(UserError("-step_size must be above 0 and at most 1.", found=str(self.step)))
        if self.remove_small_blobs is not None and not self.remove_small_blobs > 0:
            problems.append(UserError("--remove_small_blobs must be above 0 ml.", found=str(self.remove_small_blobs)))
        if not 0 <= self.part < self.parts:
            problems.append(UserError("-part_id must be between 0 and -num_parts - 1.",
                                      found=f"-part_id {self.part} of -num_parts {self.parts}"))
        if self.preparing_workers < 1:
            problems.append(UserError("-npp must be 1 or more.", found=str(self.preparing_workers)))
        if problems:
            raise joined(problems)


class Watch(Protocol):
    """Sees the logits of each case on their way into its files."""

    def watched(self, case: str, slabs: Iterator[Slab]) -> Iterator[Slab]:
        """The mean's slabs, from slabs that hold those of each member as well; see `variants.prediction.Reading`.

        It is run to its end.
        """


def predict_folder(
    model: TrainedModel, images: Path, output: Path, settings: PredictionSettings, watch: Watch | None = None
) -> int:
    """Predict the cases in `images` into `output`; returns how many were predicted now.

    A bad case does not stop the others.

    Arguments:
        watch: of a variant without prompts, what sees each case's logits by member.

    Raises:
        UserError: no images or images without channel number, an output that cannot be written or that another process
            writes, prompts that are missing, bad or not used by the variant, no room for any case in memory or for the
            files on the disk. Nothing is predicted then.
        BadCases: after all others are predicted: cases that lack a channel, cannot be read, or do not fit into memory.
    """
    check_prompts(model.variant, settings.prompts is not None)
    prompts = read_prompts(settings.prompts, model.labels) if settings.prompts else None
    if prompts:
        check_kinds(model.variant, prompts.kinds, str(settings.prompts))
    cases, problems = find_cases(model, images, output, settings)
    if prompts:
        prompts.require(case.name for case in cases)
    workers = announce_prediction(model, cases, output, tta=settings.tta, probabilities=settings.save_probabilities,
                                  workers=settings.preparing_workers)
    settings = replace(settings, preparing_workers=workers)
    with _owned_part(output, settings.parts, settings.part):
        _predict_cases(model, images, output, settings, cases, prompts, problems, watch)
    return len(cases)


@contextmanager
def _owned_part(output: Path, parts: int, part: int) -> Iterator[None]:
    """Own one of `parts` parts of the output folder within the block. Other processes may predict its other parts.

    Raises:
        UserError: another process predicts the same cases, or divides them in another way.
    """
    ending = f"-of-{parts}.lock"
    with ExitStack() as held:
        with owned(output / ".parts.lock", output, wait=True):  # while the parts are compared
            for other in output.glob(".predicting-*.lock"):
                if not other.name.endswith(ending):
                    with owned(other, output):
                        pass
            held.enter_context(owned(output / f".predicting-{part}{ending}", output))
        yield


def _predict_cases(
    model: TrainedModel, images: Path, output: Path, settings: PredictionSettings, cases: Sequence[RawCase],
    prompts: PromptsFile | None, problems: list[UserError], watch: Watch | None,
) -> None:
    """Predict `cases`; `problems` has the problems of other cases, and gets those of these."""
    if settings.part == 0:  # parallel parts would write the same files at the same time
        arguments = {"input": str(images), "output": str(output), "model": str(model.folder),
                     "folds": list(model.folds)}
        given = asdict(settings) | {"prompts": str(settings.prompts) if settings.prompts else None}
        write_companions(output, model.plans, model.dataset, {**arguments, **given})
    try:
        for case, prepared in progress(_ahead(model, cases, settings.preparing_workers), "predicting", len(cases)):
            try:
                predict_to_file(model, case, output, settings, prompts, prepared, watch)
            except UserError as fault:
                problems.append(fault)
            except (MemoryError, torch.OutOfMemoryError) as fault:
                problems.append(out_of_memory(case.name, fault))
    except BadCases as fault:
        problems.append(fault)
    if problems:
        raise BadCases(problems)


def _ahead(
    model: TrainedModel, cases: Sequence[RawCase], workers: int
) -> Iterator[tuple[RawCase, PreparedCase | None]]:
    """The cases, preprocessed by `workers` processes in the order in which they are done.

    With one, a thread of this process prepares the next case in turn; one whose preparation failed is given without it,
    so that the fault is found again, and reported, where the case is predicted.

    Raises:
        BadCases: after all others, those that several processes cannot prepare.
    """
    plan, named = model.plans.dataset, {case.name: case for case in cases}
    prepare = partial(prepare_case, reader=plan.reader, dataset_plan=plan, labels=model.labels)
    if workers == 1:
        with closing(read_ahead(((case, _tried(prepare, case)) for case in cases), ahead=1)) as ahead:
            yield from ahead
        return
    for name, prepared in each_case(prepare, cases, list(named), workers):
        yield named[name], prepared


def _tried(prepare: Callable[[RawCase], PreparedCase], case: RawCase) -> PreparedCase | None:
    try:
        return prepare(case)
    except (UserError, MemoryError):
        return None


def find_cases(
    model: TrainedModel, images: Path, output: Path, settings: PredictionSettings
) -> tuple[list[RawCase], list[UserError]]:
    """The cases that this call predicts, and the problems of those that it cannot; no image is read.

    Raises:
        UserError: a problem of all cases.
    """
    cases, problems = scan_images(images, model.file_ending, len(model.plans.dataset.channel_names))
    if images.resolve() == output.resolve():
        raise UserError("The output folder must not be the input folder.", where=output,
                        mend="Choose another folder for -o; segmentations there would be read as images next time.")
    require_text(output.absolute())
    require_writable(output)
    own = cases[settings.part :: settings.parts]
    if not settings.continue_prediction:
        return list(own), problems
    missing = [case for case in own if not prediction_is_whole(output, case.name, model.label_ending,
                                                                settings.save_probabilities)]
    if len(missing) < len(own):
        say(f"{len(own) - len(missing)} of {len(own)} cases were predicted already.")
    return missing, problems


def predict_to_file(
    model: TrainedModel, case: RawCase, output: Path, settings: PredictionSettings, prompts: PromptsFile | None,
    prepared: PreparedCase | None = None, watch: Watch | None = None,
) -> None:
    """Read, unless it is `prepared`, predict and write one case."""
    dataset_plan = model.plans.dataset
    if prepared is None:
        prepared = prepare_case(case, dataset_plan.reader, dataset_plan, model.labels)
    if prompts:
        prepared = prompts.prompted(prepared, dataset_plan)
    slabs = predict_case(model.variants, prepared, model.plans, model.encoder, tta=settings.tta, step=settings.step,
                         members=watch is not None)
    if watch is not None:
        slabs = watch.watched(case.name, slabs)
    exported = export_case(slabs, prepared.properties, dataset_plan, model.labels,
                           with_probabilities=settings.save_probabilities, temperature=settings.temperature)
    if watch is not None:
        for _ in slabs:  # those that the file's grid needs no more
            pass
    geometry = prepared.properties.geometry
    if settings.remove_small_blobs is not None:
        exported = replace(exported, segmentation=without_small_blobs(
            exported.segmentation, geometry, model.labels, settings.remove_small_blobs, case.name))
    if case.images[0].is_dir() and model.file_ending.lower() in VOLUME_ENDINGS:  # a DICOM series
        try:
            write_dicom_seg(exported.segmentation, geometry, case.images[0], output / f"{case.name}.dcm", model.labels,
                            model.variant)
        except UserError:  # reported as the case's problem; the other file is written all the same
            write_prediction(exported, output, prepared.properties, model.label_ending)
            raise
    write_prediction(exported, output, prepared.properties, model.label_ending)
