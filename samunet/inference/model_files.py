"""The plans and labels beside a model's folds, compared with those that the folds were trained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samunet.dataset.dataset import read_dataset_json
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import digest_of_json
from samunet.planning.plans import EncoderPlan, Plans, digest_of_plan
from samunet.variants.registry import entry, is_known


def model_files(
    folder: Path, runs: Mapping[str, Mapping[str, Any]]
) -> tuple[Plans, EncoderPlan, dict[str, Any], LabelSpace]:
    """The plans beside `runs`, their encoder's section, the content of dataset.json, and its labels.

    Raises:
        UserError: a variant that is not installed, or files other than those of the runs' training.
    """
    plans = Plans.load(folder / "plans.json")
    dataset, labels = read_dataset_json(folder / "dataset.json")
    first = next(iter(runs.values()))
    _require_known_variant(folder, runs)
    section = plans.for_encoder(first["encoder"]["id"])
    plan = digest_of_plan(plans, section, entry(first["variant"]).needs)
    _require_as_trained(folder, runs, {"plan": plan, "labels": digest_of_labels(labels)})
    return plans, section, dataset, labels


def digest_of_labels(labels: LabelSpace) -> str:
    """SHA-256 of the meaning of label values in dataset.json; stored in a run's settings."""
    return digest_of_json([labels.foreground, labels.ignore, labels.regions_class_order])


def _require_known_variant(folder: Path, runs: Mapping[str, Mapping[str, Any]]) -> None:
    for fold, run in runs.items():
        if not is_known(run["variant"]):
            raise UserError("A model must be of a variant that is installed.",
                            where=folder / f"fold_{fold}" / "run.json", found=run["variant"],
                            mend="Install the package that holds the variant, or train again.")


def _require_as_trained(folder: Path, runs: Mapping[str, Mapping[str, Any]], found: Mapping[str, str]) -> None:
    """Compare the plans and the labels of a model's folder with those that its folds recorded.

    Raises:
        UserError: they differ: a file was damaged or changed.
    """
    for name, file in (("plan", "plans.json"), ("labels", "dataset.json")):
        others = [f"fold_{fold}" for fold, run in runs.items()
                  if run.get("settings", {}).get(name) not in (None, found[name])]
        if others:
            raise UserError(f"A model must be used with the {file} that it was trained with.", where=folder / file,
                            found=f"other content than {', '.join(others)} recorded",
                            mend="Copy the model's folder again, or train it again.")
