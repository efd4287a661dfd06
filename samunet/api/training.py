"""Train one fold of a variant and validate it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from samunet.api.defaults import Folder, announced, default_device, processes
from samunet.dataset.paths import resolve_paths
from samunet.errors import UserError
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.planner import DEFAULT_PLANS_NAME
from samunet.processes import process_group
from samunet.training.finished_run import FinishedRun
from samunet.training.run import train_model, validate_model
from samunet.training.settings import ITERATIONS_PER_EPOCH, Request
from samunet.variants.registry import entry


def train(
    dataset: int | str, variant: str, fold: int | str, *, iterations: int | None = None, epochs: int | None = None,
    minutes: float | None = None, shots: int | None = None, draw: int = 0, shot_slices: int | None = None,
    support: str | Path | None = None, settings: Mapping[str, Any] | None = None, seed: int = 0,
    pretrained_weights: str | Path | None = None, prompts: str | Path | None = None, oracle_prompts: str | None = None,
    box_relax: float | None = None, probabilities: bool = False, must_continue: bool = False,
    only_validate: bool = False, encoder: str = DEFAULT_ENCODER, plans_name: str = DEFAULT_PLANS_NAME,
    device: str | None = None, workers: int | None = None, loggers: Sequence[str] = (), raw: Folder = None,
    preprocessed: Folder = None, results: Folder = None,
) -> FinishedRun:
    """Train one fold, then predict and score its validation cases. As `samunet_train`; called again, it continues.

    Arguments:
        dataset, encoder, plans_name, workers, raw, preprocessed: see `samunet.plan`; results: folder of the models.
        variant: a name that `samunet_train --list` prints. fold: a number of splits_final.json, or `all`.
        iterations, epochs, minutes: training length, one of them: optimiser steps, 50 of them, or time; None: planned.
        shots, draw: number of labelled cases (None: all), and which of their draws. shot_slices: labelled slices.
        support: JSON file with the support slices. settings: of the variant, values by name.
        seed: of weights and batches, 0 or more. pretrained_weights: checkpoint to start from.
        prompts: JSON file with prompts for the validation cases. oracle_prompts: kind of prompts from their labels
            instead; box_relax: percent, enlarges its boxes.
        probabilities: also save the validation's. must_continue: refuse to begin a run.
        only_validate: repeat the validation of a finished run. loggers: names of loggers to log to as well.
        device: cpu, cuda or mps; None: cuda if available. Under torchrun, the processes share each batch.

    Returns:
        The run: `folder`, and `dice`, the mean foreground Dice of the validation cases (0 to 1, None without any). In
        all but the first process of torchrun, the folder may not be finished yet.

    Raises:
        UserError: unknown names, values out of bounds or that contradict each other, data that are not preprocessed, a
            run that another process trains.

    Example:
        >>> import samunet
        >>> run = samunet.train(900, "label_prior", 0)
        >>> run.folder.name, 0 < run.dice < 1
        ('fold_0', True)
    """
    if entry(variant).needs_encoder:
        announced(encoder)
    request = Request(
        dataset=str(dataset), variant=variant, fold=str(fold), encoder=encoder, plans_name=plans_name,
        iterations=_iterations(iterations, epochs), minutes=minutes, shots=shots, draw=draw, seed=seed,
        pretrained_weights=_path(pretrained_weights), device=device or default_device(), probabilities=probabilities,
        prompts=_path(prompts), oracle_prompts=oracle_prompts, shot_slices=shot_slices, box_relax=box_relax,
        support=_path(support), settings=dict(settings or {}),
        loggers=tuple(dict.fromkeys(loggers)))
    paths = resolve_paths(raw, preprocessed, results)
    if only_validate:
        return validate_model(request, paths, workers=processes(workers))
    with process_group(request.device) as own_device:
        return train_model(replace(request, device=own_device), paths, must_continue=must_continue,
                           workers=processes(workers))


def _iterations(iterations: int | None, epochs: int | None) -> int | None:
    if epochs is None:
        return iterations
    if iterations is not None:
        raise UserError("Only one of iterations and epochs may be set.", found=f"{iterations} and {epochs}")
    return epochs * ITERATIONS_PER_EPOCH


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
