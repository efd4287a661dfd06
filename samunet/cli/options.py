"""Options that several commands share, with the same name, help text and meaning everywhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from samunet.cli.figures import MOST_CASES, MOST_PROCESSES, Distinct, real, whole
from samunet.planning.cache_rules import CACHE_DTYPES, DEFAULT_CACHE_DTYPE
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.preprocessing.prompts.kinds import DEFAULT_KIND, PROMPT_KINDS

if TYPE_CHECKING:
    from samunet.dataset.paths import Paths
    from samunet.planning.encoder_spec import EncoderSpec

DEFAULT_PLANS_NAME = "samunetPlans"
DEFAULT_MEMORY_TARGET_GB = 8.0


def command_parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser for console script `name`, with `examples`, one or more lines, below its help."""
    heading = "examples" if "\n" in examples else "example"
    return argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog=f"{heading}:\n{indent(examples, '  ')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_datasets(parser: argparse.ArgumentParser) -> None:
    """`-d`: one or more datasets, as `options.datasets`."""
    parser.add_argument(
        "-d",
        dest="datasets",
        nargs="+",
        action=Distinct,
        required=True,
        metavar="ID",
        help="one or more dataset ids (4, 004) or names (Dataset004_Hippocampus)",
    )


def add_paths(parser: argparse.ArgumentParser) -> None:
    """`--raw --preprocessed --results`; read them with `paths_of`."""
    group = parser.add_argument_group("folders (default: the environment variables in parentheses)")
    group.add_argument("--raw", type=Path, metavar="FOLDER", help="raw datasets (samunet_raw, else nnUNet_raw)")
    group.add_argument(
        "--preprocessed",
        type=Path,
        metavar="FOLDER",
        help="fingerprints, plans, arrays, embeddings (samunet_preprocessed)",
    )
    group.add_argument("--results", type=Path, metavar="FOLDER", help="trained models (samunet_results)")


def paths_of(options: argparse.Namespace) -> Paths:
    """The three folders from the flags, else the environment, else the default."""
    from samunet.dataset.paths import resolve_paths

    return resolve_paths(options.raw, options.preprocessed, options.results)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """`-np`; read it with `workers_of`."""
    parser.add_argument(
        "-np",
        dest="workers",
        type=whole(1, MOST_PROCESSES),
        metavar="N",
        help="number of cases processed in parallel (default: number of CPU cores, at most 8)",
    )


def workers_of(options: argparse.Namespace) -> int:
    """Number of processes: `-np`, else the default."""
    from samunet.workers import default_workers

    return options.workers if options.workers is not None else default_workers()


def add_prediction_files(parser: argparse.ArgumentParser) -> None:
    """`-plans_json -dataset_json`, for folders of predictions that lack them."""
    parser.add_argument("-plans_json", type=Path, metavar="FILE",
                        help="names the reader of the files (default: plans.json in the folder of -i, if it exists)")
    parser.add_argument("-dataset_json", type=Path, metavar="FILE",
                        help="dataset.json with the labels (default: the one in the folder of -i)")


def add_encoder(parser: argparse.ArgumentParser) -> None:
    """`--encoder`; read it with `encoder_of`."""
    parser.add_argument(
        "--encoder",
        default=DEFAULT_ENCODER,
        metavar="NAME",
        help="mini, untrained, pixels, vit_b, vit_l, vit_h, or a checkpoint file with SAM's key names. Append @sam, "
        "@medsam or @mini to override how the input is normalised, as in vit_b@medsam (default: %(default)s)",
    )


def encoder_of(options: argparse.Namespace) -> EncoderSpec:
    """What planning must know of the encoder; prints a line if its weights are random or from a user's file."""
    from samunet.api.defaults import announced

    return announced(options.encoder)


def add_oracle_prompts(parser: argparse._ActionsContainer) -> None:
    """`--oracle_prompts [KIND]`, as `options.oracle_prompts`: a kind of PROMPT_KINDS, or None."""
    parser.add_argument(
        "--oracle_prompts",
        nargs="?",
        const=DEFAULT_KIND,
        choices=list(PROMPT_KINDS),
        help="derive the prompts from the reference labels and mark the results as oracle "
        f"(default kind: {DEFAULT_KIND}). Kinds: "
        + "; ".join(f"{kind}: {description}" for kind, description in PROMPT_KINDS.items()),
    )


def add_box_relax(parser: argparse.ArgumentParser) -> None:
    """`--box_relax PERCENT`, as `options.box_relax`."""
    parser.add_argument("--box_relax", type=real(0, 1000), metavar="PERCENT",
                        help="enlarge the oracle's boxes on each side by this percentage of their extent "
                             "(default: tight boxes)")


def add_shot_slices(parser: argparse.ArgumentParser) -> None:
    """`--shot_slices M`, as `options.shot_slices`."""
    parser.add_argument("--shot_slices", type=whole(1, MOST_CASES), metavar="M",
                        help="total number of labelled slices to use, spread over the training cases and over the "
                             "classes they show (default: every slice)")


def add_logger(parser: argparse.ArgumentParser) -> None:
    """`--logger NAME`, repeatable, as `options.loggers`."""
    parser.add_argument("--logger", action="append", dest="loggers", default=[], metavar="NAME",
                        help="also log to tensorboard, wandb or a logger of an installed package, repeatable; "
                             "log.jsonl and progress.png are always written")


def add_plans_name(parser: argparse.ArgumentParser) -> None:
    """`-plans_name`, as `options.plans_name`."""
    parser.add_argument(
        "-plans_name",
        default=DEFAULT_PLANS_NAME,
        metavar="NAME",
        help="name of the plans file and of the folder of arrays (default: %(default)s)",
    )


def add_no_embeddings(parser: argparse.ArgumentParser) -> None:
    """`--no_embeddings`."""
    parser.add_argument("--no_embeddings", action="store_true",
                        help="skip the embedding cache; training then computes the embeddings it needs")


def add_fingerprint(parser: argparse.ArgumentParser) -> None:
    """`--verify_dataset_integrity --clean`."""
    parser.add_argument(
        "--verify_dataset_integrity",
        action="store_true",
        help="check every file of every case first and report all problems",
    )
    parser.add_argument(
        "--clean", action="store_true", help="recompute the fingerprint even if the data have not changed"
    )


def add_planning(parser: argparse.ArgumentParser) -> None:
    """`--groups -gpu_memory_target -overwrite_target_spacing --cache_dtype`."""
    parser.add_argument(
        "--groups",
        metavar="CSV_OR_PATTERN",
        help="groups cases by patient: a CSV file with the columns case,patient, or a regular expression for "
        "case ids whose first group is the patient, as in '(patient\\d+)_frame' "
        "(default: groups.csv in the folder of dataset.json, if it exists)",
    )
    parser.add_argument(
        "-gpu_memory_target",
        type=real(0, 10_000, above=True),
        default=DEFAULT_MEMORY_TARGET_GB,
        metavar="GB",
        help="GPU memory that training may use, in GB; the installed memory is not queried (default: %(default)g)",
    )
    parser.add_argument(
        "-overwrite_target_spacing",
        type=real(1e-3, 1e4),
        nargs=3,
        metavar=("Z", "Y", "X"),
        help="target spacing in mm, in array order (default: planned)",
    )
    parser.add_argument(
        "--cache_dtype",
        choices=list(CACHE_DTYPES),
        default=DEFAULT_CACHE_DTYPE,
        help="number type of the cached embeddings; int8 needs half the disk space (default: %(default)s)",
    )
