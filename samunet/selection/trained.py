"""Trained models whose cross-validation can be compared: all training cases, finished folds, no prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samunet.console import say
from samunet.dataset.case_paths import label_ending
from samunet.dataset.dataset import read_dataset_json
from samunet.dataset.labels import LabelSpace
from samunet.dataset.paths import find_dataset
from samunet.errors import UserError, joined, some
from samunet.inference.model_folder import ModelEntry, list_models
from samunet.inputs.cache_encoders import encoder_id
from samunet.planning.plans import Plans
from samunet.selection.crossval import validated_cases


@dataclass(frozen=True)
class Candidate:
    """A model and its validation: `places` maps each case to the validation folder of its fold.

    `encoder` is the value of --encoder that it was trained with.
    """

    folder: Path
    variant: str
    plans_name: str
    encoder: str
    labels: LabelSpace
    ending: str
    reader: str
    places: dict[str, Path]


def full_model(results: Path, dataset: str, variant: str, plans_name: str, encoder: str | None) -> Path:
    """The folder of the model of all training cases that was trained last among those that match.

    Raises:
        UserError: none matches; lists what is there.
    """
    entries = _of_all_cases(results, find_dataset(results, dataset).name)
    wanted = None if encoder is None else encoder_id(encoder)
    fitting = [each for each in entries if each.variant == variant and each.plans_name == plans_name
               and wanted in (None, each.encoder)]
    if not fitting:
        raise UserError("A model trained on all training cases is needed.", where=results,
                        found=some([each.folder.name for each in entries]) or "no finished model",
                        mend="Train it with samunet_train, or name another with -v, -p or --encoder.")
    return max(fitting, key=lambda each: each.last_finished).folder


def candidates(
    results: Path, dataset: str, plans_names: Sequence[str], variants: Sequence[str] | None, folds: Sequence[str]
) -> list[Candidate]:
    """The models to compare, in the order of `variants`, else by name; models that are left out are reported.

    Arguments:
        dataset: name of the dataset's folder.
        variants: each must be trained in all folds; None: every variant that is.

    Raises:
        UserError: no model; one of `variants` has none or lacks folds; a fold's validation is not whole; labels or
            validated cases differ between models.
    """
    entries = [each for each in _of_all_cases(results, dataset)
               if each.plans_name in plans_names and (variants is None or each.variant in variants)]
    lacking = {each.folder: [fold for fold in folds if fold not in each.runs] for each in entries}
    problems = [UserError("Every requested variant must be trained in every fold.", where=folder,
                          found=f"missing: fold {', '.join(missing)}",
                          mend="Train them with samunet_train, or name other folds with -f.")
                for folder, missing in lacking.items() if missing and variants is not None]
    problems += [UserError("Every requested variant must be trained.", where=results / dataset, found=f"no {variant}",
                           mend="Train it with samunet_train, or leave it out of -v.")
                 for variant in variants or () if variant not in {each.variant for each in entries}]
    if problems:
        raise joined(problems)
    usable = []
    for each in entries:
        if lacking[each.folder]:
            say(f"left out: {each.folder.name}, which lacks fold {', '.join(lacking[each.folder])}")
        elif any(_prompted(each, fold) for fold in folds):
            say(f"left out: {each.folder.name}, which was validated with prompts")
        else:
            usable.append(each)
    if not usable:
        raise UserError("A model must be trained in every fold.", where=results / dataset,
                        found=f"none of {len(entries)} models has folds {', '.join(folds)}",
                        mend="Train them with samunet_train, or name other folds with -f.")
    if variants is not None:
        usable.sort(key=lambda each: list(variants).index(each.variant))
    found = [_opened(each, folds) for each in usable]
    _require_alike(found)
    return found


def _of_all_cases(results: Path, dataset: str) -> list[ModelEntry]:
    return [each for each in list_models(results)
            if each.dataset == dataset and each.shots is None and each.shot_slices is None]


def _prompted(entry: ModelEntry, fold: str) -> bool:
    """Oracle prompts come from the labels that a score is measured with; prompts files need one for each case."""
    settings = entry.runs[fold].get("settings", {})
    return settings.get("oracle_prompts") is not None or settings.get("prompts") is not None


def _opened(entry: ModelEntry, folds: Sequence[str]) -> Candidate:
    content, labels = read_dataset_json(entry.folder / "dataset.json")
    ending = label_ending(content["file_ending"])
    reader = Plans.load(entry.folder / "plans.json").dataset.reader
    return Candidate(entry.folder, entry.variant, entry.plans_name, entry.runs[folds[0]]["encoder"]["name"], labels,
                     ending, reader, validated_cases(entry.folder, folds, ending))


def _require_alike(found: Sequence[Candidate]) -> None:
    first, problems = found[0], []
    for other in found[1:]:
        if (other.labels, other.ending) != (first.labels, first.ending):
            problems.append(UserError("Models to compare must have the same labels.", where=other.folder,
                                      found=f"other labels than {first.folder.name}",
                                      mend="Train it again with this dataset.json, or leave it out with -v."))
        if strange := sorted(other.places.keys() ^ first.places.keys()):
            problems.append(UserError("Models to compare must be validated on the same cases.", where=other.folder,
                                      found=f"only in one of it and {first.folder.name}: {some(strange)}",
                                      mend="Train it again with these splits, or leave it out with -v."))
    if problems:
        raise joined(problems)
