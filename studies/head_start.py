"""Why SAM's mask decoder learns slowly from few labels: forms of `autosam` and `fewshot`, each changed in one way.

    samunet_plan_and_preprocess -d 27 --no_embeddings
    python studies/head_start.py -d 27 --rows autosam autosam_warm_up cnn_head --iterations 150 --patients 3 \\
        --output studies/results/head_start.jsonl

Folds 1 and 2 alone, 5 cases of `--draw`; validated on the first cases of `--patients` patients of the fold, on their
own grid. The length is `--iterations`, or `--core_minutes`: as many iterations as fit so much processor time, measured
over a few of them, so that other work on the machine changes nothing. The records have `-p samunetPlans_few`, a copy of
the plans with `tile_step` 1.0 and `view_pictures` 400 in the encoder's section `embeddings`, which has fewer images to
encode. Each job appends a line: Dice of each case, length and processor seconds. Embeddings are cached before and do
not count. Paths come from samunet_raw and samunet_preprocessed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from encoder_gain import case_dice
from record import append, facts
from torch import nn

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import resolve_paths
from samunet.files import make_folder
from samunet.inputs.batches import Batches
from samunet.networks.autosam_head import AutoSamHead
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.groups import kept_groups
from samunet.training.experiment import Experiment, open_experiment
from samunet.training.logbook import read_log
from samunet.training.settings import Request
from samunet.training.trainer import WARM_UP_ITERATIONS, seconds_per_iteration, train
from samunet.training.validation import validate
from samunet.variants.base import TrainedVariant

SHOTS = 5
MEASURED = 5  # iterations
BATCHES = 8  # from which tokens are computed
WARM_UP = 0.1


@dataclass(frozen=True)
class Row:
    """A variant, its settings, and what is changed of it once it is built."""

    variant: str
    settings: dict[str, Any] = field(default_factory=dict)
    change: Callable[[TrainedVariant, Batches[Any]], None] = lambda variant, batches: None


def head(variant: TrainedVariant) -> AutoSamHead:
    assert isinstance(variant.network, AutoSamHead)
    return variant.network


def warm_up(variant: TrainedVariant, batches: Batches[Any]) -> None:
    type(variant).warmup_share = WARM_UP


def no_constant(variant: TrainedVariant, batches: Batches[Any]) -> None:
    head(variant).no_mask.zero_()


def forget(variant: TrainedVariant, batches: Batches[Any]) -> None:
    """The start that the head would have without SAM's decoder."""
    plain = AutoSamHead(variant.context.embedding_channels, variant.labels.channels,
                        variant.context.encoder_plan.input_size, {})
    head(variant).load_state_dict(plain.state_dict())


def frozen_transformer(variant: TrainedVariant, batches: Batches[Any]) -> None:
    head(variant).transformer.requires_grad_(False)


def sams_token(variant: TrainedVariant, batches: Batches[Any]) -> None:
    """Class tokens begin at SAM's first mask token, a tenth of a standard deviation apart."""
    tokens = head(variant).class_tokens
    with torch.no_grad():
        tokens.copy_(variant.context.sam_state["mask_decoder.mask_tokens.weight"][:1] + 0.1 * tokens)


def region_tokens(variant: TrainedVariant, batches: Batches[Any]) -> None:
    """Class tokens begin as what `fewshot` makes of a class: the mean embedding of its cells, with SAM's type."""
    state, tokens = variant.context.sam_state, head(variant).class_tokens
    sums, totals = torch.zeros_like(tokens), torch.zeros(len(tokens))
    for batch in map(batches.read, range(BATCHES)):
        assert isinstance(batch.inputs, torch.Tensor)
        cells = batch.inputs.shape[-1]
        rows, columns = batch.segmentation.shape[1:]
        square = nn.functional.pad(torch.stack(variant.labels.channel_masks(batch.segmentation), 1).float(),
                                   (0, max(rows, columns) - columns, 0, max(rows, columns) - rows))
        covered = nn.functional.adaptive_avg_pool2d(square, cells)
        sums += torch.einsum("bkyx,bcyx->kc", covered, batch.inputs.float())
        totals += covered.sum((0, 2, 3))
    with torch.no_grad():
        tokens.copy_(sums / totals.clamp_min(1e-6)[:, None] + state["prompt_encoder.point_embeddings.1.weight"]
                     + state["mask_decoder.mask_tokens.weight"][:1])


class Mixing(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the second has weights of zero at the start, and PyTorch's bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + self.second(nn.functional.gelu(self.first(features)))


def mixing(variant: TrainedVariant, batches: Batches[Any]) -> None:
    """Neighbouring places of the finest features see each other; SAM's upscaling treats each token alone."""
    head(variant).upscaling = nn.Sequential(*head(variant).upscaling, Mixing(32))


def gentle(variant: TrainedVariant, batches: Batches[Any]) -> None:
    warm_up(variant, batches)
    mixing(variant, batches)


def warm_region_tokens(variant: TrainedVariant, batches: Batches[Any]) -> None:
    warm_up(variant, batches)
    region_tokens(variant, batches)


def float32(variant: TrainedVariant, batches: Batches[Any]) -> None:
    variant.full_precision = True


ROWS = {
    "cnn_head": Row("cnn_head"),
    "linear_head": Row("linear_head"),
    "autosam": Row("autosam"),
    "autosam_rate_3e-4": Row("autosam", {"learning_rate": 3e-4}),
    "autosam_rate_3e-3": Row("autosam", {"learning_rate": 3e-3}),
    "autosam_warm_up": Row("autosam", change=warm_up),
    "autosam_no_decay": Row("autosam", {"weight_decay": 0.0}),
    "autosam_no_constant": Row("autosam", change=no_constant),
    "autosam_random": Row("autosam", change=forget),
    "autosam_frozen": Row("autosam", change=frozen_transformer),
    "autosam_sams_token": Row("autosam", change=sams_token),
    "autosam_region_tokens": Row("autosam", change=region_tokens),
    "autosam_warm_region_tokens": Row("autosam", change=warm_region_tokens),
    "autosam_mixing": Row("autosam", change=mixing),
    "autosam_gentle": Row("autosam", {"learning_rate": 3e-4}, warm_up),
    "autosam_gentle_mixing": Row("autosam", {"learning_rate": 5e-4}, gentle),
    "autosam_float32": Row("autosam", change=float32),
    "fewshot": Row("fewshot"),
    "fewshot_rate_1e-3": Row("fewshot", {"learning_rate": 1e-3}),
}


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    print("| row | Dice | loss | iterations | processor seconds |\n|---|---|---|---|---|")
    for row in options.rows:
        record = made(row, options)
        append(options.output, facts() | record)
        print(f"| `{row}` | {mean(record['dice'].values()):.3f} | {record['loss'][-1]:.3f} | "
              f"{record['iterations']} | {record['core_seconds']:.0f} |", flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("-p", dest="plans", default=DEFAULT_PLANS_NAME, help="plans name")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--fold", default="1", choices=["1", "2"])
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--iterations", type=int)
    length.add_argument("--core_minutes", type=float)
    parser.add_argument("--patients", type=int, default=5, help="of the fold, to validate on (default: 5)")
    parser.add_argument("--output", type=Path, help="a JSON line is appended for each row")
    return parser.parse_args()


def made(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train and validate one row; what is recorded of it."""
    row = ROWS[name]
    request = Request(options.dataset, row.variant, options.fold, options.encoder, options.plans, shots=SHOTS,
                      draw=options.draw, seed=options.seed, settings=row.settings)
    experiment = of_patients(open_experiment(request, resolve_paths()), options.patients)
    variant = experiment.build_variant()
    assert isinstance(variant, TrainedVariant)
    warmed = type(variant).warmup_share
    device = torch.device("cpu")
    batches = variant.batches(experiment.data({"seconds": {}}))
    variant.begin(batches)
    row.change(variant, batches)
    iterations = options.iterations or iterations_in(options.core_minutes, variant, batches)
    groups = kept_groups(experiment.preprocessed) or {name: name for name in experiment.val_cases}
    with tempfile.TemporaryDirectory() as work:
        started = time.process_time()
        train(variant, batches, iterations, make_folder(Path(work) / "training"), device)
        used = time.process_time() - started
        loss = [entry.loss for entry in read_log(Path(work) / "training" / "log.jsonl")]
        summary = validate(experiment, variant, Path(work) / "validation", workers=1)
    type(variant).warmup_share = warmed
    return {"dataset": experiment.preprocessed.name, "plans": options.plans,
            "encoder": options.encoder, "row": name, "fold": options.fold,
            "shots": SHOTS, "draw": options.draw, "seed": options.seed, "iterations": iterations,
            "core_minutes": options.core_minutes, "core_seconds": used, "loss": loss, "patients": options.patients,
            "dice": case_dice(summary),
            "groups": {name: patient for name, patient in groups.items() if name in experiment.val_cases}}


def iterations_in(core_minutes: float, variant: TrainedVariant, batches: Batches[Any]) -> int:
    """How many fit so much processor time, from a few of them; at least 1."""
    started = time.process_time()
    seconds_per_iteration(variant, batches, torch.device("cpu"), MEASURED)
    per_iteration = (time.process_time() - started) / (WARM_UP_ITERATIONS + MEASURED)
    return max(1, int(60 * core_minutes / per_iteration))


def of_patients(experiment: Experiment, count: int) -> Experiment:
    """The experiment with the validation cases of the first `count` patients alone."""
    groups = kept_groups(experiment.preprocessed) or {}
    patients = list(dict.fromkeys(groups.get(name, name) for name in experiment.val_cases))[:count]
    return replace(experiment, val_cases=tuple(name for name in experiment.val_cases
                                               if groups.get(name, name) in patients))


if __name__ == "__main__":
    main()
