"""A workplace with its own three folders, and small datasets that are written voxel by voxel."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from warm_server import Command, WarmServer

PATHS = ("raw", "preprocessed", "results")
SHAPE = (8, 32, 28)  # z, y, x
DATASET = "Dataset005_Boxes"


@dataclass(frozen=True)
class Finished:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Workplace:
    """Folders of one user; commands are run in this process or as processes of their own, like console scripts."""

    root: Path
    server: WarmServer

    @property
    def environment(self) -> dict[str, str]:
        return {f"samunet_{name}": str(self.root / name) for name in PATHS}

    def here(self, command: str, *arguments: str | Path) -> Finished:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        main = importlib.import_module(f"samunet.cli.{command}").main
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for name, value in self.environment.items():
                patch.setenv(name, value)
            code = main([str(argument) for argument in arguments])
        return Finished(code, out.getvalue(), err.getvalue())

    def start(self, command: str, *arguments: str | Path) -> Command:
        """Start a command as a process of its own, on one thread so that bytes can be compared."""
        return self.server.start(command, arguments, self.root, self.environment)

    def run(self, command: str, *arguments: str | Path) -> Finished:
        """Run a command as a process of its own to its end, which must be a good one."""
        process = self.start(command, *arguments)
        process.ends_within(None)
        out, err = process.output
        assert process.code == 0, err
        return Finished(process.code, out, err)

    def digests(self, *patterns: str) -> dict[str, str]:
        """SHA-256 of each file below the root that one of the glob patterns matches, by relative path."""
        files = {path for pattern in patterns or ("**/*",) for path in self.root.glob(pattern) if path.is_file()}
        return {str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(files)}


def write_volume(path: Path, array: np.ndarray, spacing_xyz: Sequence[float] = (1.0, 1.2, 2.0)) -> None:
    """Write (Z, Y, X) as an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_xyz[: array.ndim] if array.ndim < 4 else (*spacing_xyz, 1.0))
    sitk.WriteImage(image, str(path))


def boxes(seed: int, values: Sequence[int] = (1, 2)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy volume and its labels: a box for each value, side by side, as bright as the value."""
    generator = np.random.default_rng([5, seed])
    labels = np.zeros(SHAPE, np.uint8)
    width = 20 // len(values)
    top, left = generator.integers(4, 10, 2)
    for place, value in enumerate(values):
        labels[2:7, top : top + 16, left + place * width : left + (place + 1) * width] = value
    image = 100.0 + 60.0 * labels + generator.normal(0, 8, SHAPE)
    return image.astype(np.float32), labels


def write_dataset(folder: Path, cases: int = 4, *, labels: Mapping[str, Any] | None = None,
                  values: Sequence[int] = (1, 2), **more: Any) -> Path:
    """An nnU-Net raw dataset of `boxes` named DATASET below `folder`; `more` goes into dataset.json."""
    dataset = folder / DATASET
    for case in range(cases):
        image, segmentation = boxes(case, values)
        write_volume(dataset / "imagesTr" / f"box_{case:03d}_0000.nii.gz", image)
        write_volume(dataset / "labelsTr" / f"box_{case:03d}.nii.gz", segmentation)
    content = {"channel_names": {"0": "MRI"}, "labels": labels or {"background": 0, "left": 1, "right": 2},
               "numTraining": cases, "file_ending": ".nii.gz", **more}
    (dataset / "dataset.json").write_text(json.dumps(content))
    return dataset


@pytest.fixture
def workplace(tmp_path: Path, warm_server: WarmServer) -> Workplace:
    return Workplace(tmp_path, warm_server)


@pytest.fixture(scope="session")
def workplace_at(warm_server: WarmServer) -> Callable[[Path], Workplace]:
    return lambda root: Workplace(root, warm_server)


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Path]:
    return write_dataset


@pytest.fixture(scope="session")
def small_sam(tmp_path_factory) -> Path:
    """A file that holds a whole SAM with random weights, for images of 64 pixels.

    Every variant can be built on it.
    """
    import torch
    from safetensors.torch import save_file

    from samunet.networks.sam import EncoderSize, build_image_encoder, build_mask_decoder, build_prompt_encoder

    torch.manual_seed(3)
    parts = {"image_encoder": build_image_encoder(EncoderSize(96, 2, 3, 0, (), 64), 64),
             "prompt_encoder": build_prompt_encoder(64), "mask_decoder": build_mask_decoder()}
    path = tmp_path_factory.mktemp("small_sam") / "small.safetensors"
    save_file({f"{part}.{name}": tensor.contiguous() for part, module in parts.items()
               for name, tensor in module.state_dict().items()}, path)
    return path
