"""What predicting a folder is expected to take, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samunet.dataset.dataset import RawCase
from samunet.dataset.io.header_voxels import header_voxels
from samunet.dataset.memory import free_bytes
from samunet.inference.model_folder import TrainedModel, finished_runs
from samunet.planning.expected_cost import STORED_SHARE, WORKER_BYTES, Cost, announce, case_bytes, encoding_seconds
from samunet.planning.tiles import tile_grid
from samunet.variants.registry import entry

CASES_HELD = 2  # by a process that prepares, or by this one: a case in work, and one that waits
MIRRORED = 4  # as many passes with --tta
PROBABILITY_BYTES = 4
LABEL_SHARE = 0.05  # of a label map after compression; 60 files of hippocampus have 0.014


def announce_prediction(
    model: TrainedModel, cases: Sequence[RawCase], output: Path, *, tta: bool, probabilities: bool, workers: int
) -> int:
    """Say the expected time, memory and disk; returns how many of `workers` preparing processes fit into memory.

    Cases that do not fit alone are not counted: each is refused when it is read, and the others are predicted.

    Raises:
        UserError: no case fits into the free memory, or the files not onto the disk. Nothing is written.
    """
    if not cases:
        return workers
    voxels = [header_voxels(case.images[0]) for case in cases]
    known = [count for count in voxels if count is not None]
    if len(known) < len(voxels):  # only reading them would tell
        known = []
    ram, workers = _memory(known, len(model.plans.dataset.channel_names), workers)
    value_bytes = model.labels.dtype.itemsize * LABEL_SHARE
    if probabilities:
        value_bytes += model.labels.channels * PROBABILITY_BYTES * STORED_SHARE
    cost = Cost(seconds(model, len(cases), tta), ram, int(sum(known) * value_bytes), gpu_bytes(model))
    announce(f"predicting {len(cases)} cases", cost, output, "Close other programs, or crop or split the images.")
    return workers


def _memory(voxels: Sequence[int], channels: int, workers: int) -> tuple[int, int]:
    """Bytes that cases of `voxels` take beside the loaded model, and how many of `workers` processes fit.

    A case that waits is counted where it fits beside the one in work: without room it is read later.
    """
    if not voxels:
        return 0, workers
    held, free = [case_bytes(count, channels) for count in voxels], free_bytes()
    largest = max([each for each in held if each <= free] or [min(held)])
    worker = WORKER_BYTES + CASES_HELD * largest
    workers = max(1, min(workers, (free - largest) // worker))
    if workers > 1:
        return largest + workers * worker, workers
    return CASES_HELD * largest if CASES_HELD * largest <= free else largest, 1


def seconds(model: TrainedModel, cases: int, tta: bool) -> float | None:
    """Of `cases`, from what a case took in the validation of the model's runs, and the encoding that validation does
    not repeat; None where no run was validated on the same kind of device.

    Validation includes registration and export, of one fold; each further fold is counted as much again.
    """
    runs = finished_runs(model.folder) if model.folder.is_dir() else {}
    each = [_validated(runs[fold], model.device.type) for fold in model.folds if fold in runs]
    measured = [taken for taken in each if taken is not None]
    if not measured:
        return None
    passes = MIRRORED if tta else 1
    case = passes * len(model.folds) * sum(measured) / len(measured)
    return cases * (case + passes * _encoding(model))


def _validated(run: dict[str, Any], device: str) -> float | None:
    """Seconds of a validation case of a run; None where it has none, or was on the other kind of device."""
    same = (_value(run, "hardware", "device") in (None, "cpu")) == (device == "cpu")
    taken, cases = _value(run, "seconds", "validation"), run.get("val_cases")
    if not same or not isinstance(taken, int | float) or not isinstance(cases, list) or not cases:
        return None
    return taken / len(cases) or None


def _encoding(model: TrainedModel) -> float:
    """Seconds of encoding a case of the median shape where the variant reads embeddings; a GPU's are not counted."""
    if model.encoder is None or not entry(model.variant).reads_embeddings or model.device.type != "cpu":
        return 0.0
    plan, section = model.plans.dataset, model.plans.for_encoder(model.encoder.spec.id)
    tiles = len(tile_grid(plan.median_shape[1:], section.tile_shape, section.tile_step))
    images = plan.median_shape[0] * tiles * section.channels_alone(plan)
    return encoding_seconds(images, section, model.encoder.spec.size)


def gpu_bytes(model: TrainedModel) -> int:
    """The most GPU memory that training held, which prediction stays below; 0 on the CPU and where it is not known."""
    if model.device.type == "cpu" or not model.folder.is_dir():
        return 0
    peaks = [_value(run, "peak_memory_mb", "cuda") for run in finished_runs(model.folder).values()]
    return int(max((peak for peak in peaks if isinstance(peak, int | float)), default=0.0) * 1e6)


def _value(run: dict[str, Any], part: str, name: str) -> Any:
    """Of a run's record, which anybody may have changed; None where it is not there."""
    content = run.get(part)
    return content.get(name) if isinstance(content, dict) else None
