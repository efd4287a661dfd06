"""Whether variants use slice context: a synthetic dataset whose labels depend only on slices exactly two away.

    python studies/slice_context.py -o work --output studies/results/slice_context.jsonl

Bright or dark discs are on grey noise, at the same places on every slice. A disc on slice z has label 1 if the disc at
its place on slices z - 2 and z + 2 is bright, label 2 if it is dark: brightness has a period of four slices, and its
four values at a place are sampled independently. So slice z and its neighbours show where discs are but not their
labels, every slice of a stack of five has its answer in the stack, and guessing gives Dice 0.5.

All variants see the same cases: `cnn_head` one slice three times, `lora` the slice and its neighbours as three
channels, and `3d_adapter` stacks of that, with its own kernel and with kernel (1, 1, 1). Nothing is chosen by the
validation cases. The plan is the planner's, except for images of 64 x 64 pixels, so that it takes minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from adapter_forms import register
from commands import figures, plan, trained, work_in
from record import append, facts

from samunet.files import make_folder, write_json

NUMBER, NAME = "901", "Dataset901_TwoAway"
CASES = 50  # of which four fifths train
SHAPE = (24, 32, 32)  # (z, y, x) voxels of 1 mm
DISCS, RADIUS, APART, MARGIN = 3, 4.5, 11.0, 6  # voxels
PERIOD, AWAY = 4, 2  # slices
GREY, CONTRAST, NOISE = 100.0, 60.0, 8.0
INPUT_SIZE = 64
NEAR, ONE = "near", "one"  # plans: z - 1, z, z + 1 as channels, and one slice three times
METHODS = {"3d_adapter": NEAR, "3d_adapter_alone": NEAR, "lora": NEAR, "cnn_head": ONE}
NEEDED, LIMIT = 0.9, 0.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="work", type=Path, required=True, help="the dataset, its arrays and all runs")
    parser.add_argument("--iterations", type=int, default=300, help="of every variant (default: 300)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    register()
    work_in(options.work)
    make_dataset(options.work / "raw", CASES)
    plan(NUMBER, NEAR, "--no_embeddings", embeddings={"input_size": INPUT_SIZE}, adapters={"input_size": INPUT_SIZE})
    plan(NUMBER, ONE, embeddings={"input_size": INPUT_SIZE, "composition": "repeat"})
    rows = {method: figures(trained(NUMBER, method, "0", METHODS[method], "--iterations", str(options.iterations)))
            for method in options.methods}
    print("| variant | plan | Dice | label 1 | label 2 | seconds |\n|---|---|---|---|---|---|")
    for method, row in rows.items():
        each = " | ".join(f"{dice:.3f}" for dice in row["dice_of_labels"].values())
        print(f"| `{method}` | {METHODS[method]} | {row['dice']:.3f} | {each} | {row['train_seconds']:.0f} |")
    append(options.output, facts() | {"input_size": INPUT_SIZE, "plans": METHODS, "rows": rows,
                                      "met": met({method: row["dice"] for method, row in rows.items()})})


def met(dice: dict[str, float]) -> bool | None:
    """Whether `3d_adapter` reaches NEEDED and all others stay below LIMIT; None where methods were left out."""
    if dice.keys() != METHODS.keys():
        return None
    return all(value >= NEEDED if method == "3d_adapter" else value < LIMIT for method, value in dice.items())


def make_dataset(folder: Path, cases: int) -> None:
    """Write `cases` labelled cases in nnU-Net's raw format; the same ones whenever it is called."""
    target = make_folder(folder / NAME)
    for index in range(cases):
        image, labels = made(np.random.default_rng([2, index]))
        for array, path in ((image, f"imagesTr/case_{index:03d}_0000.nii.gz"),
                            (labels, f"labelsTr/case_{index:03d}.nii.gz")):
            make_folder((target / path).parent)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(target / path))
    write_json(target / "dataset.json", {"channel_names": {"0": "MRI"},
                                         "labels": {"background": 0, "bright": 1, "dark": 2},
                                         "numTraining": cases, "file_ending": ".nii.gz"})


def made(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One case: intensities float32 and labels uint8, (Z, Y, X)."""
    image = GREY + NOISE * random.standard_normal(SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    for disc in discs(random):
        bright = random.integers(0, 2, PERIOD).astype(bool)  # of the slices 0 to 3, and again from 4 on
        for z in range(SHAPE[0]):
            image[z][disc] += CONTRAST if bright[z % PERIOD] else -CONTRAST
            labels[z][disc] = 1 if bright[(z + AWAY) % PERIOD] else 2
    return image.astype(np.float32), labels


def discs(random: np.random.Generator) -> list[np.ndarray]:
    """Masks bool (Y, X) of discs that do not touch."""
    centres: list[np.ndarray] = []
    while len(centres) < DISCS:
        centre = random.uniform(MARGIN, np.array(SHAPE[1:]) - MARGIN)
        if all(np.hypot(*(centre - other)) >= APART for other in centres):
            centres.append(centre)
    y, x = np.indices(SHAPE[1:])
    return [np.hypot(y - row, x - column) < RADIUS for row, column in centres]


if __name__ == "__main__":
    main()
