"""samunet_plan_and_preprocess: everything before training, in one command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samunet.cli.main import command
from samunet.cli.nnunet_flags import add_progress, show_progress
from samunet.cli.options import (
    add_datasets,
    add_encoder,
    add_fingerprint,
    add_no_embeddings,
    add_paths,
    add_planning,
    add_plans_name,
    add_workers,
    command_parser,
    encoder_of,
)
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_plan_and_preprocess",
        "Extract the fingerprint, plan, split, preprocess and encode raw datasets.\n"
        "Existing files that match are reused: run the same command again to continue.",
        "samunet_plan_and_preprocess -d 4 --verify_dataset_integrity",
    )
    add_datasets(parser)
    add_fingerprint(parser)
    add_encoder(parser)
    add_plans_name(parser)
    add_planning(parser)
    add_no_embeddings(parser)
    add_workers(parser)
    add_progress(parser, "--no_pbar")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    show_progress(options)
    encoder_of(options)
    from samunet.api.preparation import plan, preprocess, require_datasets

    require_datasets(options.datasets, plans_name=options.plans_name, verify=options.verify_dataset_integrity,
                     workers=options.workers, raw=options.raw, preprocessed=options.preprocessed)
    for dataset in options.datasets:
        plan(dataset, encoder=options.encoder, plans_name=options.plans_name,
             memory_target_gb=options.gpu_memory_target, target_spacing_mm=options.overwrite_target_spacing,
             cache_dtype=options.cache_dtype, groups=options.groups, clean=options.clean, workers=options.workers,
             raw=options.raw, preprocessed=options.preprocessed)
        folder = preprocess(dataset, encoder=options.encoder, embeddings=not options.no_embeddings,
                            plans_name=options.plans_name, workers=options.workers, raw=options.raw,
                            preprocessed=options.preprocessed)
        result(f"preprocessed: {folder}")
