"""samunet_plot_overlay_pngs: overlays of segmentations on their images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import whole
from samunet.cli.main import command
from samunet.cli.options import add_paths, add_workers, command_parser, paths_of, workers_of
from samunet.console import result, say
from samunet.errors import UserError

EXAMPLES = """\
samunet_plot_overlay_pngs -d 4 -o overlays                                   labels of a raw dataset
samunet_plot_overlay_pngs -i images -s segmentations -o overlays             predictions
samunet_plot_overlay_pngs -i images -s segmentations -r labels -o overlays   with the reference outlined"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_plot_overlay_pngs",
        "Plot segmentations over their images: one PNG for each case, at the middle slice of the foreground,\n"
        "or a contact sheet of 12 frames for a sequence. Where samunet_predict wrote quality.json beside the\n"
        "segmentations, titles show the predicted Dice, and worst_cases.png the 12 cases of the lowest.",
        EXAMPLES,
    )
    parser.add_argument("-d", dest="dataset", metavar="DATASET", help="id or name of a raw dataset: plot its labels")
    parser.add_argument("-i", dest="images", type=Path, metavar="FOLDER", help="folder of images, instead of -d")
    parser.add_argument("-s", dest="segmentations", type=Path, metavar="FOLDER",
                        help="folder of segmentations of these images, plotted filled")
    parser.add_argument("-r", dest="references", type=Path, metavar="FOLDER",
                        help="folder of reference labels, plotted as outlines")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER",
                        help="folder that receives the overlays")
    parser.add_argument("-djfile", type=Path, metavar="FILE",
                        help="dataset.json with the names of the labels (default: the one in the segmentations' "
                             "folder)")
    parser.add_argument("-channel_idx", type=whole(0, 9999), default=0, metavar="N",
                        help="image channel to show (default: 0); colour sequences show all channels")
    add_workers(parser)
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    has_images, has_segmentations = options.images is not None, options.segmentations is not None
    if (options.dataset is None) != has_images or has_images != has_segmentations:
        raise UserError("Either -d, or both -i and -s, must be given.")
    from samunet.inference.overlay_files import draw_all, jobs_of_dataset, jobs_of_folder
    from samunet.quality.overlays import draw_worst, worst_first

    if options.dataset is not None:
        from samunet.dataset.dataset import load_dataset
        from samunet.dataset.paths import find_dataset

        dataset = load_dataset(find_dataset(paths_of(options).raw, options.dataset))
        jobs = jobs_of_dataset(dataset, options.output, options.channel_idx)
    else:
        from samunet.dataset.dataset_json import dataset_json_in

        dataset_file = options.djfile or dataset_json_in(options.segmentations)
        jobs = worst_first(jobs_of_folder(options.images, options.segmentations, options.references, dataset_file,
                                          options.output, options.channel_idx), options.segmentations)
    draw_all(jobs, options.output, workers_of(options))
    if sheet := draw_worst(jobs, options.output):
        say(f"the worst cases by predicted Dice: {sheet}")
    result(f"{len(jobs)} overlay{'' if len(jobs) == 1 else 's'}: {options.output}")
