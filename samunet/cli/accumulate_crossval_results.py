"""samunet_accumulate_crossval_results: the validation of several folds in one folder, with one summary."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import Distinct, fold
from samunet.cli.main import command
from samunet.cli.options import DEFAULT_PLANS_NAME, add_paths, command_parser, paths_of
from samunet.console import result, say
from samunet.variants.registry import entry

EXAMPLES = """\
samunet_accumulate_crossval_results 4 -v hybrid
samunet_accumulate_crossval_results 4 -v hybrid -f 0 1 2 -o merged"""
FOLDS = ["0", "1", "2", "3", "4"]


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_accumulate_crossval_results",
        "Copy the validation segmentations of a model's folds into one folder and merge their scores.",
        EXAMPLES,
    )
    parser.add_argument("dataset", metavar="DATASET", help="dataset id or name, e.g. 4 or Dataset004_Hippocampus")
    parser.add_argument("-v", "-c", dest="variant", required=True, metavar="VARIANT", help="variant, e.g. hybrid")
    parser.add_argument("-f", dest="folds", nargs="+", type=fold, action=Distinct, default=FOLDS, metavar="FOLD",
                        help="folds to merge (default: 0 1 2 3 4)")
    parser.add_argument("-p", dest="plans_name", default=DEFAULT_PLANS_NAME, metavar="PLANS",
                        help="name of the plans (default: %(default)s)")
    parser.add_argument("--encoder", metavar="NAME",
                        help="encoder that the model was trained with (default: that of the last one trained)")
    parser.add_argument("-o", dest="output", type=Path, metavar="FOLDER",
                        help="a new or empty folder (default: crossval_results_folds_0_1_2_3_4 in the model's folder)")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    entry(options.variant)  # reports a wrong name with the known ones
    from samunet.selection.crossval import accumulate_trained
    from samunet.selection.trained import full_model

    model = full_model(paths_of(options).results, options.dataset, options.variant, options.plans_name,
                       options.encoder)
    output = accumulate_trained(model, options.folds, options.output)
    say(f"model: {model}")
    result(f"folds {' '.join(options.folds)}: {output}")
