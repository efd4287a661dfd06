"""samunet_evaluate_folder: compare predicted segmentations with references, case by case."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.main import command
from samunet.cli.options import add_workers, command_parser
from samunet.console import result, say

DESCRIPTION = """Evaluate every case and class. Writes nnU-Net's summary.json and, in the same folder, metrics.json
with HD95, ASSD, NSD and volume error in mm and ml.
A missing prediction is an error, except with --chill. Predictions without a reference are ignored."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser("samunet_evaluate_folder", DESCRIPTION,
                            "samunet_evaluate_folder labelsTs predictions -djfile Dataset004_Hippocampus/dataset.json")
    parser.add_argument("reference", type=Path, metavar="GT_FOLDER", help="folder with the reference segmentations")
    parser.add_argument("prediction", type=Path, metavar="PRED_FOLDER", help="folder with the predicted segmentations")
    parser.add_argument("-djfile", type=Path, required=True, metavar="FILE", help="the dataset's dataset.json")
    parser.add_argument("-pfile", type=Path, metavar="FILE",
                        help="accepted for compatibility with nnU-Net and not used: dataset.json is sufficient")
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE",
                        help="summary file, ending in .json (default: PRED_FOLDER/summary.json)")
    add_workers(parser)
    parser.add_argument("--chill", action="store_true",
                        help="evaluate the cases that have a prediction, and name those that have none")
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.api.evaluation import evaluate, metrics_path

    output = options.output or options.prediction / "summary.json"
    summary = evaluate(options.reference, options.prediction, options.djfile, output=output, chill=options.chill,
                       workers=options.workers)
    say(f"mean foreground Dice of {len(summary['metric_per_case'])} cases: {summary['foreground_mean']['Dice']:.4f}")
    result(f"evaluation: {output} and {metrics_path(output)}")
