"""samunet_predict: segment a folder of images with a trained model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import MOST_CASES, MOST_PROCESSES, MOST_RAM_GB, real, whole
from samunet.cli.main import command
from samunet.cli.model_options import add_model, require_variant
from samunet.cli.nnunet_flags import CHECKPOINT, Refused, Unneeded, add_progress, checkpoint, show_progress
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
                        help="also write <case>.npz, .pkl and .properties.json, for samunet_ensemble and "
                             "nnUNetv2_ensemble")
    parser.add_argument("--calibrated_probabilities", action="store_true",
                        help="scale the saved probabilities by the temperature of samunet_calibrate (default: as the "
                             "model gives them)")
    parser.add_argument("--continue_prediction", action="store_true", help="skip cases that are already predicted")
    mirroring = parser.add_mutually_exclusive_group()
    mirroring.add_argument("--tta", action="store_true", help="average over mirrored images (takes four times as long)")
    mirroring.add_argument("--disable_tta", action="store_true", help="do not mirror (default)")
    parser.add_argument("-step_size", type=real(SMALLEST_STEP, 1), metavar="S",
                        help="most distance between neighbouring windows as a fraction of a window, along slices, too, "
                             "where it holds several (default: from the plans, 0.5)")
    parser.add_argument("-num_parts", type=whole(1, MOST_CASES), default=1, metavar="N",
                        help="split the cases into N parts (default: 1)")
    parser.add_argument("-part_id", type=whole(0, MOST_CASES), default=0, metavar="K",
                        help="part to predict, counted from 0 (default: 0)")
    parser.add_argument("-npp", dest="preparing_workers", type=whole(1, MOST_PROCESSES), default=1, metavar="N",
                        help="number of processes that read and preprocess the coming cases while one is predicted; "
                             "each holds up to two cases in memory (default: 1, in turn with prediction)")
    parser.add_argument("--max_ram", type=real(0, MOST_RAM_GB, above=True), metavar="GB",
                        help="memory that this command may take, in GB; a case that does not fit is refused, others "
                             "are predicted (Linux, with -npp 1)")
    parser.add_argument("--prompts", type=Path, metavar="FILE",
                        help="JSON file with points and boxes for every case (promptable variants; "
                             "documentation/how-to/prompts.md)")
    parser.add_argument("--remove_small_blobs", type=real(0, 1e6, above=True), metavar="ML",
                        help="remove connected components of a class that are smaller than this volume in ml")
    parser.add_argument("-device", metavar="NAME", help="cpu, cuda or mps (default: cuda if available, else cpu)")
    add_progress(parser, "--disable_progress_bar")
    _add_nnunet_flags(parser)
    add_paths(parser)
    return parser


def _add_nnunet_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that keep command lines of nnU-Net running, where they can."""
    group = parser.add_argument_group("flags for compatibility with nnU-Net")
    group.add_argument("-chk", type=checkpoint, default=CHECKPOINT, metavar="NAME",
                       help="name of the weights: checkpoint_final, the only ones that a model has")
    group.add_argument("-nps", action=Unneeded, type=whole(0, MOST_PROCESSES), metavar="N",
                       reason="each slice is exported as soon as it is predicted, so that no volume of logits is in "
                              "memory")
    group.add_argument("--not_on_device", action=Unneeded, nargs=0,
                       reason="only the slices of the current window are on the device")
    group.add_argument("-prev_stage_predictions", action=Refused, metavar="FOLDER",
                       reason="samunet has no cascade, so no model reads the predictions of another")


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    require_variant(options)
    show_progress(options)
    from samunet.api.prediction import Predictor, limit_ram, require_folder

    require_folder(options.input)  # before minutes of loading a model
    if options.max_ram is not None:
        limit_ram(options.max_ram, options.preparing_workers)
    predictor = Predictor(
        options.model, dataset=options.dataset, variant=options.variant, plans_name=options.plans_name,
        shots=options.shots, draw=options.draw, shot_slices=options.shot_slices, folds=options.folds,
        encoder=options.encoder, tta=options.tta, step=options.step_size, device=options.device,
        results=options.results)
    for line in predictor.description():
        say(line)
    count = predictor.predict_folder(
        options.input, options.output, probabilities=options.save_probabilities,
        continue_prediction=options.continue_prediction, prompts=options.prompts, parts=options.num_parts,
        part=options.part_id, preparing_workers=options.preparing_workers,
        remove_small_blobs=options.remove_small_blobs, calibrated_probabilities=options.calibrated_probabilities)
    result(f"{count} case{'' if count == 1 else 's'} predicted: {options.output}")
