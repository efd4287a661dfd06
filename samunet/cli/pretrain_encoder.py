"""samunet_pretrain_encoder: train a mini SAM on made images."""

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
    parser = command_parser(
        "samunet_pretrain_encoder",
        "Train a complete mini SAM (image encoder, prompt encoder, mask decoder) on made anatomies; no data are needed. "
        "A run that was stopped goes on when the same command is given again.",
        "samunet_pretrain_encoder -o my_encoder",
    )
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER",
                        help="where state, log.jsonl, mini.safetensors and its card mini.json go")
    parser.add_argument("--phases", nargs="+", default=DEFAULT_PHASES, metavar="SIZE:STEPS:FAMILIES[:PART]",
                        help="side of the pictures, steps, families of 4 patients x 2 slices a step, and what is trained: all "
                        "(default), encoder (by the losses that need no mask decoder) or decoder (the encoder stands still) "
                        f"(default: {' '.join(DEFAULT_PHASES)}, hours on a CPU); a run that goes on may have other steps")
    parser.add_argument("--without", nargs="+", action=Distinct, default=(), choices=LOSSES, metavar="LOSS",
                        help=f"losses to leave out, of {', '.join(LOSSES)}")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, help="of weights beside the SAM and of all pictures (default: 0)")
    parser.add_argument("-device", default=None, choices=("cpu", "cuda"), help="default: cuda where there is one")
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    import torch

    from samunet.files import require_writable
    from samunet.inference.model_folder import chosen_device
    from samunet.locks import owned
    from samunet.pretraining.export import export
    from samunet.pretraining.pretrainer import Pretrainer

    losses = tuple(loss for loss in LOSSES if loss not in options.without)
    if not losses:
        raise UserError("At least one loss must train.", where="--without", found=" ".join(options.without),
                        mend="Leave one out of the list.")
    recipe = Recipe(tuple(Phase.parse(phase) for phase in options.phases), options.seed, losses)
    device = torch.device(chosen_device(options.device))
    given = sys.argv[1:] if arguments is None else arguments
    with owned(require_writable(options.output) / ".pretraining.lock", options.output):
        pretrainer = Pretrainer(recipe, options.output, device)
        pretrainer.run()
        weights = export(pretrainer, shlex.join(["samunet_pretrain_encoder", *given]))
    result(f"{weights}: use it with --encoder {weights}")
