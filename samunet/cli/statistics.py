"""samunet_statistics: volumes, places and intensities of the labels in a folder of segmentations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.main import command
from samunet.cli.options import add_workers, command_parser, workers_of
from samunet.console import result

DESCRIPTION = """Measure every label of every case: volume in ml, voxels, bounding box in voxels and mm, centroid in mm
and, with -images, mean and standard deviation of each channel inside. One row for each case and label in a CSV file,
or one JSON file. Coordinates in mm are the patient's, as in DICOM: x to the left, y to the back, z to the head."""
EXAMPLES = """\
samunet_statistics -i segmentations -o statistics.csv
samunet_statistics -i labelsTr -images imagesTr -djfile dataset.json -o statistics.json"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser("samunet_statistics", DESCRIPTION, EXAMPLES)
    parser.add_argument("-i", dest="segmentations", type=Path, required=True, metavar="FOLDER",
                        help="folder of segmentations: predictions or labels")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE",
                        help="file that receives the statistics, ending in .csv or .json")
    parser.add_argument("-images", type=Path, metavar="FOLDER",
                        help="folder with the images of these cases, for intensities")
    parser.add_argument("-djfile", type=Path, metavar="FILE",
                        help="the dataset's dataset.json (default: dataset.json in the folder of segmentations, where "
                             "samunet_predict writes it)")
    add_workers(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.dataset.dataset_json import dataset_json_in
    from samunet.evaluation.statistics_files import write_statistics

    dataset_file = options.djfile or dataset_json_in(options.segmentations)
    count = write_statistics(options.segmentations, dataset_file, options.output, workers_of(options), options.images)
    result(f"statistics of {count} case{'' if count == 1 else 's'}: {options.output}")
