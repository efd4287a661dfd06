"""Whole prediction commands of nnU-Net and samunet on the same images, one after the other in one run.

    python studies/predict_speed.py -d 4 --configuration 3d_fullres --cases 60 -o work --output \\
        studies/results/predict_speed.jsonl
    python studies/predict_speed.py -d 27 --configuration 2d --cases 20 -o work --output \\
        studies/results/predict_speed.jsonl

Every model is first trained for --minutes on 5 cases of fold 1, so that it finds something; how good it is changes
nothing about the time. Each round then calls every command once, as a user would, all cores theirs: start, imports,
reading, network, export. nnU-Net predicts with its default mirroring and with --disable_tta; samunet never mirrors
unless asked to, so the second is the column to compare with. Given are the best wall seconds of all rounds, and the
processor seconds of that round, which the other load of the machine changes less. "One case" is the same command on
the first case alone: mostly start and imports, with no peer. `hybrid` registers all 5 cases to each image. That the
work is the same is checked by the files: each command writes a segmentation of every case on its image's grid. Finished
training is reused.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import SimpleITK as sitk
from commands import trained
from record import append, facts

from samunet.benchmarking.nnunet import PLANS, TRAINER, NnunetRun, link_images
from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.cli.plan_and_preprocess import main as plan_and_preprocess
from samunet.dataset.dataset import RawDataset, load_dataset
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.files import read_json

SHOTS = 5
DEFAULT, PLAIN = "nnU-Net, its default mirroring", "nnU-Net, --disable_tta"
ONE_CASE = ", one case"


def main() -> None:
    options = parsed()
    paths = resolve_paths()
    dataset = load_dataset(find_dataset(paths.raw, options.dataset))
    if code := plan_and_preprocess(["-d", options.dataset, "--no_embeddings"]):
        sys.exit(code)
    images = options.work / dataset.name / "images"
    chosen = dataset.cases[: options.cases]
    for case in chosen:
        link_images(case, images, dataset.file_ending, choose_reader(dataset))
    commands = nnunet_commands(options, dataset, images) | {
        variant: samunet_command(options, variant, images) for variant in options.variants}
    alone = options.work / dataset.name / "one_image"
    link_images(chosen[0], alone, dataset.file_ending, choose_reader(dataset))
    commands |= {f"{variant}{ONE_CASE}": samunet_command(options, variant, alone) for variant in options.variants}
    seconds: dict[str, tuple[float, float]] = {}
    for round_ in range(options.rounds):
        for name, (command, environment) in commands.items():
            output = options.work / dataset.name / "predicted" / f"{len(seconds)}_{round_}"
            found = timed([*command, "-o", str(output)], environment)
            named = chosen[:1] if name.endswith(ONE_CASE) else chosen
            check(output, images, [case.name for case in named], dataset.file_ending)
            print(f"{name}: {found[0]:.1f} s, {found[1]:.1f} processor seconds", flush=True)
            seconds[name] = min(found, seconds.get(name, found))
    print(markdown(seconds))
    append(options.output, facts() | {
        "dataset": dataset.name, "cases": options.cases, "configuration": options.configuration,
        "rounds": options.rounds, "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
        "seconds": {name: {"wall": wall, "processor": processor} for name, (wall, processor) in seconds.items()}})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--configuration", choices=["2d", "3d_fullres"], default="3d_fullres")
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--variants", nargs="+", default=["cnn_head", "hybrid_off", "hybrid", "unet"])
    parser.add_argument("--minutes", default="0.5", help="of training each model (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("-o", dest="work", type=Path, required=True, help="folder for images, models and predictions")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    return parser.parse_args()


def nnunet_commands(
    options: argparse.Namespace, dataset: RawDataset, images: Path
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """nnU-Net's prediction with and without mirroring, from a model that is trained where there is none."""
    names = read_json(resolve_paths().preprocessed / dataset.name / "splits_final.json")[1]
    folder = (options.work / dataset.name / f"nnunet_{options.configuration}").resolve()
    NnunetRun(dataset, options.configuration, tuple(names["train"][:SHOTS]), tuple(names["val"][:1]), None,
              float(options.minutes), "cpu")(folder)
    environment = {f"nnUNet_{part}": str(folder / part) for part in ("raw", "preprocessed", "results")} | {
        "nnUNet_compile": "f", "nnUNet_extTrainer": str(files("samunet.benchmarking") / "nnunet_trainers"),
        "SAMUNET_MINUTES": options.minutes, "SAMUNET_THREADS": str(os.cpu_count())}
    number = dataset.name.partition("_")[0].removeprefix("Dataset")
    start = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point; predict_entry_point()"
    command = [sys.executable, "-c", start, "-i", str(images), "-d", number, "-c", options.configuration, "-f", "all",
               "-tr", TRAINER, "-p", PLANS, "-device", "cpu"]
    return {DEFAULT: (command, environment), PLAIN: ([*command, "--disable_tta"], environment)}


def samunet_command(options: argparse.Namespace, variant: str, images: Path) -> tuple[list[str], dict[str, str]]:
    """`samunet_predict` with a model that is trained where there is none."""
    trained(options.dataset, variant, "1", DEFAULT_PLANS_NAME, "--minutes", options.minutes, shots=SHOTS)
    command = str(Path(sys.executable).with_name("samunet_predict"))
    return [command, "-i", str(images), "-d", options.dataset, "-v", variant, "--shots", str(SHOTS), "-f", "1",
            "-device", "cpu"], {}


def timed(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and processor seconds of a command and its processes."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | environment, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def check(output: Path, images: Path, names: Sequence[str], ending: str) -> None:
    """End where a segmentation is missing or on another grid than its image; then make room for the next command."""
    for name in names:
        found, image = (sitk.ReadImage(str(path)) for path in (output / f"{name}{ending}",
                                                               images / f"{name}_0000{ending}"))
        if found.GetSize() != image.GetSize() or found.GetSpacing() != image.GetSpacing():
            sys.exit(f"{output}: {name} is on another grid than its image")
    shutil.rmtree(output)


def markdown(seconds: dict[str, tuple[float, float]]) -> str:
    lines = [f"| command | seconds | processor seconds | of {DEFAULT} | of {PLAIN} |", "|---|---|---|---|---|"]
    for name, (wall, processor) in seconds.items():
        peers = () if name.endswith(ONE_CASE) else (DEFAULT, PLAIN)
        ratios = [f"{wall / seconds[peer][0]:.2f}" for peer in peers] or ["", ""]
        lines.append(f"| {name} | {wall:.1f} | {processor:.1f} | {' | '.join(ratios)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
