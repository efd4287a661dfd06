"""Time samunet's surface metrics beside surface-distance and MedPy, on the same masks in the same run.

    python studies/surface_metrics.py --output studies/results/surface_metrics.jsonl

Pairs of overlapping ellipsoids with rough surfaces, from the size of a hippocampus to that of a liver. Ours is one call
of `surface_metrics` (HD95, NSD and ASSD). Theirs is surface-distance for HD95 and NSD, then MedPy for ASSD. All are
given the whole image. Prints seconds, the ratio and the largest difference between the values; appends one JSON line.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import numpy as np
import surface_distance
from medpy.metric import binary
from scipy import ndimage

from samunet.evaluation.surface import surface_metrics

T = TypeVar("T")
SIZES = {  # name: image shape, radii in voxels, spacing in mm
    "hippocampus": ((36, 50, 35), (10, 16, 10), (1.0, 1.0, 1.0)),
    "heart": ((12, 256, 216), (4, 40, 36), (10.0, 1.5625, 1.5625)),
    "kidney": ((128, 256, 256), (30, 40, 35), (2.5, 0.8, 0.8)),
    "liver": ((160, 320, 320), (55, 100, 110), (2.5, 0.8, 0.8)),
}
TOLERANCE_MM = 1.0


def ellipsoid(shape: tuple[int, ...], radii: tuple[int, ...], shift: float, seed: int) -> np.ndarray:
    """A boolean ellipsoid around the image's middle, its surface roughened by smooth noise."""
    axes = [(np.arange(n) - n / 2 - shift * r) / r for n, r in zip(shape, radii, strict=True)]
    distance = sum(np.ix_(*(axis**2 for axis in axes)))
    noise = ndimage.gaussian_filter(np.random.default_rng([seed]).standard_normal(shape), 2)
    return distance + noise < 1


def timed(call: Callable[[], T], repeats: int) -> tuple[T, float]:
    """The result and the fastest time in seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = call()
        seconds.append(time.perf_counter() - start)
    return value, min(seconds)


def compare(name: str, repeats: int) -> dict[str, float | str]:
    shape, radii, spacing_mm = SIZES[name]
    reference, prediction = ellipsoid(shape, radii, 0, 1), ellipsoid(shape, radii, 0.05, 2)

    def with_surface_distance() -> tuple[float, float]:
        distances = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
        return (
            surface_distance.compute_robust_hausdorff(distances, 95),
            surface_distance.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM),
        )

    ours, ours_s = timed(lambda: surface_metrics(reference, prediction, spacing_mm, TOLERANCE_MM), repeats)
    (hd95_mm, nsd), surface_distance_s = timed(with_surface_distance, repeats)
    assd_mm, medpy_s = timed(lambda: binary.assd(prediction, reference, spacing_mm), repeats)
    return {
        "name": name,
        "ours_s": ours_s,
        "surface_distance_s": surface_distance_s,
        "medpy_s": medpy_s,
        "ratio": (surface_distance_s + medpy_s) / ours_s,
        "ratio_to_surface_distance_alone": surface_distance_s / ours_s,
        "largest_difference": max(abs(ours.hd95_mm - hd95_mm), abs(ours.nsd - nsd), abs(ours.assd_mm - assd_mm)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON-lines file to append to")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many runs counts (default 3)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # surface-distance uses SciPy names that will vanish
    rows = []
    for name in options.sizes:
        row = compare(name, options.repeats)
        rows.append(row)
        print(
            f"{name:12} ours {row['ours_s']:.3f} s, surface-distance {row['surface_distance_s']:.3f} s"
            f" + MedPy {row['medpy_s']:.3f} s: ratio {row['ratio']:.1f}, against surface-distance alone"
            f" {row['ratio_to_surface_distance_alone']:.1f}; largest difference {row['largest_difference']:.1e}",
            flush=True,
        )
    packages = {name: metadata.version(name) for name in ("numpy", "scipy", "surface-distance", "medpy")}
    line = {"time": datetime.now(UTC).isoformat(), "machine": platform.machine(), "packages": packages, "sizes": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with open(options.output, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
