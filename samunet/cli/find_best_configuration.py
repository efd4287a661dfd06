"""samunet_find_best_configuration: the best of what is trained, or a variant chosen before the final training."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from samunet.benchmarking.ladder import BASELINES, FEWEST_PATIENTS, FIXED, LADDER
from samunet.cli.figures import LARGEST_SEED, MOST_CASES, MOST_ITERATIONS, MOST_MINUTES, Distinct, fold, real, whole
from samunet.cli.main import command
from samunet.cli.options import (
    DEFAULT_PLANS_NAME,
    add_encoder,
    add_paths,
    add_workers,
    command_parser,
    encoder_of,
    paths_of,
    workers_of,
)
from samunet.console import result, say
from samunet.errors import UserError
from samunet.variants.registry import entry

DEFAULT_MINUTES = 60.0
DEFAULT_FOLDS = ("0", "1", "2", "3", "4")
# Flags that have a meaning in one of the two forms only.
OF_SEARCH = ("shots", "draw", "minutes", "iterations", "encoder", "seed", "device")
OF_TRAINED = ("workers", "disable_ensembling", "no_overwrite")
FLAGS = {"device": "-device", "workers": "-np"}

EXAMPLES = """\
samunet_find_best_configuration 4                           all trained variants and pairs of them, five folds
samunet_find_best_configuration 4 -v hybrid unet -f 0 1 --disable_ensembling
samunet_find_best_configuration -d 4 --shots 5              five labelled cases, an hour
samunet_find_best_configuration -d 4 -f 0 --minutes 240     all training cases of fold 0, none of its validation cases
samunet_find_best_configuration -d 4 --shots 5 --variants cnn_head hybrid --iterations 100"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_find_best_configuration",
        "With DATASET: compare what is trained, single models and ensembles of two, by the validation of their folds,\n"
        "determine post-processing of the best, and print the commands that use it.\n"
        "\n"
        "With -d: choose a variant by cross-validation on the labelled cases, then train it on all of them for "
        "samunet_predict.\n"
        "After each round, the better half of the variants continues with twice the training time.\n"
        f"With fewer than {FEWEST_PATIENTS} patients there is no cross-validation: {FIXED} is trained.\n"
        "Run the same command again to continue an interrupted search.",
        EXAMPLES,
    )
    parser.add_argument("trained", nargs="?", metavar="DATASET",
                        help="id or name of a dataset with trained models to compare")
    parser.add_argument("-d", dest="dataset", metavar="ID", help="id or name of a planned dataset to search")
    parser.add_argument("-f", dest="folds", nargs="+", type=fold, action=Distinct, metavar="FOLD",
                        help="with DATASET: the folds to compare (default: 0 1 2 3 4); with -d: use only the training "
                             "cases of this fold (default: all labelled cases)")
    parser.add_argument("--shots", type=whole(1, MOST_CASES), metavar="K",
                        help="number of labelled cases to use (default: all of the fold)")
    parser.add_argument("--draw", type=whole(0, MOST_CASES), default=0, metavar="N",
                        help="which draw of K cases to use (default: 0)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=real(0, MOST_MINUTES, above=True), metavar="M", default=DEFAULT_MINUTES,
                        help="total training time of all rounds in minutes (default: %(default)g). Encoding, "
                             "validation and the training of the chosen variant are not included")
    length.add_argument("--iterations", type=whole(1, MOST_ITERATIONS), metavar="N",
                        help="iterations of each run in the first round, instead of --minutes; each round doubles them")
    parser.add_argument("-v", "-c", "--variants", dest="variants", nargs="+", action=Distinct, metavar="NAME",
                        help="candidates (default: with DATASET all that have the folds, with -d "
                             f"{' '.join((*BASELINES, *LADDER))})")
    add_encoder(parser)
    parser.add_argument("-p", dest="plans_names", nargs="+", action=Distinct, default=[DEFAULT_PLANS_NAME],
                        metavar="PLANS", help=f"names of plans, with -d one (default: {DEFAULT_PLANS_NAME})")
    parser.add_argument("--disable_ensembling", action="store_true", help="with DATASET: compare single models only")
    parser.add_argument("--no_overwrite", action="store_true",
                        help="with DATASET: use merged folds and ensembles of an earlier call as they are")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="S",
                        help="seed of weights and batches (default: 0)")
    parser.add_argument("-device", default=None, metavar="NAME",
                        help="cpu, cuda or mps (default: cuda if available, else cpu)")
    add_workers(parser)
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    known = parser()
    options = known.parse_args(arguments)
    _require_one_form(options, known)
    if options.trained is not None:
        _compare(options)
    else:
        _search(options, shlex.join(["samunet_find_best_configuration",
                                     *(sys.argv[1:] if arguments is None else arguments)]))


def _require_one_form(options: argparse.Namespace, known: argparse.ArgumentParser) -> None:
    """Check that the flags are of one of the two forms.

    Raises:
        UserError: both DATASET and -d, neither, or flags of the other form.
    """
    rule = "Give either DATASET, to compare what is trained, or -d, to search before training."
    if (options.trained is None) == (options.dataset is None):
        raise UserError(rule, where="samunet_find_best_configuration",
                        found="neither" if options.trained is None else f"{options.trained} and -d {options.dataset}",
                        mend="Leave one of them out." if options.dataset else "Add one of them.")
    strange = [FLAGS.get(name, f"--{name}") for name in
               (OF_SEARCH if options.trained is not None else OF_TRAINED)
               if getattr(options, name) != known.get_default(name)]
    if options.dataset is not None:
        strange += [f"{flag} with several values" for flag, values in
                    (("-f", options.folds), ("-p", options.plans_names)) if len(values or ()) > 1]
    if strange:
        raise UserError(rule, where="samunet_find_best_configuration", found=", ".join(strange),
                        mend="Leave these out; they belong to the other form.")


def _compare(options: argparse.Namespace) -> None:
    for name in options.variants or ():
        entry(name)  # reports a wrong name with the known ones
    from samunet.selection.best import Comparison, find_best_trained

    comparison = Comparison(
        options.trained, tuple(options.folds or DEFAULT_FOLDS), tuple(options.plans_names),
        tuple(options.variants) if options.variants else None, not options.disable_ensembling,
        not options.no_overwrite)
    instructions = find_best_trained(comparison, paths_of(options), workers_of(options))
    say(instructions.read_text(encoding="utf-8"))
    result(f"commands: {instructions}")


def _search(options: argparse.Namespace, typed: str) -> None:
    encoder_of(options)
    from samunet.api.defaults import default_device
    from samunet.benchmarking.choice import Search, find_best

    search = Search(
        dataset=options.dataset, fold=options.folds[0] if options.folds else "all",
        variants=tuple(options.variants or (*BASELINES, *LADDER)), encoder=options.encoder,
        plans_name=options.plans_names[0], device=options.device or default_device(), shots=options.shots,
        draw=options.draw, seed=options.seed, minutes=options.minutes if options.iterations is None else None,
        iterations=options.iterations)
    result(find_best(search, paths_of(options), typed))
