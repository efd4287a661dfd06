"""A small raw dataset on disk, its plans, and what tests of preprocessing look at of files."""

from __future__ import annotations

import json
from pathlib import Path

from raw_files import LABELS, blob, plan, write

from samunet.planning.plans import Plans


def raw_dataset(folder: Path, cases: int = 3) -> Path:
    folder = folder / "Dataset001_Made"
    for index in range(cases):
        image, label = blob((6 + index, 10, 9), index)
        write(folder / "imagesTr" / f"case_{index}_0000.nii.gz", image[0], (1.0, 1.0, 1.2))
        write(folder / "labelsTr" / f"case_{index}.nii.gz", label, (1.0, 1.0, 1.2))
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "MR"}, "labels": dict(LABELS.names), "numTraining": cases, "file_ending": ".nii.gz"}))
    return folder


def plans() -> Plans:
    dataset_plan = plan(spacing_mm=(1.0, 1.1, 1.1), normalization=("zscore",))
    return Plans("samunetPlans", "Dataset001_Made", dataset_plan, {})


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def damage(path: Path) -> bytes:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole
