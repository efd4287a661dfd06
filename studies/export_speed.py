"""Export of one large case: samunet's under a limit of memory, and nnU-Net's own function, on the same logits.

    python studies/export_speed.py --output studies/results/export_speed.jsonl
    python studies/export_speed.py --size 256 256 300 --dtype float32 --output studies/results/export_speed.jsonl

Random logits of --classes classes on a grid of half the file's voxels along every axis, smooth but for some noise, are
written to a file once. Each exporter has a process of its own with one thread, which reads them, brings them to the
file's grid and writes the NIfTI file: samunet slice by slice, as they come from its network, under --max_ram, a limit
that the system enforces (RLIMIT_DATA, as `samunet_predict --max_ram`); nnU-Net by `export_prediction_from_logits`, on
all logits, as they come from its predictor. The default number type, float16, is that of nnU-Net's predictor. It also
interpolates into that type, so that classes tie where samunet's, interpolated in float32, do not, and some labels
differ; with --dtype float32 both have the same precision. That the work is the same is checked by the written files:
the share of voxels with another label, and the grid.

Given are seconds of the export alone, wall and processor, and the most memory that the process held, imports included.
nnU-Net is left out, and its row is empty, where --skip_nnunet says so or where the memory that it needs at least is not
free. The floor is the logits and the label map over the rate at which this machine copies memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from export_memory import described, largest_resident_bytes, made_slabs
from process_tree import cost_of
from record import append, facts

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.dataset.memory import free_bytes, limit_memory
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties

Shape = tuple[int, int, int]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
EXPORTERS = ("samunet", "nnunet")
FLOAT64, INT64 = 8, 8  # bytes
SPARE_BYTES = 10**9  # of Python, torch and scikit-image


def main() -> None:
    options = parsed()
    if options.one:
        print(json.dumps(one(options.one, options)))
        return
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        options.work = Path(folder)
        write_logits(options)
        rows = {"samunet": row_of("samunet", options)}
        needed, free = nnunet_bytes(options), free_bytes()
        if not options.skip_nnunet and needed <= free:
            rows["nnunet"] = row_of("nnunet", options)
        elif not options.skip_nnunet:
            print(f"nnU-Net needs {needed / 1e9:.1f} GB at least, {free / 1e9:.1f} are free: not measured")
        different = share_of_other_labels(options.work) if len(rows) == 2 else None
        floor = (logits_file(options.work).stat().st_size + math.prod(options.size)) / copy_rate()
    print(markdown(rows, floor))
    if different is not None:
        print(f"same grid; {different:.2g} of the voxels have another label")
    append(options.output, facts() | {
        "size": options.size, "classes": options.classes, "dtype": options.dtype, "max_ram": options.max_ram,
        "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "floor": floor, "different": different,
        "nnunet_least_gb": needed / 1e9, "rows": rows})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 600), help="voxels (x, y, z) of the file")
    parser.add_argument("--classes", type=int, default=15, help="with background")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="of the logits")
    parser.add_argument("--max_ram", type=float, default=4, help="GB that samunet may take (default: %(default)s)")
    parser.add_argument("--skip_nnunet", action="store_true")
    parser.add_argument("-o", dest="work", type=Path, help="where a temporary folder is made")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    parser.add_argument("--one", choices=EXPORTERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def logits_file(work: Path) -> Path:
    return work / "logits.bin"


def plan_shape(options: argparse.Namespace) -> Shape:
    x, y, z = (-(-size // 2) for size in options.size)
    return z, y, x


def write_logits(options: argparse.Namespace) -> None:
    """The logits of all slices in turn, (Z, K, Y, X)."""
    with logits_file(options.work).open("wb") as stream:
        for _, slab in made_slabs(options.classes, plan_shape(options)):
            stream.write(np.ascontiguousarray(slab.swapaxes(0, 1), options.dtype).data)


def slabs(options: argparse.Namespace, size: int = 4) -> Iterator[tuple[int, np.ndarray]]:
    """The file's logits, (K, up to `size`, Y, X) at a time with the number of their first slice."""
    depth, *plane = plan_shape(options)
    values = options.classes * math.prod(plane)
    with logits_file(options.work).open("rb") as stream:
        for first in range(0, depth, size):
            count = min(size, depth - first)
            slab = np.frombuffer(stream.read(count * values * np.dtype(options.dtype).itemsize), options.dtype)
            yield first, slab.reshape(count, options.classes, *plane).swapaxes(0, 1)


def case_of(options: argparse.Namespace) -> tuple[DatasetPlan, CaseProperties, dict[str, int]]:
    """The plan, the case, and the labels by name."""
    x, y, z = options.size
    plan, properties = described(plan_shape(options), (z, y, x))
    geometry = Geometry("SimpleITKIO", (z, y, x), (1.0, 1.0, 1.0), (0.0,) * 3, tuple(map(float, np.eye(3).ravel())))
    names = {"background": 0, **{f"organ{value}": value for value in range(1, options.classes)}}
    return plan, replace(properties, geometry=geometry), names


def row_of(name: str, options: argparse.Namespace) -> dict[str, float]:
    """An exporter's seconds and memory, in a process of its own."""
    log = options.work / f"{name}.log"
    command = [sys.executable, __file__, "--one", name, "-o", str(options.work), "--size", *map(str, options.size),
               "--classes", str(options.classes), "--dtype", options.dtype, "--max_ram", str(options.max_ram)]
    try:
        cost = cost_of(command, ONE_THREAD, log)
    except subprocess.CalledProcessError as fault:
        sys.exit(f"{name}: {fault.output}")
    row: dict[str, float] = json.loads(log.read_text(encoding="utf-8").strip().splitlines()[-1])
    row["memory"] = max(row["memory"], cost.memory)
    print(f"{name}: {row['wall']:.1f} s", flush=True)
    return row


def one(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Export in this process; what is measured begins after the imports."""
    export = samunet_export(options) if name == "samunet" else nnunet_export(options)
    wall, processor = time.perf_counter(), time.process_time()
    export()
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor,
            "memory": largest_resident_bytes()}


def samunet_export(options: argparse.Namespace):
    from samunet.inference.export import export_case
    from samunet.inference.nnunet_files import write_prediction

    plan, properties, names = case_of(options)
    limit_memory(options.max_ram)

    def export() -> None:
        exported = export_case(slabs(options), properties, plan, LabelSpace(names))
        write_prediction(exported, options.work, replace(properties, name="samunet"), ".nii.gz")

    return export


def nnunet_export(options: argparse.Namespace):
    import torch
    from nnunetv2.inference.export_prediction import export_prediction_from_logits
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from samunet.inference.nnunet_files import nnunet_properties

    torch.set_num_threads(1)
    plan, properties, names = case_of(options)
    manager = PlansManager({
        "label_manager": "LabelManager", "image_reader_writer": "SimpleITKIO", "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": {
            "architecture": {}, "spacing": list(plan.spacing_mm),
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        }}})

    def export() -> None:
        logits = np.empty((options.classes, *plan_shape(options)), options.dtype)
        for first, slab in slabs(options):
            logits[:, first : first + slab.shape[1]] = slab
        export_prediction_from_logits(
            torch.from_numpy(logits), nnunet_properties(properties), manager.get_configuration("3d_fullres"), manager,
            {"labels": names, "file_ending": ".nii.gz"}, str(options.work / "nnunet"), num_threads_torch=1)

    return export


def nnunet_bytes(options: argparse.Namespace) -> int:
    """What nnU-Net's export holds at least: all logits on both grids, the plan's also in float64, one class on the
    file's grid in float64, which becomes the label map in int64."""
    value = np.dtype(options.dtype).itemsize
    plan, file = options.classes * math.prod(plan_shape(options)), math.prod(options.size)
    return plan * (value + FLOAT64) + file * (options.classes * value + max(FLOAT64, INT64)) + SPARE_BYTES


def share_of_other_labels(work: Path) -> float:
    """Of the voxels of both files; ends where their grids differ."""
    import SimpleITK as sitk

    ours, theirs = (sitk.ReadImage(str(work / f"{name}.nii.gz")) for name in EXPORTERS)
    if ours.GetSize() != theirs.GetSize() or ours.GetSpacing() != theirs.GetSpacing():
        sys.exit("the files have different grids")
    first, second = sitk.GetArrayViewFromImage(ours), sitk.GetArrayViewFromImage(theirs)
    other = sum(np.count_nonzero(mine != peer) for mine, peer in zip(first, second, strict=True))
    return float(other / first.size)


def copy_rate() -> float:
    """Bytes a second that memory is copied at, the best of three."""
    source = np.ones(2**27, np.uint8)
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        source.copy()
        taken.append(time.perf_counter() - started)
    return source.nbytes / min(taken)


def markdown(rows: dict[str, dict[str, float]], floor: float) -> str:
    lines = ["| export | seconds | processor seconds | most memory, GB | floor, s |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {row['wall']:.1f} | {row['processor']:.1f} | {row['memory'] / 1e9:.2f} | {floor:.2f} |"
              for name, row in rows.items()]
    if len(rows) == 2:
        ours, theirs = rows["samunet"], rows["nnunet"]
        lines.append("| ratio | " + " | ".join(f"{ours[part] / theirs[part]:.2f}"
                                               for part in ("wall", "processor", "memory")) + " | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
