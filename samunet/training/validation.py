"""Validation of a whole fold: predict every case on its own grid, then evaluate against the raw labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from samunet.console import progress
from samunet.evaluation.evaluate import evaluate_folder
from samunet.files import make_folder
from samunet.inference.export import export_case
from samunet.inference.nnunet_files import prediction_is_whole, write_prediction
from samunet.inference.predictor import predict_case
from samunet.preprocessing.arrays import labels_of
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.prompts.oracle import oracle_prompts
from samunet.training.experiment import Experiment
from samunet.variants.base import Variant


def validate(experiment: Experiment, variant: Variant, output: Path, workers: int) -> dict[str, Any]:
    """Predict the fold's validation cases into `output` and evaluate them; whole files that are there stay.

    Embeddings come from the cache and are never mirrored. The paths in summary.json name the finished run's place.

    Returns:
        The content of summary.json.
    """
    dataset, probabilities = experiment.dataset, experiment.request.probabilities
    make_folder(output)
    missing = [name for name in experiment.val_cases
               if not prediction_is_whole(output, name, dataset.label_ending, probabilities)]
    embeddings = experiment.embeddings(missing) if variant.reads_embeddings else {}
    for name in progress(missing, "validating", len(missing)):
        case = _prompted(name, experiment)
        slabs = predict_case([variant], case, experiment.plans, experiment.encoder, embeddings=embeddings.get(name))
        exported = export_case(slabs, case.properties, experiment.plans.dataset, dataset.labels,
                               with_probabilities=probabilities)
        write_prediction(exported, output, case.properties, dataset.label_ending)
    return evaluate_folder(
        experiment.preprocessed / "gt_segmentations", output, dataset.labels, dataset.label_ending,
        experiment.plans.dataset.reader, None, workers, names=experiment.val_cases,
        shown_prediction_folder=experiment.folder.final / "validation",
    )


def _prompted(name: str, experiment: Experiment) -> PreparedCase:
    """The case, all of its labels with it, and the prompts that the run answers, if it answers any.

    Oracle prompts are the one thing that a label gives to a prediction of the same case; the run's settings say so.
    """
    # Of fold `all` the same cases train, perhaps on some of their slices.
    arrays, kind = experiment.store, experiment.settings.oracle_prompts
    case = arrays.load(name)
    if kind is not None:
        settings = experiment.settings
        prompts = oracle_prompts(labels_of(arrays, name), experiment.dataset.labels, kind, settings.seed, name,
                                 settings.box_relax or 0.0)
        return replace(case, prompts=prompts)
    if experiment.prompts is not None:
        return replace(case, prompts=experiment.prompts.on_grid(case.properties, experiment.plans.dataset))
    return case
