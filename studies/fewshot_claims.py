"""Claims of `fewshot` with 5 labelled cases: against an oracle point, against constant tokens, and with altered tokens.

    samunet_plan_and_preprocess -d 4
    python studies/fewshot_claims.py -d 4 --output studies/results/fewshot_claims.jsonl

Draw 0 on folds 1 and 2; `--final` uses fold 0 instead, once, at the end. Both trainings of a fold have the same fixed
iterations (the plan's, or `--iterations`), batches and seed. A case's score is the mean over its foreground classes;
intervals are paired, over folds and patients (`samunet.evaluation.statistics`). Five claims:

in context    nothing trained on real data, IoU above that of `sam_zeroshot` with one point for each slice and class.
ORACLE:
              the points are taken from the labels.
tuned         `fewshot`, IoU at least 1.5 times that of the same points.
support       `fewshot`, Dice above that of the same decoder tuned with as many constant learned tokens in place of the
support. swapped       each class is queried with the tokens of the next one: Dice against labels permuted likewise is
above Dice
              against the true labels. The guess is unchanged. (With the guess, classes are swapped exactly, by
              construction.)
random        tokens, and in a second row tokens and guess, are random numbers with the same mean and standard
deviation: at
              least 0.2 Dice are lost.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from record import append, facts
from torch import Tensor, nn

from samunet.console import say
from samunet.dataset.io.readers import reader_named
from samunet.dataset.paths import Paths, resolve_paths
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import make_folder
from samunet.networks.fewshot import Fewshot
from samunet.networks.prompts import NO_POINT, Prompts
from samunet.planning.encoder_spec import DEFAULT_ENCODER, EMBEDDING_CHANNELS
from samunet.planning.groups import kept_groups
from samunet.training.experiment import Experiment, open_experiment
from samunet.training.settings import Request
from samunet.training.trainer import train
from samunet.training.validation import validate
from samunet.variants.base import Variant, VariantContext
from samunet.variants.fewshot import FewshotVariant

SHOTS, DRAW = 5, 0
RATIO, LOSS = 1.5, 0.2
RANDOM_SEED = 0

Scores = dict[str, float]  # case -> score


class ConstantTokens(Fewshot):
    """The same decoder and token types with learned tokens that are the same for every image, and without a guess.

    `kinds`, int64 (K, T), are the kinds of the support tokens that they replace, so that each class has as many.
    """

    constant_kinds: Tensor

    def __init__(
        self, prompted: int, background: bool, input_size: int, sam_state: Mapping[str, Tensor], *, kinds: Tensor
    ) -> None:
        super().__init__(prompted, background, input_size, sam_state, dropped=0.0, unmasked=1.0)
        self.register_buffer("constant_kinds", kinds)
        # sampled like SAM's own learned tokens
        self.tokens = nn.Parameter(torch.randn(*kinds.shape, EMBEDDING_CHANNELS))

    def _prompts_for(self, units: Tensor, guesses: Tensor) -> Prompts:
        images, classes, side = len(units), len(self.tokens), 4 * guesses.shape[-1]
        masks = torch.zeros(images * classes, 1, side, side, device=units.device)
        masked = torch.zeros(images * classes, dtype=torch.bool, device=units.device)
        content = self.tokens * (self.constant_kinds != NO_POINT)[..., None]
        return Prompts(content.repeat(images, 1, 1), self.constant_kinds.repeat(images, 1), masks, masked)


class ConstantVariant(FewshotVariant):
    """`fewshot` with constant tokens of these kinds."""

    def __init__(self, context: VariantContext, *, kinds: Tensor) -> None:
        self.kinds = kinds
        super().__init__(context)

    def build_network(self) -> nn.Module:
        context, background = self.context, not self.labels.has_regions
        return ConstantTokens(self.labels.channels - background, background, context.encoder_plan.input_size,
                              context.sam_state,
                              kinds=self.kinds)


@dataclass(frozen=True)
class FoldScores:
    """Method -> case -> score; `groups` are the patients. `swapped` is Dice against labels that changed places."""

    iou: dict[str, Scores]
    dice: dict[str, Scores]
    swapped: Scores
    groups: dict[str, str] | None


def scores_of_fold(options: argparse.Namespace, paths: Paths, fold: str, work: Path) -> FoldScores:
    """Train and score all methods on one fold; `work` holds what is written meanwhile."""
    def opened(variant: str, **more: Any) -> Experiment:
        return open_experiment(Request(options.dataset, variant, fold, options.encoder, "samunetPlans",
                                       options.iterations,
                                       shots=SHOTS, draw=DRAW, device=options.device, **more), paths)

    points, in_context, tuned = opened("sam_zeroshot", oracle_prompts="point"), opened("in_context"), opened("fewshot")
    fewshot = trained(tuned, FewshotVariant, work / "fewshot")
    constant = partial(ConstantVariant, kinds=kinds_asking(fewshot.fewshot))
    variants: dict[str, tuple[Experiment, Variant]] = {
        "oracle point": (points, points.build_variant()),
        "in_context": (in_context, trained(in_context, FewshotVariant, work / "in_context")),
        "fewshot": (tuned, fewshot),
        "constant tokens": (tuned, trained(tuned, constant, work / "constant")),
        "swapped tokens": (tuned, altered(fewshot, swap_tokens)),
        "random tokens": (tuned, altered(fewshot, randomize_tokens)),
        "random tokens and guess": (tuned, altered(fewshot, randomize_all)),
    }
    iou, dice = {}, {}
    for method, (experiment, variant) in variants.items():
        say(f"fold {fold}: scoring {method}")
        summary = validate(experiment, variant, work / "scored" / method, workers=1)
        iou[method], dice[method] = (case_scores(summary, metric) for metric in ("IoU", "Dice"))
    return FoldScores(iou, dice, swapped_dice(tuned, work / "scored" / "swapped tokens"),
                      kept_groups(tuned.preprocessed))


def trained(experiment: Experiment, kind: Callable[..., FewshotVariant], folder: Path) -> FewshotVariant:
    """`kind`, trained as long as the experiment's settings say (`in_context`: not at all), its support set."""
    torch.manual_seed(experiment.settings.seed)
    variant = kind(experiment.context)
    batches = variant.batches(experiment.data({"seconds": {}}))
    device = torch.device(experiment.settings.device)
    variant.network.to(device)
    train(variant, batches, experiment.settings.iterations or 0, make_folder(folder), device)
    return variant


def altered(variant: FewshotVariant, change: Callable[[Fewshot], None]) -> FewshotVariant:
    """A copy whose network `change` has changed."""
    copied = deepcopy(variant)
    change(copied.fewshot)
    return copied


def kinds_asking(network: Fewshot) -> Tensor:
    """The kinds of the tokens of each class, int64 (K, T): those of all slices, by the chosen rule."""
    return network.kinds.transpose(0, 1).flatten(1).cpu()


def swap_tokens(network: Fewshot) -> None:
    """Each class is queried with the tokens of the next one, the last with those of the first."""
    network.content, network.kinds = network.content.roll(-1, 1), network.kinds.roll(-1, 1)


def randomize_tokens(network: Fewshot) -> None:
    """Normal random tokens with the mean and standard deviation of the real ones; empty places stay empty."""
    network.content = random_like(network.content, network.content[network.kinds != NO_POINT])


def randomize_all(network: Fewshot) -> None:
    """The guess's weights as well; its biases stay."""
    randomize_tokens(network)
    network.weight = random_like(network.weight, network.weight)


def random_like(values: Tensor, like: Tensor) -> Tensor:
    """Normal float32 numbers of the shape of `values`, with mean and standard deviation of `like`, reproducible."""
    numbers = np.random.default_rng(RANDOM_SEED).standard_normal(tuple(values.shape), np.float32)
    return torch.from_numpy(numbers).to(values) * like.std() + like.mean()


def case_scores(summary: Mapping[str, Any], metric: str) -> Scores:
    """Case -> mean of its foreground classes; a class that neither label nor prediction has does not count."""
    return {Path(case["reference_file"]).name.partition(".")[0]: float(np.nanmean(
                [scores[metric] for label, scores in case["metrics"].items() if label != "0"]))
            for case in summary["metric_per_case"]}


def swapped_dice(experiment: Experiment, predicted: Path) -> Scores:
    """Case -> mean Dice of each class in `predicted` with the label of the next, whose tokens it was queried with."""
    reader, ending = reader_named(experiment.plans.dataset.reader), experiment.dataset.label_ending
    space, found = experiment.dataset.labels, {}
    classes = space.foreground
    for name in experiment.val_cases:
        label, prediction = (reader.read_segmentation(folder / f"{name}{ending}")[0]
                             for folder in (experiment.preprocessed / "gt_segmentations", predicted))
        found[name] = mean(dice(space.mask(prediction, one), space.mask(label, other))
                           for one, other in zip(classes, [*classes[1:], classes[0]], strict=True))
    return found


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Of two masks; 1 where both are empty."""
    total = int(first.sum() + second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def claims(folds: Sequence[FoldScores]) -> list[dict[str, Any]]:
    """A row for each claim, with its criterion and whether it holds."""
    def row(claim: str, metric: str, first: Sequence[Scores], second: Sequence[Scores], asked: str,
            holds: Callable[[float, float, float, float], bool]) -> dict[str, Any]:
        pairs = [paired_differences(one, other, fold.groups) for one, other,
                 fold in zip(first, second, folds, strict=True)]
        means = [mean(mean(scores.values()) for scores in side) for side in (first, second)]
        interval = paired_interval(pairs)
        return {"claim": claim, "metric": metric, "means": means, "difference": vars(interval), "asked": asked,
                "holds": holds(*means, interval.mean, interval.low)}

    def all_of(metric: str, method: str) -> list[Scores]:
        return [getattr(fold, metric)[method] for fold in folds]

    tuned = all_of("dice", "fewshot")
    return [
        row("in_context against one oracle point", "IoU", all_of("iou", "in_context"), all_of("iou", "oracle point"),
            "the interval lies above 0", lambda _first, _second, _mean, low: low > 0),
        row("fewshot against one oracle point", "IoU", all_of("iou", "fewshot"), all_of("iou", "oracle point"),
            f"at least {RATIO} times", lambda first, second, _mean, _low: first >= RATIO * second),
        row("fewshot against constant learned tokens", "Dice", tuned, all_of("dice", "constant tokens"),
            "the interval lies above 0", lambda _first, _second, _mean, low: low > 0),
        row("tokens swapped: against swapped labels, against the true ones", "Dice", [fold.swapped for fold in folds],
            all_of("dice", "swapped tokens"), "the interval lies above 0", lambda _first, _second, _mean, low: low > 0),
        *(row(f"fewshot against itself with {method}", "Dice", tuned, all_of("dice", method), f"at least {LOSS} lost",
              lambda _first, _second, difference, _low: difference >= LOSS)
          for method in ("random tokens", "random tokens and guess")),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--iterations", type=int, help="of both trainings (default: the plan's)")
    parser.add_argument("--final", action="store_true", help="fold 0, once, at the end, instead of folds 1 and 2")
    parser.add_argument("-device", default="cpu")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    made, names = facts(), ["0"] if options.final else ["1", "2"]
    with tempfile.TemporaryDirectory() as work:
        folds = [scores_of_fold(options, resolve_paths(), fold, Path(work) / fold) for fold in names]
    rows = claims(folds)
    for row in rows:
        first, second = row["means"]
        print(f"{'holds ' if row['holds'] else 'MISSED'} {row['claim']}: {row['metric']} {first:.3f} and {second:.3f}, "
              f"{row['difference']['mean']:+.3f} [{row['difference']['low']:+.3f}, {row['difference']['high']:+.3f}]; "
              f"criterion: {row['asked']}")
    methods = {method: {"IoU": [mean(fold.iou[method].values()) for fold in folds],
                        "Dice": [mean(fold.dice[method].values()) for fold in folds]} for method in folds[0].iou}
    append(options.output, made | {"encoder": options.encoder, "iterations": options.iterations, "folds": names,
                                   "shots": SHOTS,
                                   "draw": DRAW, "threads": torch.get_num_threads(), "methods": methods, "rows": rows})


if __name__ == "__main__":
    main()
