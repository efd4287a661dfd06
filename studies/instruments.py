"""Instruments in synthetic colour videos: whether stacks of frames contain what single frames do not.

    python studies/instruments.py -o work --output studies/results/instruments.jsonl

Two instruments of eight classes enter each video from its edge, swing, slide, open and close their jaws and pass over
each other, and a fold of tissue drifts over both. They are grey, and show the colour of their class only in every third
frame: the class must be taken from a neighbouring frame. Labels are of what is visible; a covered part has the label of
what covers it.

Each method trains for the same iterations on the same videos (folders of frames, samunet_train, fold 0), then predicts
unseen videos (samunet_predict, samunet_evaluate_folder): `3d_adapter` on stacks of five frames, the same with kernel
(1, 1, 1), which does not see other frames, and `lora` on frames. The plan is the planner's, which gives 3D adapters 128
pixels for the 64 of a frame, except that `lora` has as many, not 256.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from adapter_forms import register
from commands import call, figures, plan, trained, work_in
from encoder_gain import case_dice
from record import append, facts
from skimage import io

from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import make_folder, read_json, write_json

NUMBER, NAME, PLANS = "902", "Dataset902_Instruments", "frames128"
TRAINING, TEST, FRAMES, SIDE = 45, 10, 12, 64
INPUT_SIZE = 128
# The corners of the cube of colours, for classes 1 to 8; tissue and steel lie between them.
COLOURS = np.array([[225 if number >> bit & 1 else 35 for bit in range(3)] for number in range(8)], float)
STEEL, TISSUE, NOISE = np.full(3, 130.0), np.array([165.0, 105.0, 95.0]), 10.0
LIT_EVERY = 3  # frames
SHAFT, JAW, JAW_LENGTH = 5.0, 2.5, 10.0  # half widths and a length, in pixels
METHODS = ("3d_adapter", "3d_adapter_alone", "lora")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="work", type=Path, required=True,
                        help="the dataset, its arrays, all runs and predictions")
    parser.add_argument("--iterations", type=int, default=300, help="of every method (default: 300)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    register()
    work_in(options.work)
    dataset = make_dataset(options.work / "raw")
    plan(NUMBER, PLANS, "--no_embeddings", embeddings={"input_size": INPUT_SIZE}, adapters={"input_size": INPUT_SIZE})
    rows = {method: measured(method, dataset, options) for method in options.methods}
    first = rows[options.methods[0]]["test_dice_of_videos"]
    print(f"| variant | Dice, unseen videos | less than `{options.methods[0]}` by | validation videos | seconds of "
          "training |\n|---|---|---|---|---|")
    for method, row in rows.items():
        less = paired_interval([paired_differences(first, row["test_dice_of_videos"], None)])
        row["behind_the_first"] = [less.mean, less.low, less.high]
        print(f"| `{method}` | {row['test_dice']:.3f} | {less} | {row['dice']:.3f} | {row['train_seconds']:.0f} |")
    append(options.output, facts() | {"input_size": INPUT_SIZE, "rows": rows})


def measured(method: str, dataset: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train, predict the unseen videos and evaluate."""
    folder = trained(NUMBER, method, "0", PLANS, "--iterations", str(options.iterations))
    predicted = options.work / "predictions" / method
    call("predict", "-m", folder.parent, "-f", "0", "-i", dataset / "imagesTs", "-o", predicted)
    call("evaluate_folder", dataset / "labelsTs", predicted, "-djfile", dataset / "dataset.json")
    summary = read_json(predicted / "summary.json")
    return figures(folder) | {"test_dice": summary["foreground_mean"]["Dice"],
                              "test_dice_of_videos": case_dice(summary),
                              "test_dice_of_labels": {label: each["Dice"] for label, each in summary["mean"].items()}}


def make_dataset(folder: Path) -> Path:
    """Write all videos as folders of frames in samunet's format; the same ones whenever it is called.

    Returns the dataset's folder.
    """
    target = make_folder(folder / NAME)
    for index in range(TRAINING + TEST):
        kind, name = "Tr" if index < TRAINING else "Ts", f"video_{index:03d}"
        frames, labels = made(np.random.default_rng([3, index]))
        for array, place in ((frames, target / f"images{kind}" / f"{name}_0000"),
                             (labels, target / f"labels{kind}" / name)):
            make_folder(place)
            for number, frame in enumerate(array):
                io.imsave(place / f"frame_{number}.png", frame, check_contrast=False)
    classes = {f"instrument_{number}": number for number in range(1, len(COLOURS) + 1)}
    write_json(target / "dataset.json", {"channel_names": {"0": "R", "1": "G", "2": "B"},
                                         "labels": {"background": 0, **classes},
                                         "numTraining": TRAINING, "file_ending": "/"})
    return target


def made(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One video: frames uint8 (T, Y, X, 3) and label values uint8 (T, Y, X)."""
    classes = random.choice(len(COLOURS), 2, replace=False)
    lit = random.integers(0, LIT_EVERY, 2)
    # One comes from the left, one from the right, so that they meet.
    movements = [moving(random, side) for side in (0.0, np.pi)]
    fold_start, fold_step = random.uniform(15, 49, 2), random.uniform(-2, 2, 2)
    colours = np.tile(TISSUE, (FRAMES, SIDE, SIDE, 1))
    labels = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    y, x = np.indices((SIDE, SIDE))
    for time in range(FRAMES):
        for number, movement, phase in zip(classes, movements, lit, strict=True):
            mask = instrument(time, **movement)
            colours[time][mask] = COLOURS[number] if time % LIT_EVERY == phase else STEEL
            labels[time][mask] = number + 1
        row, column = fold_start + fold_step * time
        fold = ((y - row) / 5) ** 2 + ((x - column) / 11) ** 2 < 1
        colours[time][fold], labels[time][fold] = TISSUE * 0.8, 0
    frames = colours + NOISE * random.standard_normal(colours.shape)
    return np.clip(frames, 1, 255).astype(np.uint8), labels


def moving(random: np.random.Generator, facing: float) -> dict[str, Any]:
    """How an instrument moves that enters from the left (`facing` 0) or the right (pi); see `instrument`."""
    edge = 0.0 if facing == 0 else SIDE - 1.0
    return {"entry": np.array([random.uniform(12, 52), edge]), "facing": facing + random.uniform(-0.3, 0.3),
            "length": random.uniform(26, 38), "phases": random.uniform(0, 2 * np.pi, 3)}


def instrument(time: int, *, entry: np.ndarray, facing: float, length: float, phases: np.ndarray) -> np.ndarray:
    """Mask bool (Y, X) at frame `time`: a shaft from `entry` (y, x) on, in direction `facing` (radians), and two jaws.

    Direction, length (pixels) and opening swing within ten frames, each with its own of the `phases` (radians).
    """
    swing, slide, opening = np.sin(2 * np.pi * time / 10 + phases)
    angle, reach = facing + 0.25 * swing, length + 5 * slide
    tip = entry + reach * direction(angle)
    mask = near(entry, tip, SHAFT)
    for side in (-1, 1):
        mask |= near(tip, tip + JAW_LENGTH * direction(angle + side * (0.45 + 0.35 * opening)), JAW)
    return mask


def direction(angle: float) -> np.ndarray:
    """The unit vector (y, x) at `angle` radians from the row axis."""
    return np.array([np.sin(angle), np.cos(angle)])


def near(start: np.ndarray, end: np.ndarray, distance: float) -> np.ndarray:
    """Mask bool (Y, X) of what lies within `distance` of the line from `start` to `end`, (y, x)."""
    points = np.stack(np.indices((SIDE, SIDE)), -1) - start
    along = np.clip(points @ (end - start) / ((end - start) @ (end - start)), 0, 1)
    return np.hypot(*np.moveaxis(points - along[..., None] * (end - start), -1, 0)) < distance


if __name__ == "__main__":
    main()
