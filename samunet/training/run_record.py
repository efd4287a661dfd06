"""The content of run.json of a run that begins, and the memory that it took."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import torch

import samunet
from samunet.processes import count
from samunet.training.experiment import Experiment
from samunet.variants.base import Variant
from samunet.variants.precision import dtype_of

RECORDED_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "SimpleITK", "blosc2", "safetensors")


def new_run(experiment: Experiment, variant: Variant, trained_by: str) -> dict[str, Any]:
    """The content of run.json of a run that begins."""
    encoder = experiment.encoder
    return {
        "settings": experiment.settings.to_json(),
        "variant": experiment.settings.variant,
        "fold": experiment.settings.fold,
        "encoder": {"id": experiment.section.encoder, "name": experiment.request.encoder,
                    "digest": encoder.digest if encoder else None},
        "train_cases": list(experiment.train_cases),
        "labelled_slices": experiment.slices,
        "support": experiment.support,
        "val_cases": list(experiment.val_cases),
        "versions": {"samunet": samunet.__version__, "python": platform.python_version(),
                     **{name: metadata.version(name) for name in RECORDED_PACKAGES}},
        "hardware": {"system": f"{platform.system()} {platform.machine()}", "processors": os.cpu_count(),
                     "device": torch.cuda.get_device_name() if experiment.settings.device.startswith("cuda")
                     else "cpu"},
        "threads": torch.get_num_threads(),
        "precision": str(dtype_of(variant, torch.device(experiment.settings.device))).removeprefix("torch."),
        "processes": count(),
        "ct_statistics_over_all_cases": "ct" in experiment.plans.dataset.normalization,
        "seconds": {},
        "trainable_parameters": variant.trainable_parameters,
        "finished": None,
        "trained_by": trained_by,
    }


def peak_memory_mb(device: str) -> dict[str, float]:
    """The most memory that this process has held so far, in 10^6 bytes: resident, and of the CUDA card where it used
    one.

    Windows does not report the resident part.
    """
    peak = {}
    if platform.system() != "Windows":
        import resource

        unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, KiB elsewhere
        peak["resident"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    if device.startswith("cuda"):
        peak["cuda"] = torch.cuda.max_memory_allocated(device) / 1e6
    return peak
