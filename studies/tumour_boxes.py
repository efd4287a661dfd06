"""The benefit of a 3D box where an automatic network fails: synthetic tumours among lookalikes.

    python studies/tumour_boxes.py --work tumours --output studies/results/tumour_boxes.jsonl

A tumour is an irregular oblique blob with a contrast of one standard deviation of the noise and a slightly brighter
core; four lookalikes in each case have no core (`made_tumours`). `--core` sets its brightness, and so the difficulty.
Trained for a fixed number of iterations on the training cases: `3d_adapter`, which must find the tumour;
`3d_adapter_box`, prompted by a box; `unet` with the box as a second channel. The ellipsoid inscribed in the box is a
baseline without the image. The boxes of the test cases come from their labels, tight and enlarged on each side by 5 and
10 % of the extent: such rows are marked `oracle`. Datasets and models are in --work. Appends one JSON line to --output.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from made_tumours import BOXED, CORE, LABELS, NOISE, PLAIN, RELAXED, make_datasets
from record import append, facts

from samunet.api.steps import Steps
from samunet.dataset.labels import LabelSpace
from samunet.dataset.paths import Paths
from samunet.evaluation.evaluate import evaluate_folder
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import read_json
from samunet.inference.model_folder import load_model
from samunet.inference.predict_folder import PredictionSettings, predict_folder
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.cache_rules import DEFAULT_CACHE_DTYPE
from samunet.planning.planner import DEFAULT_MEMORY_TARGET_GB, DEFAULT_PLANS_NAME
from samunet.preprocessing.prompts.kinds import oracle_name
from samunet.training.run import ensure_trained
from samunet.training.settings import Request

NEEDED = 1.5  # times the Dice of automatic segmentation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for datasets and models")
    parser.add_argument("--cases", type=int, nargs=2, default=(16, 8), help="training and test cases")
    parser.add_argument("--core", type=float, default=CORE,
                        help=f"how much brighter a tumour's core is, where noise is {NOISE:g} (default: {CORE:g})")
    parser.add_argument("--iterations", type=int, nargs=2, default=(300, 600), help="of both adapters, and of unet")
    parser.add_argument("--input-size", type=int, default=128, help="of the encoder: 48 voxels need no 256 pixels")
    parser.add_argument("--encoder", default="mini")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    paths = Paths(options.work / "raw", options.work / "preprocessed", options.work / "results")
    make_datasets(paths.raw, *options.cases, options.seed, options.core)
    for dataset in (PLAIN, BOXED):
        prepare(dataset, paths, options)
    rows = measured(paths, options)
    compare(rows, "3d_adapter")
    for name, row in rows.items():
        print(f"{name:50} Dice {row['dice']:.3f}"
              + (f"  {row['ratio']:.2f} x automatic" if row["ratio"] is not None else ""))
    append(options.output, facts() | content(options, rows))


def prepare(dataset: str, paths: Paths, options: argparse.Namespace) -> None:
    """Fingerprint, plans with the given input size, splits and arrays."""
    steps, spec = Steps.of(dataset, paths, DEFAULT_PLANS_NAME, 1), encoder_spec(options.encoder)
    plans = steps.plan(steps.fingerprint(False), spec, DEFAULT_MEMORY_TARGET_GB, None, DEFAULT_CACHE_DTYPE)
    planned = plans.for_encoder(spec.id)
    section = replace(planned, input_size=options.input_size,
                      adapters=replace(planned.adapters, input_size=options.input_size))
    plans = replace(plans, encoders={spec.id: section})
    plans.save(steps.plans_file)
    steps.splits(None)
    steps.arrays(plans)


def measured(paths: Paths, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Dice on the test cases, by method."""
    adapters, unet = options.iterations
    automatic = Trained("3d_adapter", PLAIN, adapters, paths, options)
    boxed = Trained("3d_adapter_box", PLAIN, adapters, paths, options)
    shown = Trained("unet", BOXED, unet, paths, options)
    rows = {"3d_adapter": automatic.scores("automatic", "imagesTs", None)}
    for percent in RELAXED:
        mark = f"(oracle {oracle_name('box3d', percent)})"
        rows[f"3d_adapter_box {mark}"] = boxed.scores(f"relaxed{percent}", "imagesTs",
                                                      paths.raw / f"boxes{percent}.json")
        rows[f"unet, box as a channel {mark}"] = shown.scores(f"relaxed{percent}", f"imagesTs{percent}", None)
        rows[f"inscribed ellipsoid {mark}"] = dice(paths.raw / f"ellipsoids{percent}", paths)
    return rows


class Trained:
    """A variant trained on all training cases without validation; a finished run with the same settings is reused."""

    def __init__(self, variant: str, dataset: str, iterations: int, paths: Paths, options: argparse.Namespace) -> None:
        self.variant, self.dataset, self.paths = variant, dataset, paths
        spec = encoder_spec(options.encoder)
        self.folder = paths.results / dataset / f"{variant}__{DEFAULT_PLANS_NAME}__{spec.id}"
        # No prompt is used: a promptable variant only needs their kind.
        kind = "box3d" if variant == "3d_adapter_box" else None
        ensure_trained(Request(dataset, variant, "all", options.encoder, DEFAULT_PLANS_NAME, iterations,
                               seed=options.seed,
                               oracle_prompts=kind, validate=False), paths, trained_by="tumour_boxes.py", workers=1)

    def scores(self, name: str, images: str, prompts: Path | None) -> dict[str, Any]:
        """Predict the test images in folder `images` and score them."""
        output = self.folder / "test" / name
        predict_folder(load_model(self.folder, None, torch.device("cpu")), self.paths.raw / self.dataset / images,
                       output,
                       PredictionSettings(prompts=prompts))
        run = read_json(self.folder / "fold_all" / "run.json")
        return dice(output, self.paths) | {"iterations": run["settings"]["iterations"],
                                           "training_seconds": run["seconds"]["training"]}


def dice(folder: Path, paths: Paths) -> dict[str, Any]:
    """Dice of each test case's segmentation in `folder`, and their mean."""
    summary = evaluate_folder(paths.raw / PLAIN / "labelsTs", folder, LabelSpace(LABELS), ".nii.gz", "SimpleITKIO",
                              None, 1)
    cases = {Path(row["reference_file"]).name: row["metrics"]["1"]["Dice"] for row in summary["metric_per_case"]}
    return {"dice": mean(cases.values()), "cases": cases}


def compare(rows: dict[str, dict[str, Any]], reference: str) -> None:
    """Add to each row the ratio of its Dice to the reference's (None if that is 0), and the paired difference."""
    automatic = rows[reference]
    for row in rows.values():
        row["ratio"] = row["dice"] / automatic["dice"] if automatic["dice"] else None
        row["difference"] = asdict(paired_interval([paired_differences(row["cases"], automatic["cases"], None)]))


def content(options: argparse.Namespace, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The record.

    `met`, for each percent of RELAXED: the needed ratio is reached, and both others with a box are worse.
    """
    met = {}
    for percent in RELAXED:
        of_box, of_unet, of_ellipsoid = (next(row
                                              for name, row in rows.items() if name.startswith(method)
                                              and name.endswith(
            f"(oracle {oracle_name('box3d', percent)})")) for method in ("3d_adapter_box", "unet", "inscribed"))
        met[f"{percent} %"] = {"1.5 x automatic": of_box["dice"] >= NEEDED * rows["3d_adapter"]["dice"],
                               "above unet": of_box["dice"] > of_unet["dice"],
                               "above ellipsoid": of_box["dice"] > of_ellipsoid["dice"]}
    return {"cases": options.cases, "core": options.core, "input_size": options.input_size,
            "encoder": encoder_spec(options.encoder).id,
            "seed": options.seed, "threads": options.threads, "met": met, "rows": rows}


if __name__ == "__main__":
    main()
