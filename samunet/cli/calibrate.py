"""samunet_calibrate: learn from a model's cross-validation to predict Dice and to scale probabilities."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.main import command
from samunet.cli.options import add_paths, command_parser, paths_of
from samunet.console import result

DESCRIPTION = """Calibrate a model on its own cross-validation: each validation case is predicted by the fold that did
not train on it. Writes quality.json beside the model, with which samunet_predict writes a predicted Dice of each case
and class, and --calibrated_probabilities scales probabilities."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser("samunet_calibrate", DESCRIPTION,
                            "samunet_calibrate -m results/Dataset004_Hippocampus/hybrid__samunetPlans__mini-3")
    parser.add_argument("-m", dest="model", type=Path, required=True, metavar="FOLDER", help="folder of the model")
    parser.add_argument("--tta", action="store_true",
                        help="calibrate predictions with --tta; the agreement of the mirrored views counts as well")
    parser.add_argument("--encoder", metavar="NAME",
                        help="encoder that the model was trained with: its name, or the current path of its file")
    parser.add_argument("-device", metavar="NAME", help="cpu, cuda or mps (default: cuda if available, else cpu)")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.inference.model_folder import chosen_device
    from samunet.quality.calibrate import calibrate_model

    path = calibrate_model(options.model, paths_of(options), chosen_device(options.device),
                           encoder_name=options.encoder, mirrored=options.tta)
    result(f"calibration: {path}")
