"""Ablations of `hybrid`: without embeddings, with those of an untrained encoder, without the image, other transports.

    samunet_plan_and_preprocess -d 4
    samunet_plan_experiment -d 4 --encoder untrained
    python studies/hybrid_ablations.py -d 4 --output studies/results/hybrid_ablations.jsonl

Fold 1 (never fold 0), 5 cases of draw 0, all with the same iterations and seed: the modes of `--transport`, and
`hybrid_off` without one input: embeddings of zeros; embeddings of the encoder with random weights; an image of zeros,
so that only the embeddings remain. Intervals are paired over patients, against `--reference`. Paths come from
samunet_raw, samunet_preprocessed and samunet_results.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from commands import figures, trained
from encoder_gain import case_dice
from record import append, facts

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import read_json
from samunet.inputs.volumes import Volumes
from samunet.planning.groups import kept_groups
from samunet.variants.hybrid_off import HybridOffVariant
from samunet.variants.registry import VARIANTS, VariantEntry

UNTRAINED = "hybrid_off, untrained encoder"
BASELINES = ("label_prior", "atlas", "unet")
ROWS = (*BASELINES, "hybrid", "hybrid_selftrain", "hybrid_augment", "hybrid_off", "hybrid_no_embeddings", UNTRAINED,
        "hybrid_no_image")


class NoEmbeddingsVariant(HybridOffVariant):
    """`hybrid_off` with embeddings of zeros."""

    def logits(self, inputs: Volumes) -> torch.Tensor:
        return super().logits(Volumes(inputs.image, torch.zeros_like(inputs.embeddings)))

    def outputs(self, inputs: Volumes) -> list[torch.Tensor]:
        return super().outputs(Volumes(inputs.image, torch.zeros_like(inputs.embeddings)))


class NoImageVariant(HybridOffVariant):
    """`hybrid_off` with an image of zeros."""

    def logits(self, inputs: Volumes) -> torch.Tensor:
        return super().logits(Volumes(torch.zeros_like(inputs.image), inputs.embeddings))

    def outputs(self, inputs: Volumes) -> list[torch.Tensor]:
        return super().outputs(Volumes(torch.zeros_like(inputs.image), inputs.embeddings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("-p", dest="plans", default=DEFAULT_PLANS_NAME, help="plans name")
    parser.add_argument("--fold", default="1", choices=["1", "2", "3", "4"])
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=220, help="of every network (default: 220)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--reference", choices=ROWS, default="hybrid_off")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    for name, kind in (("hybrid_no_embeddings", NoEmbeddingsVariant), ("hybrid_no_image", NoImageVariant)):
        VARIANTS[name] = VariantEntry(f"hybrid_ablations:{kind.__name__}", "an ablation", "volumes")
    paths = resolve_paths()
    groups = kept_groups(paths.preprocessed / find_dataset(paths.raw, options.dataset).name)
    folders = {row: trained(options.dataset, row.partition(",")[0], options.fold, options.plans, "--iterations",
                            str(options.iterations), *(() if row in BASELINES else ("--set", "embeddings=on")),
                            shots=options.shots,
                            **({"encoder": "untrained"} if row == UNTRAINED else {}))
               for row in options.rows}
    dice = {row: case_dice(read_json(folder / "validation" / "summary.json")) for row, folder in folders.items()}
    rows: dict[str, dict[str, Any]] = {}
    print(f"| row | Dice | over `{options.reference}` | seconds |\n|---|---|---|---|")
    for row, folder in folders.items():
        gain = paired_interval([paired_differences(dice[row], dice[options.reference], groups)])
        rows[row] = figures(folder) | {"gain": [gain.mean, gain.low, gain.high]}
        print(f"| `{row}` | {rows[row]['dice']:.3f} | {gain if row != options.reference else ''} | "
              f"{rows[row]['train_seconds']:.0f} |")
    append(options.output, facts() | {"fold": options.fold, "shots": options.shots, "draw": 0,
                                      "reference": options.reference, "rows": rows})


if __name__ == "__main__":
    main()
