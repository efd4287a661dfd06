"""Each validation case of a model, predicted by the fold that did not train on it: its features and its real Dice."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samunet.console import progress
from samunet.dataset.io.readers import reader_named
from samunet.errors import UserError, some
from samunet.evaluation.case_metrics import case_overlap
from samunet.inference.export import export_case
from samunet.inference.model_folder import TrainedModel, finished_runs, load_model, require_folder
from samunet.inference.predictor import predict_case
from samunet.inputs.embedding_cache import embeddings_of
from samunet.preprocessing.arrays import labels_of
from samunet.preprocessing.store import ArrayStore
from samunet.quality.features import VIEWS, MemberFeatures, watched
from samunet.quality.temperature import Voxels, sampled
from samunet.variants.registry import entry


@dataclass(frozen=True)
class MeasuredCase:
    """`features` and `dice` by class key; Dice is NaN where neither the prediction nor the reference has the class."""

    name: str
    fold: str
    features: dict[str, dict[str, float]]
    dice: dict[str, float]
    voxels: Voxels


def validation_cases(folder: Path) -> dict[str, tuple[str, ...]]:
    """Finished fold -> its validation cases, for folds that have cases which they were not trained on.

    Raises:
        UserError: there is no such fold, or the model answers prompts, which cross-validation does not have.
    """
    require_folder(folder)
    runs: Mapping[str, Mapping[str, Any]] = finished_runs(folder)
    prompted = [run["variant"] for run in runs.values() if entry(run["variant"]).prompts]
    if prompted:
        raise UserError("Predicted Dice is for variants without prompts.", where=folder, found=prompted[0],
                        mend="Name a model of another variant with -m.")
    found = {fold: names for fold, run in runs.items()
             if (names := tuple(sorted({*run.get("val_cases", ())} - {*run.get("train_cases", ())})))}
    if not found:
        raise UserError("Calibration needs a finished fold with validation cases that it was not trained on.",
                        where=folder, found=f"finished: {', '.join(runs) or 'none'}",
                        mend="Train folds 0 to 4 with samunet_train.")
    return found


def measured_cases(
    folder: Path, folds: Mapping[str, Sequence[str]], preprocessed: Path, device: torch.device,
    encoder_name: str | None, mirrored: bool,
) -> Iterator[MeasuredCase]:
    """Predict the cases of each fold with that fold alone and compare them with their references.

    Arguments:
        folds: fold -> cases.
        preprocessed: the dataset's folder, with the arrays that the model's plans name, and gt_segmentations.
        mirrored: predict as `--tta` does.

    Raises:
        UserError: see `load_model`; a case that is not preprocessed, or has no reference.
    """
    for fold, names in folds.items():
        model = load_model(folder, [fold], device, encoder_name)
        store = ArrayStore(preprocessed / model.plans.plans_name / "arrays")
        _require_labelled(store, names)
        cached = {}
        if model.variants[0].reads_embeddings and model.encoder is not None and not mirrored:
            embeddings = store.folder.with_name("embeddings") / model.encoder.spec.id
            cached = embeddings_of(names, store, model.plans, model.encoder, embeddings)
        for name in progress(names, f"measuring fold {fold}", len(names)):
            member = MemberFeatures(model.labels, VIEWS if mirrored else 1)
            case = store.load(name)
            stream = predict_case(model.variants, case, model.plans, model.encoder, embeddings=cached.get(name),
                                  tta=mirrored, members=True)
            slabs = list(watched(stream, model.labels.channels, [member]))
            exported = export_case(slabs, case.properties, model.plans.dataset, model.labels)
            logits = np.concatenate([slab for _, slab in slabs], 1)
            voxels = sampled(logits, labels_of(store, name), model.labels, zlib.crc32(name.encode()))
            dice = _real_dice(exported.segmentation, name, model, preprocessed)
            yield MeasuredCase(name, fold, member.values(), dice, voxels)


def _real_dice(segmentation: np.ndarray, name: str, model: TrainedModel, preprocessed: Path) -> dict[str, float]:
    """Class key -> Dice on the file's own grid, as in the fold's summary.json."""
    path = preprocessed / "gt_segmentations" / f"{name}{model.label_ending}"
    reference = reader_named(model.plans.dataset.reader).read_segmentation(path)[0][0]
    return {key: metrics["Dice"] for key, metrics in case_overlap(reference, segmentation, model.labels).items()}


def _require_labelled(store: ArrayStore, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in store or store.segmentation(name) is None]:
        raise UserError("Every validation case must be preprocessed with its labels.", where=store.folder,
                        found=f"no arrays of {some(missing)}", mend="Run samunet_preprocess.")
