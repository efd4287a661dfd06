"""The most memory that one training step of 3d_promptable holds, beside what the plan expects.

    python studies/patch3d_memory.py --output studies/results/patch3d_memory.jsonl
    python studies/patch3d_memory.py --settings mini:32,64,64:4,4,4:2:0

A setting is encoder:patch:token:patches in a batch:checkpointed (0 or 1). Each has a process of its own, one after the
other: a checkpoint file of random weights is loaded as any encoder, and one step is made on patches of noise with three
classes and three rounds of clicks, on the CPU in float32. Measured is the largest resident memory of that process.
Appends one JSON line to --output.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from export_memory import largest_resident_bytes
from memory_rows import measure, random_encoder

from samunet.dataset.labels import LabelSpace
from samunet.inputs.patches_3d import KeyedPatches
from samunet.planning.patch3d_memory import Patch3dNumbers, patch3d_bytes
from samunet.planning.plans import DatasetPlan, EncoderPlan, Patch3dPlan
from samunet.training.trainer import Optimization
from samunet.variants.base import VariantContext
from samunet.variants.promptable_3d import Promptable3dVariant

SETTINGS = ("mini:32,64,64:4,4,4:1:0", "mini:32,64,64:4,4,4:1:1", "mini:36,52,36:4,4,4:1:0")
LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
RATE = 1e-4


def step(setting: str) -> dict[str, Any]:
    """One step in this process."""
    size, shape_text, token_text, patches, checkpointed = setting.split(":")
    (z, y, x), (depth, rows, columns) = (map(int, text.split(",")) for text in (shape_text, token_text))
    plan = Patch3dPlan((z, y, x), (depth, rows, columns), int(patches), bool(int(checkpointed)), 0)
    section = EncoderPlan(size, 256, (y, x), 0.5, "repeat", 1, "float16", 0, 1, patches_3d=plan)
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), plan.shape, False, ("MRI",),
                          ("zscore",), (False,), ({},))
    encoder = random_encoder(size, 256)
    loaded = largest_resident_bytes()
    variant = Promptable3dVariant(VariantContext(LABELS, dataset, section, encoder.sam_state, encoder))
    optimization, random = Optimization(variant, torch.device("cpu")), torch.Generator().manual_seed(0)
    images = torch.randn(plan.batch_size, 1, *plan.shape, generator=random)
    segmentation = torch.zeros(plan.batch_size, *plan.shape, dtype=torch.int64)
    segmentation[:, z // 4 : z // 2 + 1, y // 4 : y // 2, x // 4 : x // 2] = 1
    keys = torch.tensor([[0, 0, sample] for sample in range(plan.batch_size)])
    started = time.perf_counter()
    optimization.step(KeyedPatches(images, segmentation, keys), segmentation, RATE)
    seconds = time.perf_counter() - started
    numbers = Patch3dNumbers(size, plan.shape, plan.token, LABELS.channels)
    expected = patch3d_bytes(numbers, plan.batch_size, checkpointed=plan.checkpointed)
    return {"setting": setting, "measured_gb": largest_resident_bytes() / 1e9, "expected_gb": expected / 1e9,
            "loaded_gb": loaded / 1e9, "seconds": seconds}


if __name__ == "__main__":
    measure(__file__, __doc__ or "", SETTINGS, step)
