"""One run from start to end: train, validate, put the folder in its place."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from samunet.console import result, say
from samunet.dataset.paths import Paths
from samunet.errors import UserError, some
from samunet.files import digest_of_file, make_folder, write_json
from samunet.inference.model_folder import TRAINED_BY
from samunet.inference.model_weights import CHECKPOINT, DIGEST, load_weights
from samunet.inputs.batches import Batches
from samunet.planning.splits import ALL
from samunet.preprocessing.arrays import LazyCases
from samunet.processes import from_first, rank, rank0_first, require_even
from samunet.training.checkpoints import LATEST, save_weights
from samunet.training.expected import announce_training
from samunet.training.experiment import Experiment, open_experiment, run_folder
from samunet.training.finished_run import FinishedRun, finished_before, finished_now, is_validated
from samunet.training.label_statistics import (
    case_statistics,
    label_statistics,
    voxels_per_token,
    warn_of_small_objects,
)
from samunet.training.length import fitted_length
from samunet.training.loggers import Loggers, Maker, makers_of, scores_of
from samunet.training.pseudo_dice import pseudo_dice_of
from samunet.training.run_folder import Start, changed_settings_of, stored_run
from samunet.training.run_record import new_run, peak_memory_mb
from samunet.training.settings import UNTOLD_BEFORE, Request
from samunet.training.trainer import train
from samunet.training.validation import validate
from samunet.variants.base import TrainedVariant, Variant
from samunet.variants.registry import entry
from samunet.variants.run_data import SCRATCH


def train_model(request: Request, paths: Paths, *, must_continue: bool, workers: int) -> FinishedRun:
    """What `samunet_train` does: train or fit one fold and validate it.

    A killed run continues where it was when it is started again with the same settings.

    Raises:
        UserError: see `makers_of`, `open_experiment`, `RunFolder.owned` and `RunFolder.start`.
    """
    makers = makers_of(request.loggers)
    experiment = open_experiment(request, paths)
    if must_continue:
        experiment.folder.require_run()
    with experiment.folder.owned() if rank() == 0 else nullcontext():
        start = from_first(lambda: experiment.folder.start(experiment.settings, must_continue))
        if start is Start.NOTHING:
            return finished_before(experiment.folder.final)
        return _run(experiment, start, TRAINED_BY, workers, makers if rank() == 0 else {})


def ensure_trained(request: Request, paths: Paths, *, trained_by: str, workers: int) -> None:
    """Train and validate unless a finished run of the same settings is there; go on with an unfinished one.

    A finished run whose validation has been removed is trained again.

    Arguments:
        trained_by: recorded with the run, so that commands can tell whose it is.

    Raises:
        UserError: see `open_experiment`.
    """
    experiment = open_experiment(request, paths)
    with experiment.folder.owned(wait=True):  # a worker that was killed may leave a process that is about to end
        if not _is_finished(experiment):
            start = experiment.folder.start(experiment.settings, must_continue=False)
            result(_run(experiment, start, trained_by, workers, {}).text)


def is_trained(request: Request, paths: Paths) -> bool:
    """Whether a finished, validated run of the same settings is there, so that `ensure_trained` would do nothing.

    Raises:
        UserError: see `open_experiment`.
    """
    return _is_finished(open_experiment(request, paths))


def _is_finished(experiment: Experiment) -> bool:
    finished = stored_run(experiment.folder.final)
    return (finished is not None and not experiment.settings.differences(finished["settings"])
            and is_validated(experiment.folder.final, finished["val_cases"]))


def _run(
    experiment: Experiment, start: Start, trained_by: str, workers: int, makers: Mapping[str, Maker]
) -> FinishedRun:
    folder, loggers = experiment.folder, Loggers(makers, experiment.folder.work)
    experiment.check_model_files()
    # All weights are initialised here, before anything else can change torch's random state.
    variant = experiment.build_variant()
    run = (stored_run(folder.work) if start is Start.CONTINUE else None) or new_run(experiment, variant, trained_by)
    if trained_by == TRAINED_BY:  # whoever began it
        run["trained_by"] = trained_by
    loggers.begin(run["settings"])
    if _load_finished(folder.work / CHECKPOINT, variant):
        run[DIGEST] = digest_of_file(folder.work / CHECKPOINT)
    elif trained := variant.by_gradient():
        _train(experiment, trained, run, loggers)
    elif rank() == 0:
        _fit(experiment, variant, run)
    if rank() > 0:
        return FinishedRun(folder.final, None, "")  # one process is enough for what is left
    summary = _validate(experiment, variant, run, folder.work / "validation", workers)
    loggers.end(scores_of(summary))
    run["peak_memory_mb"] = peak_memory_mb(experiment.settings.device)
    run["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    experiment.write_model_files()
    for state in folder.work.rglob(LATEST):
        state.unlink()
    for scratch in SCRATCH:
        shutil.rmtree(folder.work / scratch, ignore_errors=True)
    folder.write(run)
    folder.finish()
    return finished_now(experiment, summary)


def _load_finished(checkpoint: Path, variant: Variant) -> bool:
    """Load the final checkpoint of an interrupted run. Returns whether there is one that can be used."""
    if not checkpoint.is_file():
        return False
    try:
        load_weights(checkpoint, variant)
    except UserError as fault:
        say(f"{checkpoint} cannot be used, so the model is trained again: {fault.found}")
        return False
    return True


def validate_model(request: Request, paths: Paths, *, workers: int) -> FinishedRun:
    """What `samunet_train --val` does: validate a finished run once more, replacing its validation folder when whole.

    Raises:
        UserError: there is no finished run, the encoder, the plans, the labels or the prompts are not its own, or it
            was trained on cases that the fold validates on by now.
    """
    run = stored_run(run_folder(request, paths).final)
    # The seed samples oracle points.
    if run:
        stored = {**run["settings"], "changed_settings": changed_settings_of(run)}
        request = replace(request, seed=stored["seed"], settings=request.settings or stored["changed_settings"] or {})
    experiment = open_experiment(request, paths)
    folder = experiment.folder
    if run is None:
        raise UserError("--val needs a finished run.", where=folder.final, found="none",
                        mend="Train without --val first.")
    for name in ("encoder_digest", "plan", "labels", "prompts", "oracle_prompts", "box_relax", "changed_settings"):
        if name in UNTOLD_BEFORE and name not in run["settings"]:
            continue
        there, here = stored.get(name), experiment.settings.to_json()[name]
        if there != here:
            raise UserError("A model must be validated with the encoder, the plans, the labels, the prompts and the "
                            "settings of its run.",
                            where=folder.final, found=f"{name}: {there} there, {here} here")
    # Of fold `all` both are all cases, and its scores are known to be of the training cases.
    if request.fold != ALL and (both := sorted({*run["train_cases"]} & {*experiment.val_cases})):
        raise UserError("A model must be validated on cases that it was not trained on.", where=folder.final,
                        found=f"the folds were changed since; trained on {some(both)}", mend="Train it again.")
    with folder.owned():
        return _validate_again(experiment, run, workers)


def _validate_again(experiment: Experiment, run: dict[str, Any], workers: int) -> FinishedRun:
    folder, variant = experiment.folder, experiment.build_variant()
    load_weights(folder.final / CHECKPOINT, variant)
    anew = folder.final / f"validation.{experiment.settings.data[:8]}.unfinished"
    for other in {*folder.final.glob("validation.*")} - {anew}:  # a call that was killed predicted other images
        shutil.rmtree(other)
    summary = _validate(experiment, variant, run, anew, workers)
    run["val_cases"] = list(experiment.val_cases)  # a run without validation names none
    folder.replace_validation(anew)
    write_json(folder.final / "run.json", run)
    return finished_now(experiment, summary)


def _settle_length(
    experiment: Experiment, variant: TrainedVariant, run: dict[str, Any], loggers: Loggers
) -> Batches[Any]:
    """Record how many iterations of which batch the run's minutes are; returns the batches."""
    settings = experiment.settings

    def batches_of(size: int) -> Batches[Any]:
        run["settings"]["batch_size"] = size
        return rank0_first(lambda: variant.batches(experiment.data(run)))

    length = fitted_length(variant, float(settings.minutes or 0), settings.batch_size, batches_of,
                           torch.device(settings.device))
    iterations = run["settings"]["iterations"] = from_first(lambda: length.iterations)
    if length.reason:
        run["batch_reason"] = length.reason
        say(f"a batch has {length.batch_size} samples: {length.reason}")
    say(f"{settings.minutes:g} minutes are {iterations} iterations here")
    loggers.update_config({"iterations": iterations, "batch_size": length.batch_size})
    return length.batches


def _train(experiment: Experiment, variant: TrainedVariant, run: dict[str, Any], loggers: Loggers) -> None:
    """Train on the training cases (and their views), write the final checkpoint."""
    folder, settings = experiment.folder, experiment.settings
    require_even(settings.batch_size)
    device = torch.device(settings.device)
    if rank() == 0:
        announce_training(experiment, variant)
        folder.write(run)  # before hours of registration, whose files a run that goes on finds again
    if run["settings"]["iterations"] is None:
        batches = _settle_length(experiment, variant, run, loggers)
    else:
        batches = rank0_first(lambda: variant.batches(experiment.data(run)))
    iterations = run["settings"]["iterations"]
    if rank() == 0:
        folder.write(run)
        _write_statistics(experiment)
    done = _pretrain(experiment, variant, run, iterations // 2, device)
    if not (folder.work / LATEST).is_file():
        variant.begin(batches)
    pseudo = pseudo_dice_of(experiment, variant)
    run["seconds"]["training"] = train(variant, batches, iterations - done, folder.work, device, loggers,
                                       pseudo.now if pseudo else None)
    if rank() == 0:
        run[DIGEST] = save_weights(folder.work / CHECKPOINT, variant.state())
        folder.write(run)


def _pretrain(
    experiment: Experiment, variant: TrainedVariant, run: dict[str, Any], iterations: int, device: torch.device
) -> int:
    """Pretrain parts of `variant` on unlabelled images, in place; returns the number of iterations."""
    # the same initial weights for what it adds, whether iterations were measured before or not
    torch.manual_seed(experiment.settings.seed)
    pretraining, folder = variant.pretraining(), experiment.folder.work / "pretraining"
    if pretraining is None or not iterations:
        return 0
    run["unlabelled_cases"] = list(experiment.unlabelled_cases)
    batches = pretraining.batches(experiment.data(run))
    run["seconds"]["pretraining"] = train(pretraining, batches, iterations, make_folder(folder), device)
    return iterations


def _fit(experiment: Experiment, variant: Variant, run: dict[str, Any]) -> None:
    """Fit a baseline, or nothing of a variant that only answers prompts; write the final checkpoint."""
    experiment.folder.write(run)
    _write_statistics(experiment)
    started = time.perf_counter()
    variant.fit(LazyCases(experiment.arrays, experiment.train_cases))
    run["seconds"]["training"] = time.perf_counter() - started
    run[DIGEST] = save_weights(experiment.folder.work / CHECKPOINT, variant.state())
    experiment.folder.write(run)


def _write_statistics(experiment: Experiment) -> None:
    labels, of_patches_3d = experiment.dataset.labels, entry(experiment.settings.variant).reads_patches_3d
    token_voxels = voxels_per_token(experiment.section, of_patches_3d=of_patches_3d)
    figures = {name: case_statistics(experiment.segmentation(name), labels, token_voxels)
               for name in experiment.train_cases}
    statistics = label_statistics(figures, labels, token_voxels)
    write_json(experiment.folder.work / "label_statistics.json", statistics)
    warn_of_small_objects(statistics)


def _validate(
    experiment: Experiment, variant: Variant, run: dict[str, Any], output: Path, workers: int
) -> dict[str, Any] | None:
    """Predict and evaluate the run's validation cases; None where it has none or skips validation."""
    if not experiment.request.validate:
        return None
    if not experiment.val_cases:
        say("this fold has no labelled validation case; nothing is validated")
        return None
    started = time.perf_counter()
    variant.to(experiment.settings.device)
    summary = validate(experiment, variant, output, workers)
    run["seconds"]["validation"] = time.perf_counter() - started
    return summary
