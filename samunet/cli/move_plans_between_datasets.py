"""samunet_move_plans_between_datasets: one dataset's plans for another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samunet.cli.main import command
from samunet.cli.options import add_paths, command_parser, paths_of
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_move_plans_between_datasets",
        "Write the plans of one dataset for another, so that a model pretrained on the first fits the second.\n"
        "samunet_preprocess -d TARGET -plans_name TARGET_PLANS goes on from there. The target's fingerprint and\n"
        "splits come from samunet_plan_experiment -d TARGET.",
        "samunet_move_plans_between_datasets -s 4 -t 27 -sp samunetPlans -tp plansOf4",
    )
    parser.add_argument("-s", dest="source", required=True, metavar="DATASET",
                        help="dataset that is planned, by id or name")
    parser.add_argument("-t", dest="target", required=True, metavar="DATASET",
                        help="dataset that receives the plans, by id or name")
    parser.add_argument("-sp", dest="source_plans", required=True, metavar="NAME", help="name of the plans to move")
    parser.add_argument("-tp", dest="target_plans", metavar="NAME",
                        help="name of the plans in the target's folder (default: the same)")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.planning.moved_plans import move_plans

    path = move_plans(paths_of(options), options.source, options.target, options.source_plans,
                      options.target_plans or options.source_plans)
    result(f"plans: {path}")
