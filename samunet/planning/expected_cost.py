"""What a long command is expected to take, counted from the fingerprint and the plans before it starts.

Times are approximate: every rate is one constant of one processor core of one machine, and another may take a third or
three times as long. Memory and disk are counted, with a share for compression.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from samunet.console import say
from samunet.dataset.memory import free_bytes
from samunet.errors import UserError
from samunet.planning.cache_rules import REFERENCE_GFLOPS, bytes_per_picture, encoder_flops
from samunet.planning.fingerprint import Fingerprint
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.planning.registration_grid import coarsened
from samunet.planning.spacing import reordered, resampled_shape

# Both from studies/preprocess_speed.py, one core: 2 CT of 78.6 million voxels took 58.2 s, 200 cases of hippocampus, of
# 12.4 million voxels in all, 7.2 s, each with its fingerprint and plans.
VOXELS_A_SECOND = 2.7e6  # of a channel, resampled in-plane and along the slices, on one core
CASE_SECONDS = 0.013  # of a case beside its voxels: files opened, read, hashed and written
# From studies/predict_speed.py: 300 pairs of hippocampus cases, of 63,000 voxels each, took 278 processor seconds, with
# fusion and all else that a prediction does.
REGISTRATION_SECONDS = 0.9  # of a pair of such cases; larger pairs take longer in proportion, to the most voxels
REGISTRATION_VOXELS = 63_000
WORKER_BYTES = 140 * 10**6  # resident in a worker that has imported what preprocesses: 136 MB, 57 MB its own
STORED_SHARE = 0.85  # of a float32 array of noisy voxels after compression
IMAGE_BYTES, LABEL_BYTES = 4, 2  # a voxel
# Of each channel of a case that is preprocessed: the file's array, its cropped copy, and that on the plan's grid.
CASE_COPIES = 3
RESAMPLED_BYTES = 8  # a voxel of the one channel that is resampled, in float64


@dataclass(frozen=True)
class Cost:
    """Expected seconds (None: not known before it is measured), bytes of RAM, bytes written to disk, and bytes of GPU
    memory."""

    seconds: float | None
    ram_bytes: int
    disk_bytes: int
    gpu_bytes: int = 0

    def __str__(self) -> str:
        time = "" if self.seconds is None else f"about {_duration(self.seconds)}, "
        memory = f"{self.ram_bytes / 1e9:.1f} GB of RAM, " if self.ram_bytes else ""
        gpu = f"{self.gpu_bytes / 1e9:.1f} GB of GPU memory, " if self.gpu_bytes else ""
        return f"{time}{memory}{gpu}{self.disk_bytes / 1e9:.2f} GB of disk"


def arrays_cost(fingerprint: Fingerprint, plan: DatasetPlan, workers: int) -> Cost:
    """Of all cases' arrays, none of which is there yet, made by as many of `workers` processes as fit into memory.

    Cases that do not fit alone are not counted: preprocessing refuses each of them and goes on. Where none fits, the
    smallest is counted.
    """
    cases, channels = _fitting(fingerprint, plan), len(plan.channel_names)
    voxels = sum(count for count, _ in cases)
    fit = workers_that_fit(fingerprint, plan, workers)
    seconds = (voxels * channels / VOXELS_A_SECOND + CASE_SECONDS * len(cases)) / fit
    return Cost(seconds, fit * max(held for _, held in cases),
                int(voxels * (IMAGE_BYTES * channels * STORED_SHARE + LABEL_BYTES)))


def workers_that_fit(fingerprint: Fingerprint, plan: DatasetPlan, workers: int) -> int:
    """As many of `workers` processes as the free memory holds, each with a case of the largest size; at least one."""
    return max(1, min(workers, free_bytes() // max(held for _, held in _fitting(fingerprint, plan))))


def _fitting(fingerprint: Fingerprint, plan: DatasetPlan) -> list[tuple[int, int]]:
    """(voxels on the plan's grid, bytes held while it is preprocessed) of the cases that fit into memory alone."""
    channels = len(plan.channel_names)
    pairs = zip(_voxels(fingerprint, plan), map(math.prod, fingerprint.shapes_after_crop), strict=True)
    cases = [(voxels, WORKER_BYTES + case_bytes(max(voxels, in_file), channels)) for voxels, in_file in pairs]
    free = free_bytes()
    return [case for case in cases if case[1] <= free] or [min(cases, key=lambda case: case[1])]


def embeddings_cost(section: EncoderPlan, size: str) -> Cost:
    """Of encoding all cases once with an encoder of `size`; the cache's bytes are the plan's."""
    images = section.cache_bytes // bytes_per_picture(section.input_size, section.cache_dtype)
    return Cost(encoding_seconds(images, section, size), 0, section.cache_bytes)


def encoding_seconds(images: float, section: EncoderPlan, size: str) -> float:
    """Of encoding `images` with an encoder of `size` on the reference machine."""
    return images * encoder_flops(size, section.input_size) / (REFERENCE_GFLOPS * 1e9)


def case_bytes(voxels: int, channels: int) -> int:
    """Bytes that are held while a case of `voxels`, in its file or on the plan's grid, is preprocessed."""
    return voxels * (CASE_COPIES * (IMAGE_BYTES * channels + LABEL_BYTES) + RESAMPLED_BYTES)


def registration_seconds(pairs: int, plan: DatasetPlan) -> float:
    """Of registering `pairs` of cases of the median shape on one core."""
    voxels = math.prod(coarsened(plan.median_shape))
    return pairs * REGISTRATION_SECONDS * max(1.0, voxels / REGISTRATION_VOXELS)


def announce(what: str, cost: Cost, folder: Path, mend_memory: str, *, there: int = 0) -> None:
    """Say what `what` is expected to take, and refuse what cannot fit before anything is written.

    Arguments:
        folder: on the disk that is written to; it exists.
        mend_memory: what to do where the memory is too small.
        there: bytes of files that are reused or replaced.

    Raises:
        UserError: less free disk or memory than expected.
    """
    say(f"{what}: expected {cost}")
    free_disk, free_memory = shutil.disk_usage(folder).free + there, free_bytes()
    if cost.disk_bytes > free_disk:
        raise UserError(f"The disk must have room for {what}.", where=folder,
                        found=f"{cost.disk_bytes / 1e9:.2f} GB are expected, for {free_disk / 1e9:.2f} GB that are "
                              "free",
                        mend="Make room, or choose a folder on another disk.")
    if cost.ram_bytes > free_memory:
        raise UserError(f"The memory must have room for {what}.", where=folder,
                        found=f"{cost.ram_bytes / 1e9:.1f} GB are expected, for {free_memory / 1e9:.1f} GB that are "
                              "free",
                        mend=mend_memory)


def _voxels(fingerprint: Fingerprint, plan: DatasetPlan) -> Iterator[int]:
    """Of each case on the plan's grid."""
    forward = plan.transpose_forward
    for shape, spacing_mm in zip(fingerprint.shapes_after_crop, fingerprint.spacings_mm, strict=True):
        turned = (shape[forward[0]], shape[forward[1]], shape[forward[2]])
        yield math.prod(max(1, size) for size in resampled_shape(turned, reordered(spacing_mm, forward),
                                                                 plan.spacing_mm))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
