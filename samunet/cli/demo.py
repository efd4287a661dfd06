"""samunet_demo: the whole pipeline from raw images to scores; each step is a command that you can repeat by hand."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.cli.main import command
from samunet.cli.options import command_parser
from samunet.console import result, say
from samunet.errors import UserError
from samunet.files import copy_whole, make_folder, read_json

if TYPE_CHECKING:
    from samunet.dataset.dataset import RawCase, RawDataset

VARIANT = "cnn_head"
PHANTOM = "Dataset900_Phantom"
PHANTOM_ITERATIONS = 100
# Not fold 0: final results are measured there, and a demo must not look at its validation cases before.
REAL_FOLD = 1
REAL_SHOTS = 5
REAL_CASES = 5


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_demo",
        "Run the whole pipeline: plan, preprocess and encode, train, predict, evaluate, plot overlays.\n"
        "Without --dataset, it runs on a synthetic dataset of small volumes (a few minutes on 2 cores).",
        "samunet_demo\nsamunet_demo --dataset data/Dataset004_Hippocampus --output /tmp/demo",
    )
    parser.add_argument("--dataset", type=Path, metavar="FOLDER",
                        help="folder DatasetXXX_Name in nnU-Net's raw format; it is not modified")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), metavar="FOLDER",
                        help="folder that receives all output (default: demo_output)")
    return parser


@dataclass(frozen=True)
class Job:
    """What to train (`samunet_train`'s fold and flags) and which images to predict, with reference labels if known."""

    fold: str
    training: tuple[str, ...]
    images: Path
    labels: Path | None


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    began = time.perf_counter()
    name = _dataset_name(options.dataset)
    # One folder for each dataset, so that `samunet_predict -i -o` alone finds this demo's model.
    work = options.output / name
    raw = options.dataset.resolve().parent if options.dataset else work / "raw"
    _set_paths(raw, work)
    if options.dataset is None:
        from samunet.dataset.phantom import make_phantom_dataset

        make_phantom_dataset(raw)
    number = str(int(_digits(name)))
    dataset, predictions, overlays = raw / name, work / "predictions", work / "overlays"

    _step("plan_and_preprocess", "-d", number, "--verify_dataset_integrity")
    job = _real_job(dataset, work) if options.dataset else _phantom_job(dataset)
    _step("train", number, VARIANT, job.fold, *job.training)
    _step("predict", "-i", str(job.images), "-o", str(predictions))
    if job.labels:
        _step("evaluate_folder", str(job.labels), str(predictions), "-djfile", str(dataset / "dataset.json"))
        _print_scores(predictions / "summary.json", dataset)
    references = ("-r", str(job.labels)) if job.labels else ()
    _step("plot_overlay_pngs", "-i", str(job.images), "-s", str(predictions), *references, "-o", str(overlays))
    say(f"\nThe whole pipeline took {time.perf_counter() - began:.0f} seconds.")
    result(f"segmentations: {predictions}\noverlays:      {overlays}\nmodel:         {work / 'results'}")


def _dataset_name(dataset: Path | None) -> str:
    if dataset is None:
        return PHANTOM
    name = dataset.resolve().name
    if not dataset.is_dir() or not (name.startswith("Dataset") and _digits(name).isdecimal()):
        raise UserError(
            "--dataset must be a folder DatasetXXX_Name in nnU-Net's raw format.",
            where=dataset,
            found=f"the name '{name}'" if dataset.is_dir() else "no such folder",
            mend="Name a folder such as Dataset004_Hippocampus, with dataset.json, imagesTr and labelsTr in it.",
        )
    return name


def _digits(name: str) -> str:
    return name.removeprefix("Dataset").partition("_")[0]


def _set_paths(raw: Path, work: Path) -> None:
    """Set the three folders for this process, and print the lines that set them in a shell."""
    say("Each step is a command. To repeat one by hand, first run these lines:\n")
    for name, folder in (("raw", raw), ("preprocessed", work / "preprocessed"), ("results", work / "results")):
        os.environ[f"samunet_{name}"] = str(folder)
        say(f"  {'set' if os.name == 'nt' else 'export'} samunet_{name}={shlex.quote(str(folder))}")


def _step(name: str, *arguments: str) -> None:
    """Print a samunet command, then run it in this process; exit if it fails."""
    say(f"\n$ samunet_{name} {shlex.join(arguments)}")
    code = import_module(f"samunet.cli.{name}").main(list(arguments))
    if code != 0:
        sys.exit(code)


def _phantom_job(dataset: Path) -> Job:
    return Job("0", ("--iterations", str(PHANTOM_ITERATIONS)), dataset / "imagesTs", dataset / "labelsTs")


def _real_job(dataset: Path, work: Path) -> Job:
    """Few shots of one fold; predicts `imagesTs`, or else some of the fold's validation cases."""
    from samunet.dataset.dataset import load_dataset

    raw = load_dataset(dataset)
    splits = read_json(work / "preprocessed" / dataset.name / "splits_final.json")
    fold = str(min(REAL_FOLD, len(splits) - 1)) if splits else "all"
    names = [case.name for case in raw.cases]
    split = splits[int(fold)] if splits else {"train": names, "val": names}
    shots = ("--shots", str(REAL_SHOTS)) if len(split["train"]) > REAL_SHOTS else ()
    test_images, test_labels = dataset / "imagesTs", dataset / "labelsTs"
    if test_images.is_dir() and any(test_images.iterdir()):
        return Job(fold, shots, test_images, test_labels if test_labels.is_dir() else None)
    chosen = [case for case in raw.cases if case.label and case.name in split["val"]][:REAL_CASES]
    images, labels = work / "validation_images", work / "validation_labels"
    _copy_cases(raw, chosen, images, labels)
    return Job(fold, shots, images, labels)


def _copy_cases(dataset: RawDataset, cases: Sequence[RawCase], images: Path, labels: Path) -> None:
    """Replace both folders by copies of these labelled cases, named as in a raw dataset whatever `dataset` lists."""
    from samunet.dataset.case_files import image_files, label_files
    from samunet.dataset.io.readers import choose_reader

    reader = choose_reader(dataset)
    for folder in (images, labels):
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
    for case in cases:
        if case.label is None:
            raise ValueError(f"{case.name} has no label")
        named = [images / f"{case.name}_{channel:04d}{dataset.file_ending}" for channel in range(len(case.images))]
        sources = image_files(case.images, reader) + label_files(case.label, reader)
        targets = image_files(named, reader) + label_files(labels / f"{case.name}{dataset.label_ending}", reader)
        for source, target in zip(sources, targets, strict=True):
            if source.exists():  # the spacing file of a 3D TIFF is optional
                copy_whole(source, target)


def _print_scores(summary: Path, dataset: Path) -> None:
    from samunet.dataset.labels import LabelSpace

    labels = LabelSpace.from_dataset_json(read_json(dataset / "dataset.json"))
    for label in labels.foreground:
        say(f"  mean Dice of {labels.name_of(label)}: {read_json(summary)['mean'][str(label)]['Dice']:.3f}")
