"""HD95, ASSD, NSD and Dice of all classes of one large case: samunet's and surface-distance's, on the same labels.

    python studies/metrics_speed.py --output studies/results/metrics_speed.jsonl
    python studies/metrics_speed.py --size 100 256 256 --classes 4 --output studies/results/metrics_speed.jsonl

Made labels of --size voxels (z, y, x), an organ each with a rough surface at places of its own; the prediction is the
same shapes, moved by a voxel and with other roughness. Ours is `case_metrics`, what evaluation calls for a case: boxes
of all classes, then Dice, HD95, ASSD and NSD of each. Theirs is surface-distance as its README calls it for each class:
the surface distances, the robust Hausdorff distance, the surface Dice, the average surface distance, and the volumetric
Dice. Equal values are required of HD95, NSD and Dice. surface-distance has no ASSD of border voxels (samunet's is
MedPy's); its own pair of averages is computed beside it and not compared: `surface_metrics.py` compares with MedPy's.

Printed are wall and processor seconds, of which the other load of the machine changes the second less, ours as a share
of theirs, the largest difference, and the floor: reading both arrays once a class at the rate at which memory is read,
measured in the same run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import surface_distance
from record import append, facts
from scipy import ndimage

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.evaluation.case_metrics import CaseMetrics, case_metrics

TOLERANCE_MM = 1.0
SPACING_MM = (1.5, 0.8, 0.8)
CLOSE = 1e-6
CLOCKS = ("wall", "processor")


def main() -> None:
    options = parsed()
    warnings.simplefilter("ignore")  # surface-distance uses SciPy names that will vanish
    reference, prediction = (made_labels(options.size, options.classes, seed) for seed in (0, 1))
    started = time.perf_counter()
    reference.max()
    floor = 2 * options.classes * (time.perf_counter() - started)
    before = _now()
    metrics = measured(reference, prediction, options.classes)
    ours = _between(before, _now())
    rows = [compared(reference, prediction, value, metrics) for value in range(1, options.classes + 1)]
    theirs = {clock: sum(row["theirs"][clock] for row in rows) for clock in CLOCKS}
    apart = max(row["difference"] for row in rows)
    print("| seconds | classes | ours | surface-distance | ratio | floor | largest difference |")
    print("|---|---|---|---|---|---|---|")
    for clock in CLOCKS:
        print(f"| {clock} | {options.classes} | {ours[clock]:.2f} | {theirs[clock]:.2f} | "
              f"{ours[clock] / theirs[clock]:.3f} | {floor:.2f} | {apart:.1e} |")
    append(options.output, facts() | {
        "size": options.size, "classes": options.classes, "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0], "ours": ours, "theirs": theirs, "floor_s": floor, "difference": apart,
        "ratio": {clock: ours[clock] / theirs[clock] for clock in CLOCKS}, "rows": rows})
    if not apart < CLOSE:
        sys.exit("the values differ")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(300, 512, 512), help="voxels (z, y, x)")
    parser.add_argument("--classes", type=int, default=15)
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    return parser.parse_args()


def made_labels(size: tuple[int, int, int], classes: int, seed: int) -> np.ndarray:
    """Uint8 (z, y, x): ellipsoids 1 to `classes` with rough surfaces, at places that depend on the class alone."""
    labels = np.zeros(size, np.uint8)
    rough = ndimage.gaussian_filter(np.random.default_rng([12, seed]).standard_normal(size, np.float32), 2)
    rough *= 0.2 / rough.std()
    for value in range(1, classes + 1):
        random = np.random.default_rng([13, value])
        middle = random.uniform(0.25, 0.75, 3) * size + seed
        radii = random.uniform(0.08, 0.2, 3) * size
        axes = (((np.arange(count, dtype=np.float32) - at) / radius) ** 2
                for count, at, radius in zip(size, middle, radii, strict=True))
        labels[sum(np.ix_(*axes)) + rough < 1] = value
    return labels


def measured(reference: np.ndarray, prediction: np.ndarray, classes: int) -> CaseMetrics:
    """Ours, of all classes."""
    labels = LabelSpace({"background": 0, **{f"organ{value}": value for value in range(1, classes + 1)}})
    return case_metrics(reference, prediction, Geometry("SimpleITKIO", reference.shape, SPACING_MM), labels,
                        TOLERANCE_MM)


def compared(reference: np.ndarray, prediction: np.ndarray, value: int, metrics: CaseMetrics) -> dict[str, Any]:
    """Seconds of theirs for one class, and the largest difference of ours in HD95, NSD and Dice."""
    before = _now()
    first, second = reference == value, prediction == value
    distances = surface_distance.compute_surface_distances(first, second, SPACING_MM)
    expected = (surface_distance.compute_robust_hausdorff(distances, 95),
                surface_distance.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM),
                surface_distance.compute_dice_coefficient(first, second))
    surface_distance.compute_average_surface_distance(distances)
    theirs = _between(before, _now())
    surface, overlap = metrics.surface[str(value)], metrics.overlap[str(value)]
    found = (surface["HD95_mm"], surface["NSD"], overlap["Dice"])
    apart = max(abs(mine - other) for mine, other in zip(found, expected, strict=True))
    return {"value": value, "theirs": theirs, "difference": float(apart)}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _between(before: tuple[float, float], after: tuple[float, float]) -> dict[str, float]:
    return {clock: later - earlier for clock, earlier, later in zip(CLOCKS, before, after, strict=True)}


if __name__ == "__main__":
    main()
