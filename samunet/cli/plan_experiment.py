"""samunet_plan_experiment: from a fingerprint to plans and splits."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samunet.cli.main import command
from samunet.cli.options import (
    add_datasets,
    add_encoder,
    add_paths,
    add_planning,
    add_plans_name,
    add_workers,
    command_parser,
)
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_plan_experiment",
        "Write the plans of a dataset, each decision with its reason, and splits_final.json.\n"
        "Extracts the fingerprint first if it does not exist or the data have changed.",
        "samunet_plan_experiment -d 4 --encoder untrained",
    )
    add_datasets(parser)
    add_encoder(parser)
    add_plans_name(parser)
    add_planning(parser)
    add_workers(parser)
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.api.preparation import plan

    for dataset in options.datasets:
        plans = plan(dataset, encoder=options.encoder, plans_name=options.plans_name,
                     memory_target_gb=options.gpu_memory_target, target_spacing_mm=options.overwrite_target_spacing,
                     cache_dtype=options.cache_dtype, groups=options.groups, workers=options.workers, raw=options.raw,
                     preprocessed=options.preprocessed)
        result(f"plans: {plans}")
