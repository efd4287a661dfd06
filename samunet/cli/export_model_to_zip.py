"""samunet_export_model_to_zip: a trained model as one file for others."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.main import command
from samunet.cli.model_options import add_model, found_model, require_variant
from samunet.cli.options import add_paths, command_parser
from samunet.console import result, say

EXAMPLES = """\
samunet_export_model_to_zip -d 4 -o hippocampus.zip               the chosen model, else the last one trained
samunet_export_model_to_zip -d 4 -v hybrid -f 0 1 2 -o hybrid.zip"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_export_model_to_zip",
        "Write a trained model as a bundle: one zip of weights, plans, scores, a model card and the digests of all\n"
        "files. samunet_predict -m reads it as it is. The encoder's weights are not included. Models of atlas and\n"
        "hybrid hold training images: the model card says how many.",
        EXAMPLES,
    )
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE",
                        help="the bundle, ending in .zip")
    add_model(parser, "folds to include (default: all finished ones; runs of a benchmark only with -v or -m)",
              bundles=False)
    parser.add_argument("--exp_cv_preds", action="store_true",
                        help="include the segmentations of the validation cases")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    require_variant(options)
    from samunet.sharing.export import export_model

    found = found_model(options)
    manifest = export_model(found.folder, found.folds, options.output, predictions=options.exp_cv_preds)
    say(f"model: {found.folder}, fold{'s' if len(manifest.folds) > 1 else ''} {', '.join(manifest.folds)}; {found.why}")
    if manifest.training_images:
        say(f"Warning: the bundle holds {manifest.training_images} training images with their labels. Share it only "
            "where you may share these.")
    if manifest.encoder.needed and not manifest.encoder.shipped:
        say(f"The weights of encoder '{manifest.encoder.id}' are not in the bundle; users name its file with "
            "--encoder.")
    result(f"bundle: {options.output}")
