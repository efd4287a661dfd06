"""A target three times longer than the window: what one click at its end, and corrections, bring back.

    python studies/long_target.py --work long --minutes 12 --output studies/results/long_target.jsonl

Two tubes of one look run side by side through the whole image, three times as long as the window that the plan chooses;
which one is the target only the click says: it alternates from case to case (in the first records it was drawn, 11 of
16 training targets were on one side, and the network learned that side in place of the click). `3d_promptable` trains
on such cases and is then asked, in a Session, by a click on the first voxels of the target's middle line; five
corrections follow (--corrections), each on the largest error (the rule of samunet_evaluate_clicks). A target is whole
where SHARE of the voxels of each third of its length are in the answer, and the answer's Dice is at least that.

The labels choose the clicks, so every row is an oracle's. A second call with the same --work trains nothing. Appends
one JSON line to --output.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from click_rows import effort, once, trained
from commands import call, work_in
from made_tumours import CONTRAST, NOISE, TEXTURE, write
from record import append, facts
from scipy.ndimage import gaussian_filter
from synthetic_tumours import read

from samunet.dataset.paths import resolve_paths
from samunet.evaluation.case_metrics import overlap_metrics
from samunet.evaluation.clicks import next_click, tie_breaker
from samunet.files import read_json, write_json
from samunet.inference.model_folder import load_model
from samunet.interaction.session import Session

DATASET, LABEL = "Dataset904_LongTube", "tube"
SHAPE = (32, 32, 208)  # the window of the plan below is 64 long
MEMORY_GB = "4"  # which plans that window
MARGIN = 6  # voxels that the tubes end before the image
RADIUS = (3.0, 4.5)  # voxels
CORRECTIONS = 5  # after which a target is judged
SHARE = 0.8  # fixed before any figure was seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for dataset and model")
    parser.add_argument("--cases", type=int, nargs=2, default=(24, 8), help="training and test cases")
    parser.add_argument("--minutes", type=float, default=12.0, help="of training (default: 12)")
    parser.add_argument("--corrections", type=int, default=CORRECTIONS, help=f"(default: {CORRECTIONS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work_in(options.work)
    folder = make_dataset(options.work / "raw", *options.cases, options.seed)
    call("plan_and_preprocess", "-d", DATASET, "-gpu_memory_target", MEMORY_GB, "--no_embeddings", "-np", "1")
    run = trained(DATASET, "3d_promptable", "all", options.minutes, options.seed)
    window = window_of(resolve_paths().preprocessed / DATASET / "samunetPlans.json")
    cases = once(run / "clicks" / f"long_{options.corrections}.json",
                 partial(answers, run, folder, options.corrections))
    whole = [sum(is_whole(steps[number]) for steps in cases.values()) for number in range(options.corrections + 1)]
    for number, count in enumerate(whole):
        dice, least = (np.mean([steps[number][key] for steps in cases.values()]) for key in ("dice", "least_third"))
        print(f"{number} corrections: {count} of {len(cases)} whole, Dice {dice:.3f}, least third {least:.3f}")
    append(options.output, facts() | {
        "oracle": True, "shape": SHAPE, "length": SHAPE[2] - 2 * MARGIN, "window": window, "share": SHARE,
        "minutes": options.minutes, "seed": options.seed, "threads": options.threads, **effort(run),
        "test_cases": len(cases), "whole": whole, "cases": cases})


def make_dataset(raw: Path, training: int, test: int, seed: int) -> Path:
    """Write the dataset, unless it is there, and return its folder; a case depends on the seed and its number alone."""
    folder = raw / DATASET
    if (folder / "dataset.json").is_file():
        return folder
    for index in range(training + test):
        image, segmentation = made_case(np.random.default_rng([seed, index]), index % 2 == 1)
        name, kind = f"tube_{index:03d}", "Tr" if index < training else "Ts"
        write(image, folder / f"images{kind}" / f"{name}_0000.nii.gz")
        write(segmentation, folder / f"labels{kind}" / f"{name}.nii.gz")
    write_json(folder / "dataset.json", {
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, LABEL: 1}, "numTraining": training,
        "file_ending": ".nii.gz"})
    return folder


def made_case(random: np.random.Generator, upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """An image float32 (Z, Y, X) with two tubes, and the label uint8 of the one at higher rows (`upper`) or lower ones.
    """
    low = tube(random, 8.0)
    high = tube(random, SHAPE[1] - 8.0)
    texture = gaussian_filter(random.standard_normal(SHAPE), 3)
    image = 100 + TEXTURE * texture / texture.std() + NOISE * random.standard_normal(SHAPE)
    image += 2 * CONTRAST * (low | high)
    return image.astype(np.float32), (high if upper else low).astype(np.uint8)


def tube(random: np.random.Generator, row: float) -> np.ndarray:
    """bool (Z, Y, X): a tube along x whose middle line waves around (middle slice, `row`) by up to 2 voxels."""
    along = np.arange(SHAPE[2])
    places = [middle + 2 * np.sin(2 * np.pi * along / random.uniform(60, 120) + random.uniform(0, 2 * np.pi))
              for middle in ((SHAPE[0] - 1) / 2, row)]
    slices, rows, _ = np.indices(SHAPE)
    inside = (slices - places[0]) ** 2 + (rows - places[1]) ** 2 <= random.uniform(*RADIUS) ** 2
    inside[:, :, :MARGIN] = inside[:, :, -MARGIN:] = False
    return inside


def window_of(plans: Path) -> list[int]:
    """Voxels (z, y, x) of the window; SystemExit where the target is not three times as long."""
    encoders = read_json(plans)["encoders"]
    shape: list[int] = next(iter(encoders.values()))["patches_3d"]["shape"]
    if shape[2] * 3 > SHAPE[2] - 2 * MARGIN:
        raise SystemExit(f"the window is {shape}, so a target of {SHAPE[2] - 2 * MARGIN} is not three times as long")
    return shape


def answers(run: Path, folder: Path, corrections: int, path: Path) -> None:
    """Write to `path`, for each test case, the answer's figures after the click and after each correction."""
    session = Session(load_model(run.parent, ["all"], torch.device("cpu")))
    found = {}
    for reference in sorted((folder / "labelsTs").glob("*.nii.gz")):
        name, truth = reference.name.removesuffix(".nii.gz"), read(reference) > 0
        session.set_image(folder / "imagesTs" / f"{name}_0000.nii.gz")
        session.add_point(end_of(truth), LABEL)
        steps = [figures(truth, session.mask > 0)]
        for number in range(corrections):
            if click := next_click(truth, session.mask > 0, tie_breaker(0, name, LABEL, number)):
                session.add_point(click.place, LABEL, positive=click.positive)
            steps.append(figures(truth, session.mask > 0))
        found[name] = steps
    write_json(path, found)


def end_of(truth: np.ndarray) -> list[int]:
    """The voxel (z, y, x) in the middle of the target's first voxels along x, two behind its end."""
    x = int(np.argwhere(truth.any((0, 1)))[0, 0]) + 2
    z, y = np.argwhere(truth[:, :, x]).mean(0).round().astype(int)
    return [int(z), int(y), x]


def figures(truth: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    """Dice, and the least share of voxels that is found in any third of the target's length."""
    thirds = np.array_split(np.arange(MARGIN, SHAPE[2] - MARGIN), 3)
    found = [float(answer[:, :, part][truth[:, :, part]].mean()) for part in thirds]
    return {"dice": float(overlap_metrics(truth, answer, truth.size)["Dice"]), "least_third": min(found)}


def is_whole(step: dict[str, float]) -> bool:
    """Whether the target came back whole."""
    return min(step.values()) >= SHARE


if __name__ == "__main__":
    main()
