"""samunet_benchmark: cross-validate variants, compare them, write a report."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import (
    LARGEST_SEED,
    MOST_ITERATIONS,
    MOST_MINUTES,
    MOST_PROCESSES,
    Distinct,
    fold,
    real,
    shots,
    whole,
)
from samunet.cli.main import command
from samunet.cli.options import (
    DEFAULT_PLANS_NAME,
    add_box_relax,
    add_encoder,
    add_oracle_prompts,
    add_paths,
    add_shot_slices,
    command_parser,
    encoder_of,
)
from samunet.console import result

EXAMPLES = """\
samunet_benchmark -d 4 --folds 0 --shots 5                    every variant, one fold, five labelled cases
samunet_benchmark -d 4 --shots 1 5 all --draws 3              five folds, three draws
samunet_benchmark -d 4 --variants label_prior cnn_head unet --iterations 200
samunet_benchmark -d 4 --scheduler tcp://10.0.0.1:8786        on a running dask cluster"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_benchmark",
        "Train and validate every variant on every fold, number of shots and draw, then compare them.\n"
        "Run the same command again to continue: finished jobs with the same settings are not repeated.",
        EXAMPLES,
    )
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="id or name of a planned dataset")
    parser.add_argument("--variants", nargs="+", action=Distinct, metavar="NAME",
                        help="variants to run (default: all but the largest networks, ux_net, nnformer and swin_unetr; "
                             "promptable ones only with --oracle_prompts)")
    parser.add_argument("--nnunet", nargs="+", action=Distinct, metavar="CONFIGURATION", default=[],
                        choices=("2d", "3d_fullres"),
                        help="also train nnU-Net with the same budget: 2d, 3d_fullres (needs the extra [nnunet])")
    parser.add_argument("--nnunet_results", nargs="+", type=Path, metavar="FOLDER", default=[],
                        help="also import finished nnU-Net results: folders <trainer>__<plans>__<configuration> of "
                             "models that were trained on all cases of the same folds")
    add_oracle_prompts(parser)
    add_box_relax(parser)
    parser.add_argument("--folds", nargs="+", type=fold, action=Distinct, metavar="N",
                        default=["0", "1", "2", "3", "4"], help="folds to run (default: 0 1 2 3 4)")
    parser.add_argument("--shots", nargs="+", type=shots, action=Distinct, metavar="K", default=[None],
                        help="numbers of labelled training cases, or all (default: all)")
    add_shot_slices(parser)
    parser.add_argument("--draws", type=whole(1, 1000), metavar="N", default=1,
                        help="number of draws for each number of shots (default: 1)")
    add_encoder(parser)
    parser.add_argument("-p", dest="plans_name", default=DEFAULT_PLANS_NAME, metavar="PLANS",
                        help="name of the plans (default: %(default)s)")
    parser.add_argument("--minutes_head", type=real(0, MOST_MINUTES, above=True), metavar="M",
                        help="training time of a head in minutes (default: the number of iterations in the plans)")
    parser.add_argument("--minutes_network", type=real(0, MOST_MINUTES, above=True), metavar="M",
                        help="training time of a network in minutes (default: the variant's number of iterations)")
    parser.add_argument("--iterations", type=whole(1, MOST_ITERATIONS), metavar="N",
                        help="train every job for this number of iterations instead")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="S",
                        help="seed of weights and batches (default: 0)")
    parser.add_argument("--reference", metavar="NAME",
                        help="method that all others are compared with (default: label_prior)")
    parser.add_argument("--workers", type=whole(1, MOST_PROCESSES), metavar="N",
                        help="number of jobs that run in parallel on this machine and share its cores (default: 1)")
    parser.add_argument("--scheduler", metavar="ADDRESS",
                        help="address of a running dask scheduler, such as tcp://HOST:8786")
    parser.add_argument("-device", default=None, metavar="NAME",
                        help="cpu, cuda or mps (default: cuda if available, else cpu)")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    encoder_of(options)
    from samunet.api.benchmarking import benchmark

    command_line = shlex.join(["samunet_benchmark", *(sys.argv[1:] if arguments is None else arguments)])
    folder = benchmark(
        options.dataset, variants=options.variants, folds=options.folds, shots=options.shots, draws=options.draws,
        shot_slices=options.shot_slices, nnunet=options.nnunet, nnunet_results=options.nnunet_results,
        minutes_head=options.minutes_head, minutes_network=options.minutes_network, iterations=options.iterations,
        reference=options.reference, oracle_prompts=options.oracle_prompts, box_relax=options.box_relax,
        encoder=options.encoder, plans_name=options.plans_name, seed=options.seed, device=options.device,
        workers=options.workers, scheduler=options.scheduler, command=command_line, raw=options.raw,
        preprocessed=options.preprocessed, results=options.results)
    result(f"benchmark: {folder}")
