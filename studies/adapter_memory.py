"""The most memory that one training step of 3d_adapter holds, beside what the plan expects.

    python studies/adapter_memory.py --output studies/results/adapter_memory.jsonl
    python studies/adapter_memory.py --settings mini:256:5:1:0

A setting is encoder:input size:slices:stacks at once:checkpointed (0 or 1). Each has a process of its own, one after
the other: a checkpoint file of random weights is loaded as any encoder, and one step is made on stacks of noise with
three classes, on the CPU in float32. Measured is the largest resident memory of that process. Appends one JSON line to
--output.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from export_memory import largest_resident_bytes
from memory_rows import measure, random_encoder

from samunet.dataset.labels import LabelSpace
from samunet.planning.adapter_memory import AdapterNumbers, training_bytes
from samunet.planning.plans import AdapterPlan, DatasetPlan, EncoderPlan
from samunet.training.trainer import Optimization
from samunet.variants.adapter_3d import Adapter3dVariant
from samunet.variants.base import VariantContext

SETTINGS = ("mini:256:5:2:0", "vit_b:256:5:1:0", "vit_b:512:5:1:1")
LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
RATE = 1e-4


def step(setting: str) -> dict[str, Any]:
    """One step in this process."""
    size, *numbers = setting.split(":")
    input_size, slices, stacks, checkpointed = map(int, numbers)
    tile = (input_size, input_size)
    plan = EncoderPlan(size, input_size, tile, 0.5, "repeat", 1, "float16", 0, 1,
                       adapters=AdapterPlan(slices, input_size, stacks, stacks, bool(checkpointed)))
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (40, *tile), False, ("MRI",),
                          ("zscore",), (False,),
                          ({},))
    encoder = random_encoder(size, input_size)
    loaded = largest_resident_bytes()
    variant = Adapter3dVariant(VariantContext(LABELS, dataset, plan, encoder.sam_state, encoder))
    optimization, random = Optimization(variant, torch.device("cpu")), torch.Generator().manual_seed(0)
    # which the plan counts with; a processor that multiplies bfloat16 would need less
    optimization.dtype = torch.float32
    pictures = torch.randn(stacks, slices, 1, 3, input_size, input_size, generator=random)
    segmentation = torch.randint(0, 3, (stacks, slices, *tile), generator=random)
    started = time.perf_counter()
    optimization.step(pictures, segmentation, RATE)
    seconds = time.perf_counter() - started
    expected = training_bytes(AdapterNumbers(size, tile, input_size, 1, LABELS.channels), slices, stacks,
                              checkpointed=bool(checkpointed))
    return {"setting": setting, "measured_gb": largest_resident_bytes() / 1e9, "expected_gb": expected / 1e9,
            "loaded_gb": loaded / 1e9, "seconds": seconds}


if __name__ == "__main__":
    measure(__file__, __doc__ or "", SETTINGS, step)
