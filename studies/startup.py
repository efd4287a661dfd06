"""What a command costs before it works: --help, and one small case predicted, against nnU-Net's commands.

    python studies/startup.py -d 4 -o work --output studies/results/startup.jsonl

Each row is a command of samunet and nnU-Net's of the same job, called as a user calls them, one after the other,
--rounds times. Given are the best wall seconds, and the best processor seconds, which the other load of the machine
changes less. The floor is `import torch` in the same Python: nothing that computes with torch starts sooner. Of the row
with a case, imports, start, reading, network and export are all counted, on one thread; nnU-Net's has --disable_tta, as
samunet does not mirror. That the work is the same is checked by the files: a segmentation on the image's grid. Models
are trained for --minutes on 5 cases of fold 1 where there are none; how good they are changes nothing about the time.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from predict_speed import PLAIN, check, nnunet_commands, samunet_command, timed
from record import append, facts

from samunet.benchmarking.nnunet import link_images
from samunet.cli.plan_and_preprocess import main as plan_and_preprocess
from samunet.dataset.dataset import load_dataset
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.paths import find_dataset, resolve_paths

FLOOR = "import torch"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
Seconds = tuple[float, float]
"""Wall and processor seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--configuration", choices=["2d", "3d_fullres"], default="3d_fullres")
    parser.add_argument("--variants", nargs="*", default=["cnn_head", "unet"], help="none: the rows of --help alone")
    parser.add_argument("--minutes", default="0.1", help="of training each model (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", dest="work", type=Path, required=True, help="folder for images, models and predictions")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    rows = helps() | (predictions(options) if options.variants else {})
    floor = best(partial(timed, [sys.executable, "-c", FLOOR], ONE_THREAD), options.rounds)
    seconds = {name: (best(ours, options.rounds), best(peer, options.rounds)) for name, (ours, peer) in rows.items()}
    print(markdown(seconds, floor))
    append(options.output, facts() | {
        "rounds": options.rounds, "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "floor": floor,
        "seconds": {name: {"samunet": ours, "nnU-Net": peer} for name, (ours, peer) in seconds.items()}})


def helps():
    """`--help` of training and prediction, by name: what calls samunet's, what calls nnU-Net's."""
    folder = Path(sys.executable).parent
    return {f"{job} --help": tuple(
        partial(timed, [str(folder / script), "--help"], ONE_THREAD)
        for script in (f"samunet_{job}", f"nnUNetv2_{job}")) for job in ("train", "predict")}


def predictions(options: argparse.Namespace):
    """One case by each of the variants, and by nnU-Net, by name."""
    dataset = load_dataset(find_dataset(resolve_paths().raw, options.dataset))
    if code := plan_and_preprocess(["-d", options.dataset, "--no_embeddings", "-np", "1"]):
        sys.exit(code)
    case, images = dataset.cases[0], options.work / dataset.name / "one_image"
    link_images(case, images, dataset.file_ending, choose_reader(dataset))

    def call(command: Sequence[str], environment: dict[str, str]) -> Seconds:
        output = options.work / dataset.name / "one_prediction"
        found = timed([*command, "-o", str(output)], environment | ONE_THREAD)
        check(output, images, [case.name], dataset.file_ending)
        return found

    command, environment = nnunet_commands(options, dataset, images)[PLAIN]
    environment |= {"SAMUNET_THREADS": "1"}
    return {f"one case, {variant}": (
        partial(call, *samunet_command(options, variant, images)), partial(call, command, environment))
        for variant in options.variants}


def best(call, rounds: int) -> Seconds:
    """The least wall and the least processor seconds of some calls."""
    walls, processors = zip(*(call() for _ in range(rounds)), strict=True)
    return min(walls), min(processors)


def markdown(seconds: dict[str, tuple[Seconds, Seconds]], floor: Seconds) -> str:
    """Wall seconds, and processor seconds in parentheses; the ratio is of processor seconds."""
    lines = ["| command | samunet | nnU-Net | ratio |", "|---|---|---|---|"]
    lines += [f"| {name} | {shown(ours)} | {shown(peer)} | {ours[1] / peer[1]:.2f} |"
              for name, (ours, peer) in seconds.items()]
    return "\n".join([*lines, f"| floor: {FLOOR} | {shown(floor)} | {shown(floor)} | |"])


def shown(seconds: Seconds) -> str:
    return f"{seconds[0]:.2f} s ({seconds[1]:.2f})"


if __name__ == "__main__":
    main()
