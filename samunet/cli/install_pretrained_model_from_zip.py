"""samunet_install_pretrained_model_from_zip: a bundle into the results folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.main import command
from samunet.cli.options import add_paths, command_parser, paths_of
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_install_pretrained_model_from_zip",
        "Put the model of a bundle of samunet_export_model_to_zip into the results folder, where samunet_predict\n"
        "finds it by -d and -v. Every file is checked first: a bundle with a fault changes nothing. No model is\n"
        "replaced.",
        "samunet_install_pretrained_model_from_zip hippocampus.zip",
    )
    parser.add_argument("zip", type=Path, metavar="ZIP", help="the bundle")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.sharing.install import install_model

    result(f"model: {install_model(options.zip, paths_of(options).results)}")
