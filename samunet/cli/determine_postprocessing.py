"""samunet_determine_postprocessing: find out which largest components raise the cross-validated Dice."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.main import command
from samunet.cli.options import add_prediction_files, add_workers, command_parser, workers_of
from samunet.console import result, say

EXAMPLES = """\
samunet_determine_postprocessing -i crossval_results_folds_0_1_2_3_4 -ref labelsTr"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_determine_postprocessing",
        "Compare cross-validated segmentations with and without all but the largest component: of the whole\n"
        "foreground, then of each label or region. Writes postprocessing.json into the folder, for\n"
        "samunet_apply_postprocessing, and the post-processed cases into its folder postprocessed.",
        EXAMPLES,
    )
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER",
                        help="cross-validated segmentations, as of samunet_accumulate_crossval_results; never "
                             "predictions of test cases")
    parser.add_argument("-ref", dest="reference", type=Path, required=True, metavar="FOLDER",
                        help="folder with the reference segmentations")
    add_prediction_files(parser)
    parser.add_argument("--remove_postprocessed", action="store_true", help="do not write the folder postprocessed")
    add_workers(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.selection.postprocessing import MEAN, determine_postprocessing, final_scores, label_text
    from samunet.selection.postprocessing_file import NAME
    from samunet.selection.prediction_folder import open_predictions

    predictions = open_predictions(options.input, options.dataset_json, options.plans_json)
    decisions = determine_postprocessing(predictions, options.reference, workers_of(options),
                                         keep_postprocessed=not options.remove_postprocessed)
    for each in decisions:
        key = each.what if each.what in each.before else MEAN
        say(f"largest component of {label_text(predictions.labels, each)}: {'kept' if each.kept else 'not used'} "
            f"(Dice {each.before[key]:.4f} without, {each.after[key]:.4f} with)")
    say(f"mean foreground Dice: {decisions[0].before[MEAN]:.4f} before, {final_scores(decisions)[MEAN]:.4f} after")
    result(f"post-processing: {options.input / NAME}")
