"""The plans of one dataset for another, as `nnUNetv2_move_plans_between_datasets` makes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from samunet.console import say
from samunet.dataset.dataset import load_dataset
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.paths import Paths, find_dataset
from samunet.errors import UserError
from samunet.planning.normalization_rules import schemes_of
from samunet.planning.plans import Plans, require_plans_name
from samunet.planning.unet_rules import plan_unet


def move_plans(paths: Paths, source: str, target: str, source_plans: str, target_plans: str) -> Path:
    """Write the plans `source_plans` of dataset `source` for dataset `target`; returns the file.

    Decisions stay: spacing, tiles, normalisation with the intensities of the source. The dataset's and the plans' name,
    the reader and the channels' names become those of the target, and the U-Net's section is planned again where the
    number of classes differs. Differences from nnU-Net: another number of channels is refused; plans that are there are
    not replaced.

    Arguments:
        source, target: number or full name of a preprocessed and of a raw dataset.

    Raises:
        UserError: no such dataset or plans, a bad plans name, another number of channels, other plans of that name in
            the target's folder.
    """
    require_plans_name(target_plans)
    plans = Plans.load(find_dataset(paths.preprocessed, source) / f"{source_plans}.json")
    dataset = load_dataset(find_dataset(paths.raw, target))
    if len(dataset.channel_names) != len(plans.dataset.channel_names):
        raise UserError("Plans can be moved to a dataset with the same number of channels.",
                        where=dataset.folder / "dataset.json",
                        found=f"{', '.join(dataset.channel_names)}; the plans have "
                              f"{', '.join(plans.dataset.channel_names)}",
                        mend="Choose other plans, or plan the dataset itself.")
    if (own := schemes_of(dataset.channel_names)) != plans.dataset.normalization:
        say(f"Warning: the plans normalise by {', '.join(plans.dataset.normalization)}; plans of {dataset.name} itself "
            f"would by {', '.join(own)}.")
    reasons = plans.dataset.reasons | {"moved": f"from {plans.dataset_name}, plans {source_plans}"}
    moved = replace(plans, plans_name=target_plans, dataset_name=dataset.name, dataset=replace(
        plans.dataset, reader=choose_reader(dataset), channel_names=dataset.channel_names, reasons=reasons))
    if plans.unet is not None and plans.unet.classes != dataset.labels.channels:
        moved = replace(moved, unet=plan_unet(moved.dataset, dataset.labels.channels, dimensions=2))
    path = paths.preprocessed / dataset.name / f"{target_plans}.json"
    if path.exists() and Plans.load(path) != moved:
        raise UserError("Plans must not replace others of the same name.", where=path, found="other plans",
                        mend="Name others with -tp, or remove the file.")
    moved.save(path)
    return path
