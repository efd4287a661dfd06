"""samunet_evaluate_clicks: evaluate a model that answers prompts by simulated clicks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import LARGEST_SEED, Distinct, fold, whole
from samunet.cli.main import command
from samunet.cli.options import command_parser
from samunet.console import result, say

MOST_CLICKS = 100
DESCRIPTION = """Click on the largest error of every label, again and again, and score each answer (Dice, NSD at 2 mm).
The reference labels choose the clicks, so that the results are marked as oracle: they say what a perfect user
reaches, and are no scores of automatic segmentation.
Clicks follow the rule of the CVPR 2025 challenge for interactive 3D biomedical segmentation."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_evaluate_clicks", DESCRIPTION,
        "samunet_evaluate_clicks -m results/Dataset004_Hippocampus/sam_zeroshot__samunetPlans__mini-3 -i imagesTs "
        "-gt labelsTs -o clicks.json")
    parser.add_argument("-m", dest="model", type=Path, required=True, metavar="FOLDER",
                        help="folder of a model of a variant that answers prompts")
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER", help="folder of images")
    parser.add_argument("-gt", dest="references", type=Path, required=True, metavar="FOLDER",
                        help="folder with the reference segmentations; images without one are ignored")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE",
                        help="file that receives the scores, ending in .json (documentation/reference/metrics.md)")
    parser.add_argument("--clicks", type=whole(1, MOST_CLICKS), default=5, metavar="N",
                        help="number of clicks for each label (default: %(default)s); areas need at least 5")
    parser.add_argument("--box", action="store_true", help="begin with the tight 3D box of each label")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="S",
                        help="seed that breaks ties between equally good places of a click (default: %(default)s)")
    parser.add_argument("-f", dest="folds", nargs="+", type=fold, action=Distinct, metavar="FOLD",
                        help="folds to average (default: all finished ones)")
    parser.add_argument("--encoder", metavar="NAME",
                        help="the current path of the encoder's file that the model was trained with")
    parser.add_argument("-device", metavar="NAME", help="cpu, cuda or mps (default: cuda if available, else cpu)")
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.inference.model_folder import chosen_device, load_model
    from samunet.interaction.click_evaluation import ClickSettings
    from samunet.interaction.click_folder import evaluate_clicks

    model = load_model(options.model, options.folds, chosen_device(options.device), options.encoder)
    content = evaluate_clicks(model, options.input, options.references, options.output,
                              ClickSettings(options.clicks, options.box, options.seed))
    dice = content["mean"]["Dice"]
    say(f"oracle clicks, mean Dice of {len(content['cases'])} cases: "
        + ", ".join(f"{value:.4f} after {number}" for number, value in enumerate(dice) if number or options.box))
    result(f"evaluation: {options.output}")
