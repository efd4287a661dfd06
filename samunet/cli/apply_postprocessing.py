"""samunet_apply_postprocessing: keep largest components, as samunet_determine_postprocessing decided."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.main import command
from samunet.cli.options import add_prediction_files, add_workers, command_parser, workers_of
from samunet.console import result

EXAMPLES = """\
samunet_apply_postprocessing -i predictions -o postprocessed -pp_file postprocessing.json"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser("samunet_apply_postprocessing",
                            "Post-process every segmentation of a folder.", EXAMPLES)
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER",
                        help="folder of segmentations, as of samunet_predict or samunet_ensemble")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER",
                        help="folder that receives the results")
    parser.add_argument("-pp_file", "-pp_pkl_file", dest="file", type=Path, required=True, metavar="FILE",
                        help="postprocessing.json, samunet's or nnU-Net's; pickles are refused")
    add_prediction_files(parser)
    add_workers(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.selection.postprocessing import apply_postprocessing
    from samunet.selection.postprocessing_file import read_postprocessing
    from samunet.selection.prediction_folder import open_predictions

    predictions = open_predictions(options.input, options.dataset_json, options.plans_json)
    steps = read_postprocessing(options.file, predictions.labels)
    count = apply_postprocessing(predictions, options.output, steps, workers_of(options))
    result(f"{count} case{'' if count == 1 else 's'} post-processed: {options.output}")
