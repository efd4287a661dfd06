"""The gain of training the encoder: heads on frozen encoders, few labelled cases, paired over draws and patients.

    samunet_plan_and_preprocess -d 4 --no_embeddings
    python studies/encoder_gain.py -d 4 --output studies/results/encoder_gain.jsonl --markdown gain.md

Draw d is trained and validated on fold d + 1, for d = 0 to 3; `--final` takes draw 0 on fold 0 instead, which is looked
at once, at the end. Every job is `samunet_train` with the same number of iterations for each encoder, at most a minute
of one thread for each head; a finished job of the same settings is kept and read, so a call that is repeated only
reads. Dice is nnU-Net's, the mean over foreground classes of each case; a gain is the mean difference of two encoders
(or of an encoder and label_prior) on the same cases, with the 95 % interval of `samunet.evaluation.statistics`.

The first of `--encoders` is compared with the others, which are planned for if they have not been. Validation reads the
embeddings that the first head's job cached, so only that job encodes. Several processes may share the work if each
takes draws of its own (`--draws 0 1`, `--draws 2 3`) and has a samunet_preprocessed of its own, with one
samunet_results.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from draws import add_draws, draws_of, fold_of, rule_text
from record import append, facts

from samunet.cli.plan_experiment import main as plan
from samunet.cli.train import main as train
from samunet.dataset.paths import Paths, find_dataset, resolve_paths
from samunet.evaluation.statistics import Interval, paired_differences, paired_interval
from samunet.files import read_json, whole_file
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.groups import kept_groups
from samunet.planning.plans import Plans

PLANS = "samunetPlans"
# About a minute of one thread of a slow core at most, for the first a few seconds; the same for every encoder.
ITERATIONS = {"probe": 400, "linear_head": 300, "cnn_head": 45, "autosam": 150}
PRIOR = "label_prior"
PRIOR_ENCODER = "untrained"  # of whose plans label_prior takes the grid, which is the same for all


@dataclass(frozen=True)
class Row:
    """One head on one encoder at one number of shots: for each draw, each case's Dice and the run's record."""

    encoder: str
    head: str
    shots: int
    dice: dict[int, dict[str, float]] = field(default_factory=dict)
    runs: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def draws(self) -> dict[int, float]:
        """Mean Dice of each draw."""
        return {draw: mean(cases.values()) for draw, cases in self.dice.items()}

    @property
    def mean(self) -> float:
        """Mean Dice, each draw weighing the same."""
        return mean(self.draws.values())

    def content(self) -> dict[str, Any]:
        """What is recorded."""
        runs = self.runs.values()
        return {
            "encoder": self.encoder, "head": self.head, "shots": self.shots, "dice": self.mean, "draws": self.draws,
            "most_training_seconds": max(run["seconds"]["training"] for run in runs),
            "iterations": sorted({run["settings"]["iterations"] for run in runs}),
            "views": sorted({run.get("views", 0) for run in runs}),
            "threads": sorted({run["threads"] for run in runs}),
            "device": sorted({run["hardware"]["device"] for run in runs}),
            "encoder_digest": sorted({str(run["encoder"]["digest"]) for run in runs}),
        }


@dataclass(frozen=True)
class Gain:
    """What the first encoder is above another, under one head."""

    head: str
    shots: int
    against: str
    interval: Interval


def main() -> None:
    options = parsed()
    paths = resolve_paths()
    preprocessed = paths.preprocessed / find_dataset(paths.raw, options.dataset).name
    for encoder in (*options.encoders, PRIOR_ENCODER):
        ensure_planned(options.dataset, encoder, preprocessed / f"{PLANS}.json")
    rows = [figures(options, paths, *job) for job in jobs(options)]
    gains = list(gains_of(options.encoders[0], rows, kept_groups(preprocessed)))
    made = facts() | {"final": options.final}
    text = markdown(options, rows, gains, made)
    print(text)
    if options.markdown:
        with whole_file(options.markdown) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    each = [{"head": gain.head, "shots": gain.shots, "encoder": options.encoders[0], "against": gain.against,
             **vars(gain.interval)} for gain in gains]
    append(options.output, made | {"rows": [row.content() for row in rows], "gains": each})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--encoders", nargs="+", default=["mini", "untrained", "pixels"])
    parser.add_argument("--heads", nargs="+", choices=ITERATIONS, default=list(ITERATIONS))
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--iterations", nargs="+", type=head_iterations, default=[], metavar="HEAD=N",
                        help="other counts, as in cnn_head=150 (default: "
                             + " ".join(f"{head}={count}" for head, count in ITERATIONS.items()) + ")")
    add_draws(parser)
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    parser.add_argument("--markdown", type=Path, help="the tables are written")
    options = parser.parse_args()
    options.draws = draws_of(options)
    options.iterations = ITERATIONS | dict(options.iterations)
    return options


def head_iterations(text: str) -> tuple[str, int]:
    """An argparse type: HEAD=N."""
    head, _, count = text.partition("=")
    if head not in ITERATIONS or not count.isdigit() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"must be HEAD=N with HEAD of {', '.join(ITERATIONS)}, not {text}")
    return head, int(count)


def ensure_planned(dataset: str, encoder: str, plans: Path) -> None:
    """A section for `encoder`; planning for another encoder touches nothing else, and all of them share the arrays."""
    planned = encoder_spec(encoder).id in Plans.load(plans).encoders
    if not planned and (code := plan(["-d", dataset, "--encoder", encoder])):
        sys.exit(code)


def jobs(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """(encoder, head, shots), label_prior first."""
    for shots in options.shots:
        yield PRIOR_ENCODER, PRIOR, shots
        for encoder in options.encoders:
            for head in options.heads:
                yield encoder, head, shots


def figures(options: argparse.Namespace, paths: Paths, encoder: str, head: str, shots: int) -> Row:
    """Train (or find trained) one head on all draws, and read their figures."""
    row = Row("" if head == PRIOR else encoder, head, shots)
    name = find_dataset(paths.raw, options.dataset).name
    model = paths.results / name / f"{head}__{PLANS}__{encoder_spec(encoder).id}"
    for draw in options.draws:
        fold = fold_of(draw, options.final)
        folder = model / f"shots{shots}_draw{draw}" / f"fold_{fold}"
        request = [options.dataset, head, fold, "--encoder", encoder, "--shots", str(shots), "--draw", str(draw), "-np",
                   "1"]
        if head != PRIOR:
            request += ["--iterations", str(options.iterations[head])]
        # --c keeps a finished run of the same settings; where there is none, train.
        if (not folder.exists() or train([*request, "--c"])) and (code := train(request)):
            sys.exit(code)
        row.runs[draw] = read_json(folder / "run.json")
        row.dice[draw] = case_dice(read_json(folder / "validation" / "summary.json"))
    return row


def case_dice(summary: dict[str, Any]) -> dict[str, float]:
    """Case file -> mean Dice of its foreground classes.

    A class that neither label nor prediction has does not count.
    """
    return {
        Path(case["reference_file"]).name.partition(".")[0]: float(np.nanmean([
            metrics["Dice"] for label, metrics in case["metrics"].items() if label != "0"
        ]))
        for case in summary["metric_per_case"]
    }


def gains_of(first: str, rows: list[Row], groups: dict[str, str] | None) -> Iterator[Gain]:
    """The first encoder against each other one and against label_prior, for every head and number of shots."""
    for row in rows:
        if row.encoder != first:
            continue
        for other in rows:
            if other.shots == row.shots and other is not row and other.head in (row.head, PRIOR):
                pairs = [paired_differences(row.dice[draw], other.dice[draw], groups) for draw in row.dice]
                yield Gain(row.head, row.shots, other.encoder or PRIOR, paired_interval(pairs))


def markdown(options: argparse.Namespace, rows: list[Row], gains: list[Gain], made: dict[str, Any]) -> str:
    """Two tables for each number of shots, Dice and gains, and what they were made with."""
    first, others = options.encoders[0], [*options.encoders[1:], PRIOR]
    where = rule_text(options.draws, options.final)
    lines = []
    for shots in options.shots:
        mine = {(row.encoder, row.head): row for row in rows if row.shots == shots}
        prior = mine["", PRIOR]
        lines += [f"Dice, {shots} shot{'s' if shots > 1 else ''}, {where}: mean (each draw)", "",
                  "| head | " + " | ".join(options.encoders) + " |", "|---|" + "---|" * len(options.encoders)]
        lines += [f"| `{head}` | " + " | ".join(_cell(mine[encoder, head]) for encoder in options.encoders) + " |"
                  for head in options.heads]
        lines += ["", f"`{PRIOR}`, which never looks at the image: {_cell(prior)}.", "",
                  f"Gain of `{first}`, paired, with 95 % interval", "",
                  "| head | " + " | ".join(f"over {other}" for other in others) + " |", "|---|" + "---|" * len(others)]
        found = {(gain.head, gain.against): str(gain.interval) for gain in gains if gain.shots == shots}
        lines += [f"| `{head}` | " + " | ".join(found[head, other] for other in others) + " |"
                  for head in options.heads]
        lines += [""]
    heads = [row.content() for row in rows if row.head != PRIOR]
    seconds = {head: max(row["most_training_seconds"] for row in heads if row["head"] == head)
               for head in options.heads}
    lines += ["Iterations, and the most seconds of training: "
              + ", ".join(f"`{head}` {options.iterations[head]}, {seconds[head]:.0f} s" for head in options.heads)
              + f"; {_distinct(heads, 'threads')} thread(s), device {_distinct(heads, 'device')}; views a case: "
              + "; ".join(f"{shots} shot{'s' if shots > 1 else ''}: " + ", ".join(
                  f"{encoder} "
                  + _distinct([row for row in heads if (row['encoder'], row['shots']) == (encoder, shots)], 'views')
                  for encoder in options.encoders) for shots in options.shots) + ".",
              f"`{made['command']}` at commit {made['commit'][:7]}."]
    return "\n".join(lines)


def _cell(row: Row) -> str:
    return f"{row.mean:.3f} ({', '.join(f'{dice:.3f}' for dice in row.draws.values())})"


def _distinct(rows: list[dict[str, Any]], key: str) -> str:
    return " and ".join(map(str, sorted({value for row in rows for value in row[key]})))


if __name__ == "__main__":
    main()
