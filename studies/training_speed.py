"""Seconds of a training iteration in float32 and in the number type that training uses on this machine.

    samunet_plan_and_preprocess -d 4
    python studies/training_speed.py -d 4 --output studies/results/training_speed.jsonl

Iterations of both types alternate in one process, on the same batches of fold 1, 5 cases of draw 0, read before; the
fastest of each counts. Where the processor does not multiply bfloat16 both are the same. Paths come from samunet_raw,
samunet_preprocessed and samunet_results.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from record import append, facts

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import Paths, resolve_paths
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.training.experiment import open_experiment
from samunet.training.settings import Request
from samunet.training.trainer import Optimization
from samunet.variants.base import TrainedVariant
from samunet.variants.precision import dtype_of_products

VARIANTS = ("linear_head", "cnn_head", "autosam", "fewshot", "hybrid_off", "unet", "lora", "3d_adapter")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-device", default="cpu")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    fast = dtype_of_products(torch.device(options.device))
    rows = {variant: seconds(options, variant, resolve_paths(), (torch.float32, fast)) for variant in options.variants}
    print(f"| variant | float32 s | {type_name(fast)} s | ratio |\n|---|---|---|---|")
    for variant, (full, half) in rows.items():
        print(f"| `{variant}` | {full:.3f} | {half:.3f} | {full / half:.2f} |")
    append(options.output, facts() | {"dtype": type_name(fast), "threads": torch.get_num_threads(),
                                      "device": options.device,
                                      "rows": {variant: {"seconds": pair, "ratio": pair[0] / pair[1]}
                                               for variant, pair in rows.items()}})


def seconds(options: argparse.Namespace, variant: str, paths: Paths,
            dtypes: tuple[torch.dtype, torch.dtype]) -> list[float]:
    """The fastest iteration in each type."""
    experiment = open_experiment(
        Request(options.dataset, variant, "1", DEFAULT_ENCODER, DEFAULT_PLANS_NAME, shots=5, device=options.device),
        paths)
    built = experiment.build_variant()
    assert isinstance(built, TrainedVariant)
    batches = built.batches(experiment.data({"seconds": {}}))
    read = [batches.read(iteration) for iteration in range(options.repeats)]
    optimization = Optimization(built, torch.device(options.device))
    taken: dict[torch.dtype, list[float]] = {dtype: [] for dtype in dtypes}
    for batch in [read[0], *read]:  # the first is thrown away
        for optimization.dtype in dtypes:
            started = time.perf_counter()
            optimization.step(batch.inputs, batch.segmentation, built.learning_rate)
            taken[optimization.dtype].append(time.perf_counter() - started)
    return [min(taken[dtype][-options.repeats:]) for dtype in dtypes]


def type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    main()
