"""Trained models on disk: list them, find the requested one, and load it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from samunet.dataset.case_paths import label_ending
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.bundle.archive import unpacked
from samunet.inference.choice_file import Choice, list_choices
from samunet.inference.model_files import model_files
from samunet.inference.model_weights import CHECKPOINT, load_weights
from samunet.inference.recorded_encoder import matching_encoder
from samunet.inference.recorded_settings import needs_encoder, recorded_settings
from samunet.inference.run_file import read_run
from samunet.inputs.cache_encoders import encoder_id
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import Plans
from samunet.variants.base import Variant, VariantContext
from samunet.variants.registry import variant_class

CPU = torch.device("cpu")
TRAINED_BY, CHOSEN_BY = "samunet_train", "samunet_find_best_configuration"
# Folder names of `planning.shots.draw_folder`, as a pattern and as a glob.
_DRAW, _DRAWS = re.compile(r"shots([0-9]+|all)_draw([0-9]+)(?:_slices([0-9]+))?"), "shots*_draw*"


@dataclass(frozen=True)
class ModelEntry:
    """A folder with at least one finished fold.

    `shots` is None if all training cases were used, `shot_slices` if all of their slices were, `draw` if both.
    """

    folder: Path
    dataset: str
    variant: str
    plans_name: str
    encoder: str
    shots: int | None
    draw: int | None
    shot_slices: int | None
    runs: dict[str, dict[str, Any]]

    @property
    def last_finished(self) -> str:
        """ISO time of its latest run."""
        return max(str(run["finished"]) for run in self.runs.values())


@dataclass(frozen=True)
class FoundModel:
    """`folds` is None for all finished ones; `why` states the reason for this model."""

    folder: Path
    folds: tuple[str, ...] | None
    why: str


@dataclass(frozen=True)
class TrainedModel:
    """What prediction needs: `variants` has one entry for each of `folds`, on the chosen device.

    `variant` is its name; `encoder` is None if it needs none; `dataset` is the content of dataset.json; `device` is
    where the networks are.
    """

    folder: Path
    variant: str
    folds: tuple[str, ...]
    variants: tuple[Variant, ...]
    plans: Plans
    encoder: Encoder | None
    labels: LabelSpace
    dataset: dict[str, Any]
    device: torch.device = CPU

    @property
    def file_ending(self) -> str:
        """The ending of image files, "/" for folders of frames."""
        return str(self.dataset["file_ending"])

    @property
    def label_ending(self) -> str:
        """The ending of predictions."""
        return label_ending(self.file_ending)


def finished_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """The run.json of every finished fold of a model folder, by fold: numbers first, in order, then `all`.

    Raises:
        UserError: a run.json that is no record of a run.
    """
    runs = {}
    for path in folder.glob("fold_*/run.json"):
        fold = path.parent.name.removeprefix("fold_")
        if not fold.endswith((".unfinished", ".replaced")):
            run = read_run(path)
            if run["finished"]:
                runs[fold] = run
    return dict(sorted(runs.items(), key=lambda item: (not item[0].isdecimal(), item[0].zfill(6))))


def require_folder(folder: Path) -> None:
    """Refuse a model's folder that is not there, before its folds are missed.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError("A model must be a folder, or a bundle (.zip), that exists.", where=folder,
                        found="no such file or folder", mend="Correct the path.")


def list_models(results: Path) -> Iterator[ModelEntry]:
    """All models below the results folder, sorted by path."""
    for model in sorted(results.glob("Dataset*/*__*__*")):
        variant, plans_name, encoder = model.name.split("__", 2)
        for folder in (model, *sorted(model.glob(_DRAWS))):
            drawn = _DRAW.fullmatch(folder.name)
            shots, draw, slices = (_number(each) for each in drawn.groups()) if drawn else (None, None, None)
            if runs := finished_runs(folder):
                yield ModelEntry(folder, model.parent.name, variant, plans_name, encoder, shots, draw, slices, runs)


def find_model(
    results: Path,
    *,
    dataset: str | None = None,
    variant: str | None = None,
    plans_name: str | None = None,
    encoder: str | None = None,
    shots: int | None = None,
    draw: int | None = None,
    shot_slices: int | None = None,
) -> FoundModel:
    """The model that was trained last among those that match the arguments.

    Without `variant`, the last matching choice of samunet_find_best_configuration, with only the fold that it trained:
    other folds may have learned from the cases that it held out. Without such a choice, runs of a benchmark are
    ignored, also as folds of the model.

    Arguments:
        dataset: number or full name.
        encoder: its id, its name or its file, also a file that was named in training and no longer exists.

    Raises:
        UserError: no model matches (the message lists all), or several datasets have matching models.
    """
    models = list(list_models(results))
    choices = _choices(results, models) if variant is None else {}
    encoder = None if encoder is None else encoder_id(encoder)
    fitting = [
        model
        for model in (models if variant is not None else map(_of_use, models))
        if (dataset is None or _is_dataset(model.dataset, dataset))
        and variant in (None, model.variant)
        and plans_name in (None, model.plans_name)
        and encoder in (None, model.encoder, *(run["encoder"]["name"] for run in model.runs.values()))
        and shots in (None, model.shots)
        and draw in (None, model.draw)
        and shot_slices in (None, model.shot_slices)
        and model.runs
    ]
    if not fitting:
        listing = "; ".join(str(model.folder.relative_to(results)) for model in models) or "no finished model"
        raise UserError("A trained model is needed.", where=results, found=listing,
                        mend="Train one with samunet_train, or choose another with -d and -v, or a folder with -m.")
    datasets = sorted({model.dataset for model in fitting})
    if len(datasets) > 1:
        raise UserError("With models of several datasets, the dataset must be named.", where=results,
                        found=", ".join(datasets), mend="Name one of them with -d.")
    chosen = [choices[model.folder] for model in fitting if model.folder in choices]
    if chosen:
        last = max(chosen, key=lambda choice: choice.finished)
        return FoundModel(last.model, (last.fold,), f"{last.verdict} ({last.path})")
    latest, why = max(fitting, key=lambda model: model.last_finished), "the last matching model that was trained"
    if variant is not None:
        return FoundModel(latest.folder, None, why)
    return FoundModel(latest.folder, tuple(latest.runs),
                      f"{why}, since nothing was chosen by samunet_find_best_configuration")


def load_model(
    folder: Path, folds: Sequence[str] | None, device: torch.device, encoder_name: str | None = None
) -> TrainedModel:
    """Load the folds of a model, all finished ones if `folds` is None, and the encoder that they were trained with.

    Arguments:
        folder: the model's, or a bundle of samunet_export_model_to_zip, which is unpacked for as long as it is read.
        encoder_name: that encoder's name, or the present path of its file; None takes the name recorded in training.

    Raises:
        UserError: no such model or fold, a missing or broken file, or another encoder than in training.
    """
    if folder.is_file():
        with unpacked(folder) as inside:
            return replace(load_model(inside, folds, device, encoder_name), folder=folder)
    runs = chosen_runs(folder, folds)
    plans, section, dataset, labels = model_files(folder, runs)
    first = next(iter(runs.values()))
    encoder, settings = None, recorded_settings(folder, runs)
    if needs_encoder(first["variant"], settings.values()):
        encoder = matching_encoder(folder, runs, section.input_size, device, encoder_name)
    context = VariantContext(labels, plans.dataset, section, {}, encoder, unet_plan=plans.unet)
    kind = variant_class(first["variant"])
    variants = tuple(kind(replace(context, settings=each)) for each in settings.values())
    for fold, variant in zip(runs, variants, strict=True):
        load_weights(folder / f"fold_{fold}" / CHECKPOINT, variant)
        variant.to(device)
    return TrainedModel(folder, first["variant"], tuple(runs), variants, plans, encoder, labels, dataset, device)


def chosen_device(name: str | None) -> torch.device:
    """The device of PyTorch's name `name`; None takes CUDA where there is one, else the CPU.

    Raises:
        UserError: unknown, or not available.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name is None:
        return torch.device("cuda" if available["cuda"] else "cpu")
    if not available.get(name.split(":")[0], False):
        raise UserError("-device must be one that PyTorch can use here.", where="-device", found=name,
                        mend=f"Choose one of: {', '.join(kind for kind, usable in available.items() if usable)}.")
    return torch.device(name)


def _number(text: str | None) -> int | None:
    """None for a missing number, and for `all`."""
    return None if text in (None, "all") else int(text)


def _for_use(run: dict[str, Any]) -> bool:
    """Whether the run was trained for use, not for a benchmark."""
    return run["trained_by"] in (TRAINED_BY, CHOSEN_BY)


def _of_use(model: ModelEntry) -> ModelEntry:
    """The model with only those of its runs that were trained for use, possibly none."""
    return replace(model, runs={fold: run for fold, run in model.runs.items() if _for_use(run)})


def _choices(results: Path, models: Sequence[ModelEntry]) -> dict[Path, Choice]:
    """Model folder -> the last choice of it, if its fold exists and no benchmark has replaced it."""
    runs = {(model.folder, fold): run for model in models for fold, run in model.runs.items()}
    return {choice.model: choice for choice in sorted(list_choices(results), key=lambda choice: choice.finished)
            if (choice.model, choice.fold) in runs and _for_use(runs[choice.model, choice.fold])}


def chosen_runs(folder: Path, folds: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """The run.json of the requested folds of a model, of all finished ones where `folds` is None.

    Raises:
        UserError: no such model; one of the folds is not there, or not finished.
    """
    require_folder(folder)
    runs = finished_runs(folder)
    missing = [fold for fold in folds or () if fold not in runs]
    if not runs or missing:
        below = ", ".join(path.name for path in sorted(folder.glob(_DRAWS)))
        raise UserError("A model's folder must hold the requested folds, finished.", where=folder,
                        found=f"finished: {', '.join(runs) or 'none'}"
                        + (f"; missing: {', '.join(missing)}" if missing else "")
                        + (f"; folders below: {below}" if below else ""),
                        mend="Train the fold with samunet_train, or choose others with -f.")
    return {fold: runs[fold] for fold in folds} if folds else runs


def _is_dataset(folder_name: str, dataset: str) -> bool:
    if dataset.isdecimal():
        return folder_name.startswith(f"Dataset{int(dataset):03d}_")
    return folder_name == dataset
