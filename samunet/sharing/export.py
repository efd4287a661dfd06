"""A trained model written as one bundle: its files, their digests, a model card and the terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import samunet
from samunet.dataset.case_paths import FRAME_FOLDER, label_ending
from samunet.errors import UserError, some
from samunet.inference.bundle.manifest import FORMAT, VERSION, BundledEncoder, Manifest
from samunet.inference.bundle.members import (
    CARD,
    LICENCE,
    OPTIONAL,
    OPTIONAL_OF_FOLD,
    REQUIRED_OF_FOLD,
    is_prediction,
)
from samunet.inference.model_files import model_files
from samunet.inference.model_folder import chosen_runs
from samunet.inference.model_weights import CHECKPOINT, read_weights
from samunet.inference.recorded_settings import needs_encoder, recorded_settings
from samunet.inference.run_file import read_run
from samunet.networks.checkpoints.released import RELEASED_FILES
from samunet.planning.encoder_spec import NAMED_ENCODERS
from samunet.planning.shots import draw_folder
from samunet.sharing.model_card import card_text, licence_text
from samunet.sharing.portable import last_part, portable_json
from samunet.sharing.zip_writer import Content, write_bundle
from samunet.training.run_folder import RUN_FILE, TrainingRecord
from samunet.variants.registry import variant_class

ENDING = ".zip"
# Written by samunet with no path in them; all other JSON of a model is made portable.
_AS_THEY_ARE = ("plans.json", "dataset_fingerprint.json")


def export_model(folder: Path, folds: Sequence[str] | None, output: Path, *, predictions: bool = False) -> Manifest:
    """Write the model in `folder` as a bundle; equal models give equal bytes. Returns its manifest.

    Absolute paths in its JSON files are reduced to file names. The encoder's weights are not included.

    Arguments:
        folds: to include; None: all finished ones.
        output: the zip, replaced where it exists.
        predictions: whether the segmentations of the validation cases are included.

    Raises:
        UserError: no such fold, or not one of samunet_train; a file of the model that is missing, damaged or other than
            in training; predictions that are missing or folders of frames; an output that is no .zip or cannot be
            written.
    """
    if not output.name.lower().endswith(ENDING):
        raise UserError(f"A bundle's name must end in {ENDING}.", where="-o", found=output.name)
    chosen = chosen_runs(folder, folds)
    runs = {fold: run for fold, run in chosen_runs(folder, None).items() if fold in chosen}  # in order
    for fold in runs:
        read_run(folder / f"fold_{fold}" / RUN_FILE, TrainingRecord)
    _require_alike(folder, runs)
    plans, _, dataset, labels = model_files(folder, runs)
    settings = recorded_settings(folder, runs)
    first = next(iter(runs.values()))
    manifest = Manifest(
        FORMAT, VERSION, samunet.__version__, first["settings"]["dataset"], first["variant"], plans.plans_name,
        _encoder(first, needs_encoder(first["variant"], settings.values())), _draw(first), list(runs),
        sum(_training_images(folder / f"fold_{fold}" / CHECKPOINT, first["variant"]) for fold in runs), {},
    )
    contents = _contents(folder, list(runs))
    if predictions:
        contents |= _predictions(folder, list(runs), label_ending(str(dataset["file_ending"])))
    contents[CARD] = card_text(manifest, folder, runs, labels, dataset, plans.dataset.spacing_mm).encode()
    contents[LICENCE] = licence_text(manifest, dataset).encode()
    return write_bundle(output, manifest, contents)


def _require_alike(folder: Path, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse folds of several models, and trials that held out labelled cases: they have no place among results."""
    if any(run["settings"].get("inner") is not None for run in runs.values()):
        raise UserError("A model to share must have been trained on all of its labelled cases.", where=folder,
                        found="a trial that held out an inner fold", mend="Choose another model.")
    found = {(run["settings"]["dataset"], run["variant"], run["encoder"]["id"], _draw(run)) for run in runs.values()}
    if len(found) > 1:
        raise UserError("The folds of a model to share must be of one dataset, variant, encoder and draw.",
                        where=folder, found=some([" ".join(each) for each in sorted(found)]),
                        mend="Choose folds with -f.")


def _draw(run: Mapping[str, Any]) -> str:
    settings = run["settings"]
    return draw_folder(settings["shots"], settings["draw"], settings.get("shot_slices"))


def _encoder(run: Mapping[str, Any], needed: bool) -> BundledEncoder:
    name = last_part(run["encoder"]["name"])
    base = name.partition("@")[0]
    shipped = base in NAMED_ENCODERS and base not in RELEASED_FILES
    return BundledEncoder(run["encoder"]["id"], name, run["encoder"]["digest"], needed, shipped)


def _training_images(checkpoint: Path, variant: str) -> int:
    """How many training images a checkpoint holds; reading it also compares its digest."""
    pattern = variant_class(variant).image_tensors
    return sum(fnmatchcase(name, pattern) for name in read_weights(checkpoint))


def _contents(folder: Path, folds: Sequence[str]) -> dict[str, Content]:
    """The files that every bundle of the model holds."""
    names = ["plans.json", "dataset.json", *(f"fold_{fold}/{file}" for fold in folds for file in REQUIRED_OF_FOLD)]
    optional = [*OPTIONAL, *(f"fold_{fold}/{file}" for fold in folds for file in OPTIONAL_OF_FOLD)]
    names += [name for name in optional if (folder / name).is_file()]
    return {name: portable_json(folder / name) if name.endswith(".json") and name not in _AS_THEY_ARE
            else folder / name for name in names}


def _predictions(folder: Path, folds: Sequence[str], ending: str) -> dict[str, Content]:
    """The segmentations of the validation cases, and what TIFF files have beside them."""
    if ending == FRAME_FOLDER:
        raise UserError("--exp_cv_preds needs predictions that are single files.", where=folder,
                        found="folders of frames", mend="Leave --exp_cv_preds out.")
    found: dict[str, Content] = {}
    for fold in folds:
        for path in sorted((folder / f"fold_{fold}" / "validation").glob(f"[!.]*{ending}")):
            for file in (path, path.with_name(path.name.removesuffix(ending) + ".json")):
                if file.is_file() and is_prediction(f"validation/{file.name}"):
                    found[f"fold_{fold}/validation/{file.name}"] = file
    if not found:
        raise UserError("--exp_cv_preds needs the segmentations of a validation.", where=folder,
                        found="none", mend="Validate with samunet_train --val, or leave --exp_cv_preds out.")
    return found
