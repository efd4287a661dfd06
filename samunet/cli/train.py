"""samunet_train: train one fold of a variant and validate it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from samunet import signals
from samunet.cli.entry import run as run_command
from samunet.cli.figures import (
    LARGEST_SEED,
    MOST_CASES,
    MOST_ITERATIONS,
    MOST_MINUTES,
    MOST_PROCESSES,
    fold,
    real,
    whole,
)
from samunet.cli.main import command
from samunet.cli.options import (
    DEFAULT_PLANS_NAME,
    add_box_relax,
    add_encoder,
    add_logger,
    add_oracle_prompts,
    add_paths,
    add_shot_slices,
    add_workers,
    command_parser,
    encoder_of,
)
from samunet.console import result, say
from samunet.variants.registry import entry, listed, parsed_settings, variant_class
from samunet.variants.settings import described

EXAMPLES = """\
samunet_train 4 cnn_head 0                       fold 0, planned number of iterations
samunet_train 4 autosam 0 --shots 5 --draw 1     five labelled cases
samunet_train 4 cnn_head all --minutes 3         all cases, three minutes
samunet_train 4 hybrid 0 --transport off         without registered labels
samunet_train 4 sam_zeroshot 0 --oracle_prompts  no training; one point for each slice and class, from the labels
samunet_train 4 3d_adapter_box 0 --oracle_prompts box3d --box_relax 10
                                                 boxes around the labels, 10 % larger on each side
samunet_train 4 lora 0 --set rank=8              a setting of the variant
samunet_train --list                             list the variants
samunet_train --list lora                        list its settings"""


class _List(argparse.Action):
    """`--list` needs no positional arguments, like --help."""

    def __call__(self, parser, namespace, values, option_string=None):  # type: ignore[no-untyped-def]
        if values is not None:
            result(settings_of(values))
            parser.exit()
        variants = listed()
        width = max(map(len, variants))
        result("\n".join(f"{name:<{width}}  {help_text}" for name, help_text in variants.items()))
        parser.exit()


def settings_of(variant: str) -> str:
    """A variant's help and its settings, one a line.

    Raises:
        UserError: unknown variant.
    """
    lines = list(described(variant_class(variant).settings_type))
    return "\n".join([f"{variant}: {entry(variant).help}",
                      *(f"  --set {line}" for line in lines or ["... it has no settings"])])


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_train",
        "Train one fold of a variant, then predict and evaluate its validation cases.\n"
        "Run the same command again to continue an interrupted run.",
        EXAMPLES,
    )
    parser.add_argument("dataset", metavar="DATASET", help="dataset id or name, e.g. 4 or Dataset004_Hippocampus")
    parser.add_argument("variant", metavar="VARIANT", help=f"one of {', '.join(listed())}")
    parser.add_argument("fold", type=fold, metavar="FOLD",
                        help="0, 1, ... or all (train and validate on every labelled case)")
    parser.add_argument("--list", action=_List, nargs="?", metavar="VARIANT",
                        help="list the variants with a description, or the settings of one")
    add_encoder(parser)
    parser.add_argument("-p", dest="plans_name", default=DEFAULT_PLANS_NAME, metavar="PLANS",
                        help="name of the plans (default: %(default)s)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=whole(1, MOST_ITERATIONS // 50), metavar="N",
                        help="training length in epochs of 50 iterations")
    length.add_argument("--iterations", type=whole(1, MOST_ITERATIONS), metavar="N",
                        help="training length in iterations (default: from the plans)")
    length.add_argument("--minutes", type=real(0, MOST_MINUTES, above=True), metavar="M",
                        help="training length in minutes; converted to iterations once, by the speed of this machine")
    parser.add_argument("--shots", type=whole(1, MOST_CASES), metavar="K",
                        help="number of labelled training cases to use (default: all)")
    parser.add_argument("--draw", type=whole(0, MOST_CASES), default=0, metavar="N",
                        help="which draw of K cases to use (default: 0)")
    add_shot_slices(parser)
    parser.add_argument("--support", type=Path, metavar="FILE",
                        help="JSON file with the support slices (fewshot, in_context; "
                             "documentation/explanation/variants.md) (default: chosen automatically)")
    parser.add_argument("--set", action="append", dest="settings", default=[], metavar="NAME=VALUE",
                        help="a setting of the variant, repeatable; --list VARIANT lists them")
    parser.add_argument("--transport", metavar="MODE",
                        help="how hybrid uses transported labels, as --set transport=MODE: off, augment, prior, "
                             "selftrain, teacher (documentation/explanation/variants.md) (default: prior)")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="S",
                        help="seed of weights and batches (default: 0)")
    parser.add_argument("-pretrained_weights", type=Path, metavar="FILE",
                        help="checkpoint_final.safetensors of the same variant to start from")
    prompts = parser.add_mutually_exclusive_group()
    prompts.add_argument("--prompts", type=Path, metavar="FILE",
                         help="JSON file with points and boxes for the validation cases (promptable variants; "
                              "documentation/how-to/prompts.md)")
    add_oracle_prompts(prompts)
    add_box_relax(parser)
    sitting = parser.add_mutually_exclusive_group()
    sitting.add_argument("--c", action="store_true", dest="must_continue",
                         help="continue a run; fail if no run with the same settings exists")
    sitting.add_argument("--val", action="store_true", help="only repeat the validation of a finished run")
    parser.add_argument("--npz", action="store_true", help="also save the probabilities of the validation cases")
    add_logger(parser)
    parser.add_argument("-device", default=None, metavar="NAME",
                        help="cpu, cuda or mps (default: cuda if available, else cpu)")
    parser.add_argument("-num_gpus", type=whole(1, MOST_PROCESSES), default=1, metavar="N",
                        help="number of GPUs (on a CPU: processes) that share each batch, by torchrun (default: 1)")
    add_workers(parser)
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    if entry(options.variant).needs_encoder:  # reports a wrong name before torch is loaded
        encoder_of(options)
    # one process validates, as after training
    if options.num_gpus > 1 and not options.val and "RANK" not in os.environ:
        launch(options.num_gpus, sys.argv[1:] if arguments is None else arguments)
        return
    given = options.settings + ([f"transport={options.transport}"] if options.transport else [])
    settings = parsed_settings(options.variant, given)
    from samunet.api.training import train

    run = train(
        options.dataset, options.variant, options.fold, iterations=options.iterations, epochs=options.epochs,
        minutes=options.minutes, shots=options.shots, draw=options.draw, shot_slices=options.shot_slices,
        support=options.support, settings=settings, seed=options.seed, pretrained_weights=options.pretrained_weights,
        prompts=options.prompts, oracle_prompts=options.oracle_prompts, box_relax=options.box_relax,
        probabilities=options.npz, must_continue=options.must_continue, only_validate=options.val,
        encoder=options.encoder, plans_name=options.plans_name, device=options.device, workers=options.workers,
        loggers=options.loggers,
        raw=options.raw, preprocessed=options.preprocessed, results=options.results)
    if run.text:
        result(run.text)


def launch(processes: int, arguments: Sequence[str]) -> None:
    """Run this command in several processes of this machine; exits with the code of the first that failed."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(["--standalone", "--nproc-per-node", str(processes), "-m", "samunet.cli.train", *arguments])
    except ChildFailedError as fault:
        sys.exit(fault.get_first_failure()[1].exitcode)
    except SignalException as fault:  # torchrun has a handler of its own, and has ended the processes
        say(signals.MESSAGE)
        sys.exit(128 + fault.sigval)


if __name__ == "__main__":  # torchrun -m samunet.cli.train
    sys.exit(run_command("train"))
