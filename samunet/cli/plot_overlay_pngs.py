"""samunet_plot_overlay_pngs: pictures of segmentations over their images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import whole
from samunet.cli.main import command
from samunet.cli.options import add_paths, add_workers, command_parser, paths_of, workers_of
from samunet.console import result
from samunet.errors import UserError

EXAMPLES = """\
samunet_plot_overlay_pngs -d 4 -o pictures                               labels of a raw dataset
samunet_plot_overlay_pngs -i images -s segmentations -o pictures         predictions
samunet_plot_overlay_pngs -i images -s segmentations -r labels -o pictures   with the reference outlined"""


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "samunet_plot_overlay_pngs",
        "Draw segmentations over their images: one PNG for each case, cut through the middle of the foreground,\n"
        "or for a sequence of frames a contact sheet of 12 of them.",
        EXAMPLES,
    )
    parser.add_argument("-d", dest="dataset", metavar="DATASET", help="id or name of a raw dataset whose labels are drawn")
    parser.add_argument("-i", dest="images", type=Path, metavar="FOLDER", help="images, instead of -d")
    parser.add_argument("-s", dest="segmentations", type=Path, metavar="FOLDER", help="segmentations of these images, filled")
    parser.add_argument("-r", dest="references", type=Path, metavar="FOLDER", help="reference labels, outlined")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="pictures go here")
    parser.add_argument("-djfile", type=Path, metavar="FILE",
                        help="dataset.json with the labels' names (default: the one beside the segmentations)")
    parser.add_argument("-channel_idx", type=whole(0, 9999), default=0, metavar="N",
                        help="image channel to show (default: 0); sequences in colour show all")
    add_workers(parser)
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    if (options.dataset is None) == (options.images is None) or (options.images is None) != (options.segmentations is None):
        raise UserError("Either -d, or -i and -s, must say what is drawn.")
    from samunet.inference.overlay_files import draw_all, jobs_of_dataset, jobs_of_folder

    if options.dataset is not None:
        from samunet.dataset.dataset import load_dataset
        from samunet.dataset.paths import find_dataset

        dataset = load_dataset(find_dataset(paths_of(options).raw, options.dataset))
        jobs = jobs_of_dataset(dataset, options.output, options.channel_idx)
    else:
        dataset_file = options.djfile or options.segmentations / "dataset.json"
        jobs = jobs_of_folder(options.images, options.segmentations, options.references, dataset_file, options.output,
                              options.channel_idx)
    draw_all(jobs, options.output, workers_of(options))
    result(f"{len(jobs)} picture{'' if len(jobs) == 1 else 's'}: {options.output}")
