"""Iterations a second of training a head from cached embeddings, and with the encoder in the loop, on the same batches.

    python studies/cache_speed.py --encoders mini --output studies/results/cache_speed.jsonl
    python studies/cache_speed.py --encoders vit_b --heads linear_head --rounds 1 --iterations 2

Made volumes and encoders with random weights: speed depends on neither. `mini` reads hippocampus-like volumes in
batches of 16 at 256 pixels, `vit_b` heart-like ones in batches of 2 at 1024. Both ways train through the trainer's own
loop, with the next batch read ahead, one way after the other in every round; medians over rounds, and their ratio.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from record import append, facts
from safetensors.torch import save_file

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.files import digest_of_array
from samunet.inputs.batches import Batches
from samunet.inputs.embedding_cache import embeddings_of
from samunet.inputs.embeddings import RecentInputs, StoredCaseEmbeddings
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.inputs.tiles import TileSamples
from samunet.networks.checkpoints.encoders import Encoder, load_encoder
from samunet.networks.sam import build_sam
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.store import ArrayStore
from samunet.training.trainer import seconds_per_iteration
from samunet.variants.base import VariantContext
from samunet.variants.kinds import EmbeddingVariant
from samunet.variants.registry import variant_class

HEADS = ("linear_head", "cnn_head", "autosam")
LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})


@dataclass(frozen=True)
class Setting:
    """What is encoded: cases of `shape` (z, y, x), in one tile of `input_size` pixels."""

    shape: tuple[int, int, int]
    cases: int
    input_size: int
    batch_size: int


SETTINGS = {"mini": Setting((36, 50, 35), 2, 256, 16), "vit_b": Setting((2, 256, 216), 1, 1024, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=HEADS)
    parser.add_argument("--cache_dtype", default="float16")
    parser.add_argument("--iterations", type=int, default=5, help="timed in each round, each way, after 3 that are not")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = [row for encoder in options.encoders for row in measured(encoder, options)]
    print(f"{'encoder':8} {'head':12} {'cached it/s':>12} {'in the loop':>12} {'ratio':>7}")
    for row in rows:
        print(f"{row['encoder']:8} {row['head']:12} {row['cached']:12.2f} {row['in_loop']:12.4f} {row['ratio']:6.1f}x")
    append(options.output, facts() | content(options, rows))


def measured(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each head on one encoder."""
    setting, device = SETTINGS[name], torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        encoder = random_encoder(name, setting, Path(folder), device)
        plans, arrays = made_dataset(encoder, setting, options.cache_dtype, Path(folder))
        inputs = RecentInputs(arrays, plans, encoder)
        names = arrays.names()
        cached = embeddings_of(names, arrays, plans, encoder, Path(folder) / "embeddings")
        ways = {"cached": batches_of(cached, arrays, setting),
                "in_loop": batches_of({case: StoredCaseEmbeddings(case, inputs) for case in names}, arrays, setting)}
        context = VariantContext(LABELS, plans.dataset, plans.for_encoder(encoder.spec.id), encoder.sam_state)
        return [{"encoder": name, "input_size": setting.input_size, "batch": setting.batch_size, "head": head,
                 **rates(head, context, ways, setting, device, options)} for head in options.heads]


def rates(
    head: str, context: VariantContext, ways: dict[str, Batches], setting: Setting, device: torch.device,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Iterations a second each way, and how many times faster the cache is."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    torch.manual_seed(0)
    variant = variant_class(head)(context)
    assert isinstance(variant, EmbeddingVariant)
    for _ in range(options.rounds):
        for way, batches in ways.items():
            seconds[way].append(seconds_per_iteration(variant, batches, device, options.iterations))
    cached, in_loop = median(seconds["cached"]), median(seconds["in_loop"])
    return {"cached": 1 / cached, "in_loop": 1 / in_loop, "ratio": in_loop / cached, "seconds": seconds}


def random_encoder(name: str, setting: Setting, folder: Path, device: torch.device) -> Encoder:
    """The encoder with random weights, as a user's own file would be loaded."""
    if name == "mini":
        return load_encoder("untrained", setting.input_size, device)
    torch.manual_seed(0)
    path = folder / "random.safetensors"
    save_file(build_sam(name, 1024).state_dict(), path)
    return load_encoder(str(path), setting.input_size, device)


def made_dataset(encoder: Encoder, setting: Setting, cache_dtype: str, folder: Path) -> tuple[Plans, ArrayStore]:
    """Noise with two boxes, planned for one tile a slice."""
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), setting.shape, False, ("MRI",),
                          ("zscore",),
                          (False,), ({},))
    section = EncoderPlan(encoder.spec.id, setting.input_size, setting.shape[1:], 0.5, "neighbours",
                          setting.batch_size,
                          cache_dtype, 0, 400)
    arrays = ArrayStore(folder / "arrays")
    _, rows, columns = setting.shape
    for case in range(setting.cases):
        image = np.random.default_rng(case).standard_normal((1, *setting.shape), np.float32)
        labels = np.zeros((1, *setting.shape), np.int16)
        labels[..., rows // 4 : rows // 2, columns // 4 : columns // 2] = 1
        labels[..., rows // 2 : 3 * rows // 4, columns // 2 : 3 * columns // 4] = 2
        arrays.write(PreparedCase(image, labels, CaseProperties(
            f"made_{case}", Geometry("SimpleITKIO", setting.shape, (1, 1, 1)), setting.shape,
            tuple((0, side) for side in setting.shape), setting.shape, setting.shape, ((-2.5, 2.5),),
            digest_of_array(image), digest_of_array(labels), {})))
    return Plans("made", "made", dataset, {encoder.spec.id: section}), arrays


def batches_of(sources: dict[str, CaseInputs], arrays: ArrayStore, setting: Setting) -> Batches:
    names: Sequence[str] = list(sources)
    segmentations = [arrays.segmentation(name) for name in names]
    labels = [LabelSlices.build(each[0], sources[name].frame, LABELS)
              for name, each in zip(names, segmentations, strict=True) if each is not None]
    sampler = Sampler(labels, LABELS, setting.batch_size, 0)
    return Batches(names, sampler, TileSamples([sources[name] for name in names], labels))


def content(options: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is recorded."""
    return {
        "device": torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.machine(),
        "threads": torch.get_num_threads(),
        "rows": rows,
    }


if __name__ == "__main__":
    main()
