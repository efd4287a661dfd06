"""One run from start to end: train, validate, put the folder in its place."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import samunet
from samunet.console import result, say
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import write_json
from samunet.preprocessing.views import view_name
from samunet.training.checkpoints import FINAL, LATEST, save_weights
from samunet.training.experiment import Experiment, LazyCases, open_experiment
from samunet.training.label_statistics import (
    case_statistics,
    label_statistics,
    voxels_per_token,
    warn_of_small_objects,
)
from samunet.training.run_folder import Start, stored_run
from samunet.training.sampling import LabelSlices, Sampler
from samunet.training.settings import Request
from samunet.training.trainer import TrainingSet, measured_iterations, train
from samunet.training.validation import validate
from samunet.variants.base import Comparator, EmbeddingVariant, Variant

RECORDED_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "SimpleITK", "blosc2", "safetensors")


def train_model(request: Request, paths: Paths, *, must_continue: bool, workers: int) -> None:
    """What `samunet_train` does: train or fit one fold, validate it, tell where it lies.

    A killed run goes on where it was when the same settings are asked for again.

    Raises:
        UserError: see `open_experiment` and `RunFolder.start`.
    """
    experiment = open_experiment(request, paths)
    folder = experiment.folder
    start = folder.start(experiment.settings, must_continue)
    if start is Start.NOTHING:
        result(f"already finished: {folder.final}")
        return
    experiment.check_model_files()
    # Every weight is drawn here, before anything else can have touched torch's random state.
    variant = experiment.build_variant()
    run = (stored_run(folder.work) if start is Start.CONTINUE else None) or _new_run(experiment, variant)
    if (folder.work / FINAL).is_file():
        variant.load_state(load_file(folder.work / FINAL))
    elif isinstance(variant, Comparator):
        _fit(experiment, variant, run)
    elif isinstance(variant, EmbeddingVariant):
        _train(experiment, variant, run)
    summary = _validate(experiment, variant, run, folder.work / "validation", workers)
    run["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    experiment.write_model_files()
    (folder.work / LATEST).unlink(missing_ok=True)
    folder.write(run)
    folder.finish()
    _tell(experiment, summary)


def validate_model(request: Request, paths: Paths, *, workers: int) -> None:
    """What `samunet_train --val` does: validate a finished run once more, replacing its validation folder when whole.

    Raises:
        UserError: there is no finished run, or the encoder or the plans are not those that it was trained with.
    """
    experiment = open_experiment(request, paths)
    folder = experiment.folder
    run = stored_run(folder.final)
    if run is None:
        raise UserError("--val needs a finished run.", where=folder.final, found="none", mend="Train without --val first.")
    for name in ("encoder_digest", "plan"):
        there, here = run["settings"][name], experiment.settings.to_json()[name]
        if there != here:
            raise UserError("A model must be validated with the encoder and the plans that it was trained with.",
                            where=folder.final, found=f"{name}: {there} there, {here} here")
    variant = experiment.build_variant()
    variant.load_state(load_file(folder.final / FINAL))
    anew = folder.final / "validation.unfinished"
    summary = _validate(experiment, variant, run, anew, workers)
    folder.replace_validation(anew)
    write_json(folder.final / "run.json", run)
    _tell(experiment, summary)


def _train(experiment: Experiment, variant: EmbeddingVariant, run: dict[str, Any]) -> None:
    """Train on cached embeddings of the training cases and their views, write the final checkpoint."""
    folder, settings = experiment.folder, experiment.settings
    device = torch.device(settings.device)
    labels = experiment.dataset.labels
    started = time.perf_counter()
    run["views"] = experiment.views()
    views = [view_name(name, view) for name in experiment.train_cases for view in range(1, run["views"] + 1)]
    embeddings = experiment.embeddings([*experiment.train_cases, *views])
    run["seconds"]["embeddings"] = run["seconds"].get("embeddings", 0.0) + time.perf_counter() - started
    slices = []
    figures = {}
    for name, source in embeddings.items():
        segmentation = experiment.segmentation(name)
        slices.append(LabelSlices.build(segmentation, source.frame, labels))
        if name in experiment.train_cases:
            figures[name] = case_statistics(segmentation, labels, voxels_per_token(experiment.section))
    cases = TrainingSet(list(embeddings), list(embeddings.values()), slices)
    sampler = Sampler(slices, labels, settings.batch_size, settings.seed)
    iterations = run["settings"]["iterations"]
    if iterations is None:
        iterations = measured_iterations(variant, cases, sampler, float(settings.minutes or 0), device)
        run["settings"]["iterations"] = iterations
        say(f"{settings.minutes:g} minutes are {iterations} iterations here")
    folder.write(run)
    _write_statistics(experiment, figures)
    run["seconds"]["training"] = train(variant, cases, sampler, iterations, folder.work, device)
    save_weights(folder.work / FINAL, variant.state())
    folder.write(run)


def _fit(experiment: Experiment, variant: Comparator, run: dict[str, Any]) -> None:
    """Fit a comparator, write the final checkpoint."""
    experiment.folder.write(run)
    labels, token_voxels = experiment.dataset.labels, voxels_per_token(experiment.section)
    _write_statistics(experiment, {name: case_statistics(experiment.segmentation(name), labels, token_voxels)
                                   for name in experiment.train_cases})
    started = time.perf_counter()
    variant.fit(LazyCases(experiment.arrays, experiment.train_cases))
    run["seconds"]["training"] = time.perf_counter() - started
    save_weights(experiment.folder.work / FINAL, variant.state())
    experiment.folder.write(run)


def _write_statistics(experiment: Experiment, figures: Mapping[str, dict[str, Any]]) -> None:
    statistics = label_statistics(figures, experiment.dataset.labels, voxels_per_token(experiment.section))
    write_json(experiment.folder.work / "label_statistics.json", statistics)
    warn_of_small_objects(statistics)


def _new_run(experiment: Experiment, variant: Variant) -> dict[str, Any]:
    """The content of run.json of a run that begins."""
    encoder = experiment.encoder
    parameters = 0
    if isinstance(variant, EmbeddingVariant):
        parameters = sum(each.numel() for each in variant.network.parameters() if each.requires_grad)
    return {
        "settings": experiment.settings.to_json(),
        "variant": experiment.settings.variant,
        "fold": experiment.settings.fold,
        "encoder": {"id": experiment.section.encoder, "name": experiment.request.encoder,
                    "digest": encoder.digest if encoder else None},
        "train_cases": list(experiment.train_cases),
        "val_cases": list(experiment.val_cases),
        "versions": {"samunet": samunet.__version__, "python": platform.python_version(),
                     **{name: metadata.version(name) for name in RECORDED_PACKAGES}},
        "hardware": {"system": f"{platform.system()} {platform.machine()}", "processors": os.cpu_count(),
                     "device": torch.cuda.get_device_name() if experiment.settings.device.startswith("cuda") else "cpu"},
        "threads": torch.get_num_threads(),
        "ct_statistics_over_all_cases": "ct" in experiment.plans.dataset.normalization,
        "seconds": {},
        "trainable_parameters": parameters,
        "finished": None,
        "trained_by": "samunet_train",
    }


def _validate(
    experiment: Experiment, variant: Variant, run: dict[str, Any], output: Path, workers: int
) -> dict[str, Any] | None:
    """Predict and evaluate the fold's validation cases; None where it has none."""
    if not experiment.val_cases:
        say("this fold has no labelled validation case; nothing is validated")
        return None
    started = time.perf_counter()
    if isinstance(variant, EmbeddingVariant):
        variant.network.to(experiment.settings.device)
    summary = validate(experiment, variant, output, workers)
    run["seconds"]["validation"] = time.perf_counter() - started
    return summary


def _tell(experiment: Experiment, summary: dict[str, Any] | None) -> None:
    dice = "not validated" if summary is None else f"mean Dice {summary['foreground_mean']['Dice']:.4f}"
    result(f"{experiment.folder.final}: {dice}")
