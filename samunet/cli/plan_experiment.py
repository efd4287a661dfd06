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
    encoder_of,
    paths_of,
    workers_of,
)
from samunet.cli.steps import Steps
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
    paths, spec = paths_of(options), encoder_of(options)
    for dataset in options.datasets:
        steps = Steps.of(dataset, paths, options.plans_name, workers_of(options))
        fingerprint = steps.fingerprint(clean=False)
        steps.plan(fingerprint, spec, options.gpu_memory_target, options.overwrite_target_spacing,
                   options.cache_dtype)
        steps.splits(options.groups)
        result(f"plans: {steps.plans_file}")
