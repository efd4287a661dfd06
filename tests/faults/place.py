"""The job that faults strike: a tiny dataset, planned to scored, and its state before and after each command."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

DATASET = "Dataset005_Tiny"
CASES = 6
SHAPE = (6, 20, 18)  # z, y, x
# What is promised byte by byte. Logs, run.json, plots and locks are not.
PROMISED = ("preprocessed/**/*", "results/**/*.safetensors", "results/**/plans.json", "results/**/dataset*.json",
            "results/**/label_statistics.json", "results/**/*.nii.gz", "results/**/summary.json", "out*/*.nii.gz",
            "out*/*.json")
NOT_PROMISED = ("predict_from_raw_data_args.json",)
STRAY = (".unfinished", "writable-", ".replaced", ".tmp")


@dataclass(frozen=True)
class Place:
    """One user's folders below `root`; the encoder lies outside, so that a copied place finds it."""

    root: Path
    encoder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {f"samunet_{name}": str(self.root / name) for name in ("raw", "preprocessed", "results")}

    @property
    def dataset(self) -> Path:
        return self.root / "raw" / DATASET

    def path(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)

    def copied(self, root: Path) -> Place:
        """This place with all its files at `root`, whatever was there."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.root, root, symlinks=True)
        return Place(root, self.encoder)

    def promised(self) -> dict[str, str]:
        """Digest of each promised file by its path below the root, which does not count in JSON files' own text."""
        files = {path for pattern in PROMISED for path in self.root.glob(pattern) if path.is_file()}
        named = {str(path.relative_to(self.root)): path for path in sorted(files)
                 if path.suffix not in (".lock", ".holder") and path.name not in NOT_PROMISED
                 and not any(mark in str(path) for mark in STRAY)}
        return {name: hashlib.sha256(_without_root(path)).hexdigest() for name, path in named.items()}

    def stray(self) -> list[str]:
        """Files and folders that a command should have taken away again."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*")
                      if any(mark in path.name for mark in STRAY)
                      and "raw" not in path.relative_to(self.root).parts[:1])


def _without_root(path: Path) -> bytes:
    content = path.read_bytes()
    return re.sub(rb'"[^"]*/(?=(raw|preprocessed|results|out)[/_"])', b'"',
                  content) if path.suffix == ".json" else content


def write_raw(folder: Path, cases: int = CASES, shape: tuple[int, int, int] = SHAPE) -> Path:
    """A raw dataset whose two labels are boxes, brighter and darker than the noise around them."""
    dataset = folder / DATASET
    for part in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (dataset / part).mkdir(parents=True)
    for case in range(cases + 2):
        image, label = scan(case, shape)
        part = "Tr" if case < cases else "Ts"
        write_volume(dataset / f"images{part}" / f"c{case}_0000.nii.gz", image)
        write_volume(dataset / f"labels{part}" / f"c{case}.nii.gz", label)
    content = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "A": 1, "B": 2}, "numTraining": cases,
               "file_ending": ".nii.gz"}
    (dataset / "dataset.json").write_text(json.dumps(content))
    return dataset


def scan(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Image float32 and label uint8, both (z, y, x)."""
    generator = np.random.default_rng([11, seed])
    label = np.zeros(shape, np.uint8)
    top, left = generator.integers(2, 5, 2)
    label[1:5, top : top + 7, left : left + 6] = 1
    label[2:5, top + 8 : top + 13, left + 5 : left + 11] = 2
    image = 100.0 + np.array([0, 60, -50])[label] + generator.normal(0, 8, shape)
    return image.astype(np.float32), label


def write_volume(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.2, 2.0))
    sitk.WriteImage(image, str(path), True)


def write_encoder(path: Path) -> Path:
    """A whole SAM with random weights for images of 64 pixels, in one file."""
    import torch
    from safetensors.torch import save_file

    from samunet.networks.sam import EncoderSize, build_image_encoder, build_mask_decoder, build_prompt_encoder

    torch.manual_seed(3)
    parts = {"image_encoder": build_image_encoder(EncoderSize(32, 1, 2, 0, (), 64), 64),
             "prompt_encoder": build_prompt_encoder(64), "mask_decoder": build_mask_decoder()}
    save_file({f"{part}.{name}": tensor.contiguous() for part, module in parts.items()
               for name, tensor in module.state_dict().items()}, path)
    return path
