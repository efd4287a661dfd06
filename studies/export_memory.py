"""Time and resident memory of the streamed export, beside an export that holds all logits of the file's grid.

    python studies/export_memory.py --mode streamed
    python studies/export_memory.py --mode full

Both draw the same random logits, class by class smooth in-plane, on a plan grid of 150 x 256 x 256 for a file of 300 x
512 x 512 voxels and 15 classes (--shape, --plan_shape, --classes), and print one line of JSON: seconds, private memory
before the work, the process's largest resident memory, and the SHA-256 of the label map, which must be the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.dataset.memory import held_bytes
from samunet.files import digest_of_array
from samunet.inference.export import axis_maps, export_case
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties
from samunet.variants.sliding_window import Slab

COARSE = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("streamed", "full"), default="streamed")
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512))
    parser.add_argument("--plan_shape", type=int, nargs=3, default=(150, 256, 256))
    parser.add_argument("--classes", type=int, default=15)
    options = parser.parse_args()
    labels = LabelSpace({"background": 0, **{f"organ{value}": value for value in range(1, options.classes)}})
    plan, properties = described(tuple(options.plan_shape), tuple(options.shape))
    start, started = time.perf_counter(), held_bytes()
    slabs = made_slabs(options.classes, tuple(options.plan_shape))
    if options.mode == "streamed":
        segmentation = export_case(slabs, properties, plan, labels).segmentation
    else:
        segmentation = exported_whole(slabs, properties, plan, labels)
    print(json.dumps({
        "mode": options.mode,
        "seconds": round(time.perf_counter() - start, 1),
        "started_mb": started // 10**6,
        "resident_gb": round(largest_resident_bytes() / 1e9, 3),
        "labels": len(np.unique(segmentation)),
        "sha256": digest_of_array(segmentation),
    }))


def largest_resident_bytes() -> int:
    """The most memory that this program had resident.

    Linux' getrusage starts a program with what its parent had at the time, so the kernel's own mark is read there.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024  # bytes on macOS, KiB elsewhere


def described(plan_shape: tuple[int, int, int], shape: tuple[int, int, int]) -> tuple[DatasetPlan, CaseProperties]:
    """A plan whose grid of `plan_shape` covers a file of `shape` voxels of 1 mm, without crop or transpose."""
    spacing_mm = tuple(new / old for old, new in zip(plan_shape, shape, strict=True))
    plan = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), spacing_mm, plan_shape, False, ("CT",), ("ct",), (False,),
                       ({},))
    bbox = tuple((0, size) for size in shape)
    geometry = Geometry("SimpleITKIO", shape, (1.0, 1.0, 1.0))
    return plan, CaseProperties("made", geometry, shape, bbox, shape, plan_shape, ((0.0, 1.0),), "", None, {})


def made_slabs(classes: int, shape: tuple[int, int, int], size: int = 4) -> Iterator[Slab]:
    """Random logits in slabs of `size` slices: coarse noise enlarged in-plane, plus fine noise, one seed a slice."""
    coarse = (classes, -(-shape[1] // COARSE), -(-shape[2] // COARSE))
    for first in range(0, shape[0], size):
        planes = []
        for slice_ in range(first, min(first + size, shape[0])):
            rng = np.random.default_rng([0, slice_])
            large = rng.standard_normal(coarse, np.float32).repeat(COARSE, 1).repeat(COARSE, 2)
            planes.append(large[:, : shape[1], : shape[2]] + 0.1
                          * rng.standard_normal((classes, *shape[1:]), np.float32))
        yield first, np.stack(planes, axis=1)


def exported_whole(
    slabs: Iterator[Slab], properties: CaseProperties, plan: DatasetPlan, labels: LabelSpace
) -> np.ndarray:
    """The same rule on whole volumes: all logits on the file's grid at once, then one argmax."""
    logits = np.empty((labels.channels, *properties.shape), np.float32)
    for first, slab in slabs:
        logits[:, first : first + slab.shape[1]] = slab
    maps = axis_maps(properties, plan)
    full = np.empty((labels.channels, *properties.shape_after_cropping), np.float32)
    for channel in range(labels.channels):
        volume = logits[channel]
        for axis in (1, 2, 0):
            volume = maps[axis].apply(volume, axis)
        full[channel] = volume
    # Decoded by slice: numpy's argmax over the first axis would copy the whole array.
    return np.stack([labels.decode(full[:, slice_], threshold=0.0) for slice_ in range(full.shape[1])])


if __name__ == "__main__":
    main()
