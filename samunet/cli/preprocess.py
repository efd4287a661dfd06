"""samunet_preprocess: arrays and embeddings of a planned dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samunet.cli.main import command
from samunet.cli.nnunet_flags import add_progress, show_progress
from samunet.cli.options import (
    add_datasets,
    add_encoder,
    add_no_embeddings,
    add_paths,
    add_plans_name,
    add_workers,
    command_parser,
    encoder_of,
)
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_preprocess",
        "Write the preprocessed arrays and the cached embeddings of a planned dataset.\n"
        "Files that match the raw files and the plans are reused: run the same command again to continue.",
        "samunet_preprocess -d 4 -np 2",
    )
    add_datasets(parser)
    add_encoder(parser)
    add_plans_name(parser)
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
    if not options.no_embeddings:
        encoder_of(options)
    from samunet.api.preparation import preprocess, require_datasets

    require_datasets(options.datasets, plans_name=options.plans_name, raw=options.raw,
                     preprocessed=options.preprocessed)
    for dataset in options.datasets:
        folder = preprocess(dataset, encoder=options.encoder, embeddings=not options.no_embeddings,
                            plans_name=options.plans_name, workers=options.workers, raw=options.raw,
                            preprocessed=options.preprocessed)
        result(f"preprocessed: {folder}")
