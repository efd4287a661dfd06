"""Planning and preprocessing, samunet's and nnU-Net's whole commands on the same files, one after the other in one run.

    python studies/preprocess_speed.py -d 4 --output studies/results/preprocess_speed.jsonl
    python studies/preprocess_speed.py --volumes 2 --size 256 256 100 --output studies/results/preprocess_speed.jsonl
    python studies/preprocess_speed.py --volumes 10 --size 512 512 300 --output studies/results/preprocess_speed.jsonl

`samunet_plan_and_preprocess --no_embeddings` against `nnUNetv2_plan_and_preprocess -c 3d_fullres`, with as many worker
processes, each into an empty folder: fingerprint, plans and arrays, start and imports. With --volumes the dataset is
made: CT of --size voxels (x, y, z), slices 3 to 5 mm thick and 0.7 to 0.9 mm in the plane, two organs; nothing about
its time depends on what is in it. The last line above takes longer than six minutes.

Printed are the wall and processor seconds, the most memory that all processes of a command held at once, ours as a
share of nnU-Net's, and the floor: the bytes that were read and written over the disk's rates, measured in the same run.
That both did the same is checked by the arrays: each case of both, in the axes of its file, must have the same shape;
the largest difference of intensities and the share of voxels with another label are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import SimpleITK as sitk
from process_tree import Cost, bytes_in, cost_of, disk_rates
from record import append, facts

from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.files import read_json
from samunet.planning.plans import Plans
from samunet.preprocessing.store import ArrayStore

MADE = "Dataset999_MadeCT"
NNUNET = "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry as run"


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        raw = made_ct(work / "raw" / MADE, options) if options.volumes else find_dataset(resolve_paths().raw,
                                                                                         options.dataset)
        costs = {name: best(name, raw, work, options) for name in ("samunet", "nnunet")}
        same = differences(work / "samunet" / raw.name, work / "nnunet" / raw.name)
        read, write = disk_rates(work)
        floor = {name: bytes_in(raw) / read + bytes_in(work / name) / write for name in costs}
    print(markdown(costs, floor))
    print(f"{same['cases']} cases of the same shapes: intensities differ by {same['intensity']:.2g} at most and by "
          f"{same['mean_intensity']:.2g} on average, labels in {same['labels']:.2g} of the voxels")
    append(options.output, facts() | {
        "dataset": raw.name, "volumes": options.volumes, "size": options.size, "workers": options.workers,
        "rounds": options.rounds, "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "floor": floor,
        "same": same, "costs": {name: asdict(cost) for name, cost in costs.items()}})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-d", dest="dataset")
    what.add_argument("--volumes", type=int, default=0, help="of synthetic CT")
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 300), help="voxels (x, y, z) of made volumes")
    parser.add_argument("--workers", type=int, default=2, help="processes of either command (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="the fastest of so many counts")
    parser.add_argument("-o", dest="work", type=Path, help="where a temporary folder is made")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    return parser.parse_args()


def made_ct(folder: Path, options: argparse.Namespace) -> Path:
    """A raw dataset of CT-like volumes, with slices that are over three times as thick as wide."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number in range(options.volumes):
        image, labels, spacing = ct_volume(options.size, number)
        for array, name in ((image, f"imagesTr/ct_{number:03d}_0000"), (labels, f"labelsTr/ct_{number:03d}")):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing(spacing)
            sitk.WriteImage(volume, str(folder / f"{name}.nii.gz"))
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "kidney": 2},
        "numTraining": options.volumes, "file_ending": ".nii.gz"}), encoding="utf-8")
    return folder


def ct_volume(size: tuple[int, int, int], number: int) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """(Hounsfield units int16 (z, y, x), labels uint8, spacing (x, y, z) in mm) of one volume."""
    random = np.random.default_rng([11, number])
    x, y, z = (np.linspace(-1, 1, count, dtype=np.float32) for count in size)
    image = np.empty(size[::-1], np.int16)
    labels = np.zeros(size[::-1], np.uint8)
    for plane, height in enumerate(z):
        body = (y[:, None] / 0.7) ** 2 + (x / 0.9) ** 2 < 1
        for label, (row, column, radius) in enumerate(((0.1, -0.3, 0.4), (0.2, 0.4, 0.15)), 1):
            inside = (y[:, None] - row) ** 2 + (x - column) ** 2 + height**2 < radius**2
            labels[plane][inside] = label
        mean = np.where(body, np.array([40, 110, 180], np.int16)[labels[plane]], -1000)
        image[plane] = mean + random.normal(0, 12, mean.shape).round()
    plane_mm, thick_mm = random.uniform(0.7, 0.9), random.uniform(3, 5)
    return image, labels, (plane_mm, plane_mm, thick_mm)


def best(name: str, raw: Path, work: Path, options: argparse.Namespace) -> Cost:
    """The round with the least wall time; the folder holds what the last one wrote."""
    costs = []
    for round_ in range(options.rounds):
        folder = work / name if round_ == options.rounds - 1 else work / f"{name}_{round_}"
        folder.mkdir()
        costs.append(cost_of(*called(name, raw, folder, options.workers), work / f"{name}.log"))
        print(f"{name}: {costs[-1].wall:.1f} s", flush=True)
    return min(costs, key=lambda cost: cost.wall)


def called(name: str, raw: Path, folder: Path, workers: int) -> tuple[list[str], dict[str, str]]:
    """A command and its environment; it writes into `folder`."""
    if name == "samunet":
        command = str(Path(sys.executable).with_name("samunet_plan_and_preprocess"))
        return [command, "-d", raw.name, "--no_embeddings", "-np", str(workers), "--raw", str(raw.parent),
                "--preprocessed", str(folder), "--no_pbar"], {}
    number = raw.name.partition("_")[0].removeprefix("Dataset")
    places = {"nnUNet_raw": str(raw.parent), "nnUNet_preprocessed": str(folder), "nnUNet_results": str(folder)}
    return [sys.executable, "-c", f"{NNUNET}; run()", "-d", number, "-c", "3d_fullres", "-np", str(workers), "-npfp",
            str(workers)], places


def differences(ours: Path, theirs: Path) -> dict[str, Any]:
    """How far the arrays of both differ, over all cases.

    Both put the axes in an order of their own, which is undone: nnU-Net's arrays are (C, z, y, x) of the file, permuted
    by its plans' `transpose_forward`.
    """
    order = np.argsort(read_json(theirs / "nnUNetPlans.json")["transpose_forward"])
    back = Plans.load(ours / "samunetPlans.json").dataset.transpose_backward
    store = ArrayStore(ours / "samunetPlans" / "arrays")
    largest, mean, other = 0.0, [], []
    for name in store.names():
        image, labels = (array.transpose(0, *(axis + 1 for axis in back)) for array in (
            store.image(name), store.segmentation(name)))
        expected, expected_labels = (
            np.asarray(blosc2.open(str(theirs / "nnUNetPlans_3d_fullres" / f"{name}{end}.b2nd"))[:]).transpose(
                0, *(axis + 1 for axis in order)) for end in ("", "_seg"))
        if image.shape != expected.shape:
            sys.exit(f"{name}: {image.shape} voxels, nnU-Net's {expected.shape}")
        apart = np.abs(image - expected)
        largest = max(largest, float(apart.max()))
        mean.append(float(apart.mean()))
        other.append(float((labels != expected_labels).mean()))
    return {"cases": len(mean), "intensity": largest, "mean_intensity": float(np.mean(mean)),
            "labels": float(np.mean(other))}


def markdown(costs: dict[str, Cost], floor: dict[str, float]) -> str:
    """One row a command, and ours as a share of nnU-Net's."""
    rows = [f"| {name} | {cost.wall:.1f} | {cost.processor:.1f} | {cost.memory / 1e9:.2f} | {floor[name]:.2f} |"
            for name, cost in costs.items()]
    ours, theirs = costs["samunet"], costs["nnunet"]
    share = [getattr(ours, part) / getattr(theirs, part) for part in ("wall", "processor", "memory")]
    head = ["| command | seconds | processor seconds | most memory, GB | floor of the disk, s |",
            "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "| ratio | " + " | ".join(f"{each:.2f}" for each in share) + " | |"])


if __name__ == "__main__":
    main()
