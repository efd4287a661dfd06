"""samunet_pretrain_encoder: train a mini SAM on synthetic images."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import LARGEST_SEED, Distinct, whole
from samunet.cli.main import command
from samunet.cli.options import command_parser
from samunet.console import result
from samunet.errors import UserError
from samunet.pretraining.recipe import LOSSES, Phase, Recipe

DEFAULT_PHASES = ("128:2400:2", "256:500:1", "128:500:2:decoder", "256:1250:1:decoder")


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_pretrain_encoder",
        "Train a complete mini SAM (image encoder, prompt encoder, mask decoder) on synthetic anatomies.\n"
        "It needs no data. Run the same command again to continue an interrupted run.",
        "samunet_pretrain_encoder -o my_encoder",
    )
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER",
                        help="folder that receives the state, log.jsonl, mini.safetensors and its card mini.json")
    parser.add_argument("--phases", nargs="+", default=DEFAULT_PHASES, metavar="SIZE:STEPS:FAMILIES[:PART]",
                        help="for each phase: image size in pixels, number of steps, families per step (a family is "
                        "4 patients x 2 slices), and the part to train: all (default), encoder (only losses without "
                        "the "
                        "mask decoder) or decoder (frozen encoder). The number of steps may change when a run "
                        "continues "
                        f"(default: {' '.join(DEFAULT_PHASES)}, which takes hours on a CPU)")
    parser.add_argument("--without", nargs="+", action=Distinct, default=(), choices=LOSSES, metavar="LOSS",
                        help=f"losses to leave out; choose from {', '.join(LOSSES)}")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0,
                        help="seed of the auxiliary weights and of all synthetic images (default: 0)")
    parser.add_argument("-device", default=None, choices=("cpu", "cuda"),
                        help="cpu or cuda (default: cuda if available, else cpu)")
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    import torch

    from samunet.files import require_writable
    from samunet.inference.model_folder import chosen_device
    from samunet.locks import owned
    from samunet.pretraining.export import export
    from samunet.pretraining.pretrainer import Pretrainer

    losses = tuple(loss for loss in LOSSES if loss not in options.without)
    if not losses:
        raise UserError("At least one loss must be used.", where="--without", found=" ".join(options.without),
                        mend="Remove at least one loss from the list.")
    recipe = Recipe(tuple(Phase.parse(phase) for phase in options.phases), options.seed, losses)
    device = torch.device(chosen_device(options.device))
    given = sys.argv[1:] if arguments is None else arguments
    with owned(require_writable(options.output) / ".pretraining.lock", options.output):
        pretrainer = Pretrainer(recipe, options.output, device)
        pretrainer.run()
        weights = export(pretrainer, shlex.join(["samunet_pretrain_encoder", *given]))
    result(f"{weights}: select it with --encoder {weights}")
