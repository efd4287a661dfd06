"""samunet_find_best_configuration: choose a variant for few labels, by cross-validation on the labelled cases alone."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from samunet.benchmark.ladder import BASELINES, FEWEST_PATIENTS, FIXED, LADDER
from samunet.cli.figures import LARGEST_SEED, MOST_CASES, MOST_ITERATIONS, MOST_MINUTES, Distinct, fold, real, whole
from samunet.cli.main import command
from samunet.cli.options import DEFAULT_PLANS_NAME, add_encoder, add_paths, command_parser, encoder_of, paths_of
from samunet.console import result

DEFAULT_MINUTES = 60.0

EXAMPLES = """\
samunet_find_best_configuration -d 4 --shots 5              five labelled cases, an hour
samunet_find_best_configuration -d 4 -f 0 --minutes 240     all training cases of fold 0, none of its validation cases
samunet_find_best_configuration -d 4 --shots 5 --variants cnn_head hybrid --iterations 100"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_find_best_configuration",
        "Choose a variant by cross-validation on the labelled cases, then train it on all of them for "
        "samunet_predict.\n"
        "After each round, the better half of the variants continues with twice the training time.\n"
        f"With fewer than {FEWEST_PATIENTS} patients there is no cross-validation: {FIXED} is trained.\n"
        "Run the same command again to continue an interrupted search.",
        EXAMPLES,
    )
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="id or name of a planned dataset")
    parser.add_argument("-f", dest="fold", type=fold, default="all", metavar="FOLD",
                        help="use only the training cases of this fold (default: all labelled cases)")
    parser.add_argument("--shots", type=whole(1, MOST_CASES), metavar="K",
                        help="number of labelled cases to use (default: all of the fold)")
    parser.add_argument("--draw", type=whole(0, MOST_CASES), default=0, metavar="N",
                        help="which draw of K cases to use (default: 0)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=real(0, MOST_MINUTES, above=True), metavar="M", default=DEFAULT_MINUTES,
                        help="total training time of all rounds in minutes (default: %(default)g). Encoding, "
                             "validation "
                             "and the training of the chosen variant are not included")
    length.add_argument("--iterations", type=whole(1, MOST_ITERATIONS), metavar="N",
                        help="iterations of each run in the first round, instead of --minutes; each round doubles them")
    parser.add_argument("--variants", nargs="+", action=Distinct, metavar="NAME", default=[*BASELINES, *LADDER],
                        help=f"candidates (default: {' '.join((*BASELINES, *LADDER))})")
    add_encoder(parser)
    parser.add_argument("-p", dest="plans_name", default=DEFAULT_PLANS_NAME, metavar="PLANS",
                        help="name of the plans (default: %(default)s)")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="S",
                        help="seed of weights and batches (default: 0)")
    parser.add_argument("-device", default=None, metavar="NAME",
                        help="cpu, cuda or mps (default: cuda if available, else cpu)")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    encoder_of(options)
    from samunet.api.defaults import default_device
    from samunet.benchmark.choice import Search, find_best

    search = Search(
        dataset=options.dataset, fold=options.fold, variants=tuple(options.variants), encoder=options.encoder,
        plans_name=options.plans_name, device=options.device or default_device(), shots=options.shots,
        draw=options.draw, seed=options.seed, minutes=options.minutes if options.iterations is None else None,
        iterations=options.iterations)
    typed = shlex.join(["samunet_find_best_configuration", *(sys.argv[1:] if arguments is None else arguments)])
    result(find_best(search, paths_of(options), typed))
