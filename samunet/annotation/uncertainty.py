"""How unsure a model is of each case: the order of active learning, most uncertain first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from samunet.annotation.source import Source
from samunet.console import progress
from samunet.dataset.dataset import RawCase
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import digest_of_json, digest_of_path, read_json, write_json
from samunet.inference.export import export_case
from samunet.inference.model_folder import TrainedModel
from samunet.inference.model_weights import CHECKPOINT
from samunet.inference.predictor import predict_case
from samunet.preprocessing.preprocess import prepare_case
from samunet.variants.registry import entry

NEAR_VOXELS = 2  # voxels this near to the predicted foreground count
LIKELY = 0.1  # and those with this probability of foreground


def uncertainties(model: TrainedModel, source: Source, cases: list[str], cache: Path) -> dict[str, float]:
    """The uncertainty of each of `cases` by `model`; see `uncertainty_of`.

    Arguments:
        cache: JSON file of earlier results; they count for the same weights and the same image files.

    Raises:
        UserError: a model that needs prompts, or a case that cannot be read.
    """
    if entry(model.variant).prompts:
        raise UserError("The order `uncertain` needs a model that predicts without prompts.", where=model.folder,
                        found=model.variant, mend="Choose another model, or --order name.")
    weights = digest_of_json([digest_of_path(model.folder / f"fold_{fold}" / CHECKPOINT) for fold in model.folds])
    known = _known(cache)
    found = {}
    for case in progress(cases, "uncertainty", len(cases)):
        files = source.files(case)
        key = digest_of_json([weights, [digest_of_path(path) for path in files]])
        if key not in known:
            known[key] = _predicted(model, RawCase(case, files, None))
            write_json(cache, known)
        found[case] = known[key]
    return found


def uncertainty_of(probabilities: np.ndarray, labels: LabelSpace) -> float:
    """Mean entropy, from 0 (sure) to 1, of the voxels that matter for the segmentation.

    Entropy of a voxel is that of its class probabilities over the logarithm of their number; for regions the mean of
    the binary entropies. Voxels count that are at most `NEAR_VOXELS` voxels from the predicted foreground, or have a
    probability of foreground of `LIKELY`; without any, the model is sure of nothing to find: 0. (Entropy as the
    measure of uncertainty sampling: Settles, Active Learning Literature Survey, 2009, section 3.1.)

    Arguments:
        probabilities: float32 (K, Z, Y, X).
    """
    chances = np.clip(probabilities.astype(np.float64), 1e-12, 1.0)
    if labels.has_regions:
        others = np.clip(1 - probabilities.astype(np.float64), 1e-12, 1.0)
        entropy = -(chances * np.log2(chances) + others * np.log2(others)).mean(0)
        foreground, likely = (probabilities > 0.5).any(0), probabilities.max(0)
    else:
        entropy = -(chances * np.log(chances)).sum(0) / np.log(len(chances))
        foreground, likely = probabilities.argmax(0) > 0, 1 - probabilities[0]
    counted = binary_dilation(foreground, iterations=NEAR_VOXELS) | (likely >= LIKELY)
    return float(entropy[counted].mean()) if counted.any() else 0.0


def most_uncertain_first(values: dict[str, float]) -> list[str]:
    """The cases, the most uncertain first; equal ones by name."""
    return sorted(values, key=lambda case: (-values[case], case))


def _predicted(model: TrainedModel, case: RawCase) -> float:
    plan = model.plans.dataset
    prepared = prepare_case(case, plan.reader, plan, model.labels)
    slabs = predict_case(model.variants, prepared, model.plans, model.encoder)
    exported = export_case(slabs, prepared.properties, plan, model.labels, with_probabilities=True)
    assert exported.probabilities is not None
    return round(uncertainty_of(exported.probabilities, model.labels), 6)


def _known(cache: Path) -> dict[str, float]:
    """Earlier results, empty if there are none; a damaged file only costs time."""
    try:
        content: Any = read_json(cache) if cache.is_file() else {}
    except UserError:
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(key): float(value) for key, value in content.items() if isinstance(value, int | float)}
