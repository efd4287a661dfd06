"""samunet_evaluate_simple: compare segmentations with references for labels given on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import Distinct, whole
from samunet.cli.main import command
from samunet.cli.options import add_workers, command_parser, workers_of
from samunet.console import result, say

LARGEST_LABEL = 2**15 - 1  # labels are read as int16

DESCRIPTION = """Evaluate labels without a dataset.json. Writes the same files as samunet_evaluate_folder.
Voxels of other labels count as background."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser("samunet_evaluate_simple", DESCRIPTION,
                            "samunet_evaluate_simple labelsTs predictions -l 1 2")
    label = whole(1, LARGEST_LABEL)
    parser.add_argument("reference", type=Path, metavar="GT_FOLDER", help="folder with the reference segmentations")
    parser.add_argument("prediction", type=Path, metavar="PRED_FOLDER", help="folder with the predicted segmentations")
    parser.add_argument("-l", dest="labels", type=label, nargs="+", action=Distinct, required=True, metavar="LABEL",
                        help="labels to evaluate")
    parser.add_argument("-il", dest="ignore", type=label, metavar="LABEL",
                        help="ignore label: its voxels in the reference are not evaluated")
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE",
                        help="summary file, ending in .json (default: PRED_FOLDER/summary.json)")
    parser.add_argument("--chill", action="store_true",
                        help="evaluate the cases that have a prediction, and report the others")
    add_workers(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.evaluation.simple import evaluate_simple

    output = options.output or options.prediction / "summary.json"
    summary = evaluate_simple(options.reference, options.prediction, options.labels, options.ignore, output,
                              workers_of(options), chill=options.chill)
    say(f"mean foreground Dice of {len(summary['metric_per_case'])} cases: {summary['foreground_mean']['Dice']:.4f}")
    result(f"evaluation: {output}")
