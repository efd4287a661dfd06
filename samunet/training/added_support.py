"""Support slices added to a trained few-shot model: other regions ask, nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from samunet.dataset.paths import Paths
from samunet.errors import UserError, some
from samunet.files import copy_whole, digest_of_file, whole_folder, write_json
from samunet.inference.model_folder import finished_runs
from samunet.inference.model_weights import CHECKPOINT, DIGEST, load_weights
from samunet.inference.recorded_encoder import recorded_name
from samunet.inputs.sampling import LabelSlices
from samunet.inputs.support import MOST_CASES, Support, gather_support, joined_support
from samunet.locks import lock_beside, owned
from samunet.planning.splits import labelled_names
from samunet.preprocessing.arrays import Arrays, labels_of
from samunet.training.cases import foreground_slices
from samunet.training.checkpoints import save_weights
from samunet.training.experiment import Experiment, open_experiment
from samunet.training.run_folder import RUN_FILE, stored_run
from samunet.training.settings import Request
from samunet.training.support_file import read_support
from samunet.variants.registry import check_support
from samunet.variants.token_choice import chosen_rule

UNCHANGED = ("encoder_digest", "plan", "data")


def add_support(
    model: Path, fold: str, file: Path, output: Path, paths: Paths, device: str, encoder: str | None = None
) -> None:
    """Write a model like fold `fold` of `model` that is prompted by the slices of `file` as well as by its own.

    The old support is read again, since a model holds no embeddings and its first prediction uses all of them. Tokens
    are computed by the model's own rule, which is not chosen again. The new model has no validation: the added slices
    may belong to cases that the old one was validated on. In `run.json`, `added_support` lists the slices of all
    additions, and `added_to` names the model that they were added to.

    Arguments:
        file: see `support_file`; any labelled case of the dataset may be named.
        output: the new model's folder, which must not hold anything yet.
        device: to encode with what is not cached.
        encoder: that of training, or its file, wherever that is now; None takes the one named in training.

    Raises:
        UserError: no such fold, or one that is not prompted by labelled regions, or by an unknown rule; encoder, plan,
            cases or arrays that are no longer those of its training; a bad file, or slices that prompt already; an
            output that is not empty.
    """
    finished = finished_runs(model)
    run = stored_run(model / f"fold_{fold}")
    if fold not in finished or run is None:
        raise UserError("A model's folder must hold the finished fold of that number.", where=model,
                        found=f"finished: {', '.join(finished) or 'none'}", mend="Choose another with -m or -f.")
    _require_new_folder(output)
    rule = chosen_rule(run, str(model / f"fold_{fold}" / RUN_FILE))
    experiment = open_experiment(_request_of(run, device, encoder), paths)
    _require_unchanged(run, experiment, model)
    arrays, space = experiment.store, experiment.dataset.labels
    fresh = read_support(file, arrays, labelled_names(experiment.dataset), space)
    _require_new(fresh, _slices_of(run, experiment), file)
    added = _united(run.get("added_support") or {}, fresh)
    variant = experiment.build_variant()
    load_weights(model / f"fold_{fold}" / CHECKPOINT, variant)
    support = joined_support(_gathered(experiment, experiment.arrays, experiment.train_cases, run.get("support")),
                             _gathered(experiment, arrays, list(added), added))
    variant.set_support(support, rule)
    told = {"added_support": added, "added_support_file": digest_of_file(file), "added_to": str(model)}
    with owned(lock_beside(output.resolve()), output), whole_folder(output.resolve()) as work:
        _require_new_folder(output)  # another call may have written it meanwhile
        for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
            copy_whole(model / name, work / name)
        told[DIGEST] = save_weights(work / f"fold_{fold}" / CHECKPOINT, variant.state())
        write_json(work / f"fold_{fold}" / RUN_FILE,
                   {**run, **told, "finished": datetime.now(UTC).isoformat(timespec="seconds")})


def _require_new_folder(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError("The new model's folder must be new or empty.", where=output, mend="Name another with -o.")


def _request_of(run: Mapping[str, Any], device: str, encoder: str | None) -> Request:
    """The part of the run's request that decides its cases."""
    settings = run["settings"]
    recorded = run["encoder"]
    encoder = recorded_name(recorded) if encoder in (None, recorded["id"], recorded["name"]) else encoder
    request = Request(settings["dataset"], settings["variant"], settings["fold"], encoder, settings["plans"],
                      shots=settings["shots"], draw=settings["draw"], seed=settings["seed"], device=device,
                      inner=settings.get("inner"), validate=bool(run["val_cases"]),
                      shot_slices=settings.get("shot_slices"),
                      settings=settings.get("changed_settings") or {})
    check_support(request.variant, given=True)
    return request


def _require_unchanged(run: Mapping[str, Any], experiment: Experiment, model: Path) -> None:
    here = experiment.settings.to_json()
    if changed := [name for name in UNCHANGED if run["settings"][name] != here[name]]:
        raise UserError("Support is added with the encoder, the plan and the data of a model's training.", where=model,
                        found=f"changed: {', '.join(changed)}", mend="Restore them, or train the model again.")


def _slices_of(run: Mapping[str, Any], experiment: Experiment) -> dict[str, list[int]]:
    """The slices that the model's support is made of by now."""
    chosen = run.get("support") or {name: foreground_slices(experiment.segmentation(name), experiment.dataset.labels)
                                    for name in experiment.train_cases[:MOST_CASES]}
    return _united(chosen, run.get("added_support") or {})


def _require_new(fresh: Mapping[str, Sequence[int]], there: Mapping[str, Sequence[int]], file: Path) -> None:
    twice = [f"{name} {each}" for name, slices in fresh.items() for each in slices if each in there.get(name, ())]
    if twice:
        raise UserError("Slices to add must not be in the model's support yet.", where=file, found=some(twice),
                        mend="Take them out of the file.")


def _gathered(
    experiment: Experiment, arrays: Arrays, names: Sequence[str], named: Mapping[str, Sequence[int]] | None
) -> Support:
    """Of `names`, the slices `named` or those chosen."""
    space, inputs = experiment.dataset.labels, experiment.embeddings(names)
    labels = {name: LabelSlices.build(labels_of(arrays, name), source.frame, space) for name, source in inputs.items()}
    return gather_support(inputs, labels, space, experiment.section, named)


def _united(first: Mapping[str, Sequence[int]], more: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    return {name: sorted({*first.get(name, ()), *more.get(name, ())}) for name in sorted({*first, *more})}
