"""samunet_predict: segment a folder of images with a trained model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import MOST_CASES, real, whole
from samunet.cli.main import command
from samunet.cli.model_options import add_model, found_model, require_variant
from samunet.cli.options import add_paths, command_parser
from samunet.console import result, say
from samunet.planning.encoder_spec import SMALLEST_STEP

EXAMPLES = """\
samunet_predict -i images -o segmentations                            the chosen model, else the last one trained
samunet_predict -i images -o segmentations -d 4 -v cnn_head -f 0 1 2
samunet_predict -i images -o segmentations -m results/Dataset004_Hippocampus/cnn_head__samunetPlans__mini-3
samunet_predict -i images -o segmentations -m model.zip               a bundle of samunet_export_model_to_zip"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_predict",
        "Segment every case of a folder: CASE_0000.nii.gz, ... or folders CASE with the files of a DICOM series.\n"
        "Each segmentation is on the grid of its image; those of DICOM series are also written as DICOM SEG.\n"
        "By default it uses the model that samunet_find_best_configuration chose, else the one that samunet_train\n"
        "trained last, with all its finished folds.",
        EXAMPLES,
    )
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER", help="folder of images")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER",
                        help="folder that receives the segmentations")
    add_model(parser, "folds to average (default: all finished ones; runs of a benchmark only with -v or -m)")
    parser.add_argument("--save_probabilities", action="store_true",
                        help="also write <case>.npz, .pkl and .properties.json for nnUNetv2_ensemble")
    parser.add_argument("--calibrated_probabilities", action="store_true",
                        help="scale the saved probabilities by the temperature of samunet_calibrate (default: as the "
                             "model gives them)")
    parser.add_argument("--continue_prediction", action="store_true", help="skip cases that are already predicted")
    mirroring = parser.add_mutually_exclusive_group()
    mirroring.add_argument("--tta", action="store_true", help="average over mirrored images (takes four times as long)")
    mirroring.add_argument("--disable_tta", action="store_true", help="do not mirror (default)")
    parser.add_argument("-step_size", type=real(SMALLEST_STEP, 1), metavar="S",
                        help="step between neighbouring tiles as a fraction of the tile size (default: from the plans, "
                             "0.5)")
    parser.add_argument("-num_parts", type=whole(1, MOST_CASES), default=1, metavar="N",
                        help="split the cases into N parts (default: 1)")
    parser.add_argument("-part_id", type=whole(0, MOST_CASES), default=0, metavar="K",
                        help="part to predict, counted from 0 (default: 0)")
    parser.add_argument("--prompts", type=Path, metavar="FILE",
                        help="JSON file with points and boxes for every case (promptable variants; "
                             "documentation/how-to/prompts.md)")
    parser.add_argument("--remove_small_blobs", type=real(0, 1e6, above=True), metavar="ML",
                        help="remove connected components of a class that are smaller than this volume in ml")
    parser.add_argument("-device", metavar="NAME", help="cpu, cuda or mps (default: cuda if available, else cpu)")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    require_variant(options)
    from samunet.inference.model_folder import chosen_device, load_model
    from samunet.inference.predict_folder import PredictionSettings
    from samunet.networks.checkpoints.encoders import announce
    from samunet.quality.prediction import predict_with_quality

    settings = PredictionSettings(options.save_probabilities, options.continue_prediction, options.tta,
                                  options.step_size, options.num_parts, options.part_id, options.prompts,
                                  options.remove_small_blobs)
    found = found_model(options)
    model = load_model(found.folder, found.folds, chosen_device(options.device), options.encoder)
    say(f"model: {found.folder}, fold{'s' if len(model.folds) > 1 else ''} {', '.join(model.folds)}; {found.why}")
    if model.encoder is not None and (line := announce(model.encoder.spec)):
        say(line)
    count = predict_with_quality(model, options.input, options.output, settings,
                                 calibrated_probabilities=options.calibrated_probabilities)
    result(f"{count} case{'' if count == 1 else 's'} predicted: {options.output}")
