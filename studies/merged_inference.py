"""Seconds to predict a case with 3d_adapter, with FacT's updates merged into the weights and computed for every token.

    python studies/merged_inference.py --output studies/results/merged_inference.jsonl

The network is untrained except for updates of random size, the case is noise. Both ways take turns, round by round, and
the median round is reported. The largest difference of logits must be at most 1e-4. Appends one JSON line to --output.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from record import append, facts
from torch import nn

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.inference.predictor import predict_case
from samunet.networks.checkpoints.encoders import Encoder, load_encoder
from samunet.networks.fact import FactProjection
from samunet.planning.plans import AdapterPlan, DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.variants.adapter_3d import Adapter3dVariant
from samunet.variants.base import VariantContext

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
MOST = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="mini")
    parser.add_argument("--input-size", type=int, default=256)
    parser.add_argument("--shape", type=int, nargs=3, default=(36, 50, 35), help="slices, rows and columns of the case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shape: tuple[int, int, int] = tuple(options.shape)
    encoder = load_encoder(options.encoder, options.input_size)
    merged, unmerged = (built(encoder, options.input_size, shape, merged=way) for way in (True, False))
    seconds: dict[str, list[float]] = {"merged": [], "unmerged": []}
    logits = {}
    for _ in range(options.rounds):
        for name, variant in (("merged", merged), ("unmerged", unmerged)):
            logits[name], spent = predicted(variant, encoder, shape)
            seconds[name].append(spent)
    difference = float(np.abs(logits["merged"] - logits["unmerged"]).max())
    medians = {name: median(rounds) for name, rounds in seconds.items()}
    print(f"merged {medians['merged']:.2f} s  unmerged {medians['unmerged']:.2f} s  ratio "
          f"{medians['unmerged'] / medians['merged']:.2f}  largest difference {difference:.1e} "
          f"({'met' if difference <= MOST else 'MISSED'}), logits to {np.abs(logits['merged']).max():.1f}")
    append(options.output, facts() | {
        "encoder": encoder.spec.id, "input_size": options.input_size, "shape": options.shape,
        "threads": options.threads,
        "seconds": seconds, "median_seconds": medians, "largest_difference": difference, "met": difference <= MOST})


def built(encoder: Encoder, input_size: int, shape: tuple[int, int, int], *, merged: bool) -> Adapter3dVariant:
    """The same network for both ways."""
    section = EncoderPlan(encoder.spec.id, input_size, shape[1:], 0.5, "neighbours", 1, "float16", 0, 1,
                          adapters=AdapterPlan(5))
    torch.manual_seed(0)
    variant = Adapter3dVariant(VariantContext(LABELS, dataset(shape), section, encoder.sam_state, encoder))
    nn.init.normal_(variant.network.encoder.factors.up.weight, std=0.05)
    if not merged:
        for module in variant.network.modules():
            if isinstance(module, FactProjection):
                module.forward = module.unmerged  # type: ignore[method-assign]
    return variant


def dataset(shape: tuple[int, int, int]) -> DatasetPlan:
    """A plan whose grid is the case's."""
    return DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), shape, False, ("MRI",), ("zscore",),
                       (False,), ({},))


def predicted(variant: Adapter3dVariant, encoder: Encoder, shape: tuple[int, int, int]) -> tuple[np.ndarray, float]:
    """Logits of a case of noise, and the seconds that they took."""
    image = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    whole = tuple((0, size) for size in shape)
    properties = CaseProperties("made", Geometry("SimpleITKIO", shape, (1.0, 1.0, 1.0)), shape, whole, shape, shape,
                                ((-2.0, 2.0),),
                                "", None, {})
    plans = Plans("made", "made", dataset(shape), {encoder.spec.id: variant.context.encoder_plan})
    started = time.perf_counter()
    slabs = [slab for _, slab in predict_case([variant], PreparedCase(image, None, properties), plans, encoder)]
    return np.concatenate(slabs, 1), time.perf_counter() - started


if __name__ == "__main__":
    main()
