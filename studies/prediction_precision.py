"""Labels of one trained model, predicted in bfloat16 and in float32: how many differ, and what Dice that costs.

    samunet_train 4 hybrid 1 --shots 5 --transport off --minutes 0.5
    python studies/prediction_precision.py -d 4 --output studies/results/prediction_precision.jsonl

The first --cases validation cases of fold 1 are predicted once in each type by the same process.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from record import append, facts

from samunet.api.prediction import Predictor
from samunet.dataset.dataset import load_dataset
from samunet.dataset.io.readers import choose_reader, reader_named
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.files import read_json
from samunet.variants import precision

FOLD = 1
TYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("-v", dest="variant", default="hybrid_off")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    paths = resolve_paths()
    dataset = load_dataset(find_dataset(paths.raw, options.dataset))
    names = read_json(paths.preprocessed / dataset.name / "splits_final.json")[FOLD]["val"][: options.cases]
    reader = reader_named(choose_reader(dataset))
    predictor = Predictor(dataset=options.dataset, variant=options.variant, shots=options.shots, folds=[str(FOLD)],
                          device="cpu")
    dice: dict[str, dict[str, float]] = {name: {} for name in TYPES}
    differing = voxels = 0
    for case in (case for case in dataset.cases if case.name in names):
        truth = reader.read_segmentation(case.label)[0][0]
        found = []
        for name, dtype in TYPES.items():
            precision.dtype_of_products = lambda _, dtype=dtype: dtype
            found.append(np.asarray(predictor.predict(case.images[0])))
            dice[name][case.name] = mean(dice_of(found[-1], truth))
        differing, voxels = differing + int((found[0] != found[1]).sum()), voxels + truth.size
    print({name: round(mean(cases.values()), 5) for name, cases in dice.items()}, f"{differing} of {voxels} differ")
    append(options.output, facts() | {"dataset": dataset.name, "variant": options.variant, "dice": dice,
                                      "differing": differing, "voxels": voxels})


def dice_of(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """Of each class that either shows."""
    values = sorted({*np.unique(found), *np.unique(truth)} - {0})
    return [2 * float(((found == value) & (truth == value)).sum()) / float((found == value).sum() +
                                                                        (truth == value).sum()) for value in values]


if __name__ == "__main__":
    main()
