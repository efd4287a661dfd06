"""samunet_cache: list, verify and prune the cached embeddings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.cli.figures import Distinct
from samunet.cli.main import command
from samunet.cli.options import add_paths, command_parser, paths_of
from samunet.console import result, say
from samunet.errors import UserError
from samunet.locks import locked

if TYPE_CHECKING:
    from samunet.inputs.cache_inventory import Cache


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_cache",
        "List or verify the cached embeddings, or remove the ones that no command can use any more.\n"
        "`verify` reads every byte of the embeddings and of the preprocessed arrays, and compares the weights of\n"
        "the encoders that are available. It exits with code 2 if it finds a fault.",
        "samunet_cache prune -d 4 --dry_run",
    )
    parser.add_argument("action", choices=("list", "verify", "prune"), help="action to take")
    parser.add_argument("-d", dest="datasets", nargs="+", action=Distinct, metavar="ID",
                        help="dataset ids or names (default: all)")
    parser.add_argument("--encoder", metavar="NAME",
                        help="only caches of this encoder: its id, its name or its file (default: all)")
    parser.add_argument("--all", action="store_true",
                        help="prune: remove all embeddings that -d and --encoder select, usable or not")
    parser.add_argument("--dry_run", action="store_true", help="prune: only report what would be removed")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    if options.action != "prune" and (options.all or options.dry_run):
        raise UserError("--all and --dry_run belong to prune.", where="command line", found=options.action)
    caches = selected(options)
    if options.action == "list":
        list_caches(caches)
    elif options.action == "verify":
        verify_caches(caches, options.encoder, damaged_arrays(options))
    else:
        prune_caches(caches, options.encoder, everything=options.all, dry_run=options.dry_run)


def selected(options: argparse.Namespace) -> list[Cache]:
    """The caches that `-d` and `--encoder` name."""
    from samunet.inputs.cache_encoders import encoder_id
    from samunet.inputs.cache_inventory import find_caches

    encoder = encoder_id(options.encoder) if options.encoder else None
    return [cache for dataset in datasets_of(options)
            for cache in find_caches(paths_of(options).preprocessed, dataset, encoder)]


def damaged_arrays(options: argparse.Namespace) -> list[str]:
    """One line for each preprocessed case with damaged files, of the datasets that `-d` names."""
    from samunet.inputs.cache_inventory import damaged_cases

    return [f"{folder}: {name}: the preprocessed files are damaged" for dataset in datasets_of(options)
            for folder, names in damaged_cases(paths_of(options).preprocessed, dataset).items() for name in names]


def datasets_of(options: argparse.Namespace) -> list[str | None]:
    """The full names that `-d` selects; None stands for all datasets."""
    from samunet.dataset.paths import find_dataset

    if not options.datasets:
        return [None]
    return [find_dataset(paths_of(options).preprocessed, each).name for each in options.datasets]


def list_caches(caches: Sequence[Cache]) -> None:
    """Print one line for each cache, and the total."""
    from samunet.inputs.embedding_cache import size_text

    for cache in caches:
        views = sum(entry.is_view for entry in cache.entries)
        result(f"{cache.dataset} {cache.plans_name} {cache.encoder}: "
               f"{len(cache.entries) - views} cases, {views} views, {' and '.join(cache.number_types) or 'nothing'}, "
               f"{size_text(cache.size)}; {cache.state()}")
    result(f"{len(caches)} caches, {size_text(sum(cache.size for cache in caches))}")


def verify_caches(caches: Sequence[Cache], encoder: str | None, faults_of_arrays: Sequence[str]) -> None:
    """Print each fault, those of arrays included.

    Raises:
        UserError: there is a fault.
    """
    from samunet.inputs.cache_encoders import weights_of
    from samunet.inputs.cache_inventory import damaged_entries, differing_weights

    lines = list(faults_of_arrays)
    for cache in caches:
        faults = [cache.fault] if cache.fault else [entry.fault for entry in cache.entries if entry.fault]
        faults += [f"{name}: {found}" for name, found in damaged_entries(cache).items()]
        faults += [f"unfinished: {path.name}" for path in cache.leftovers]
        weights = weights_of(cache.encoder, encoder)
        if weights:
            faults += [f"{name}: {found}" for name, found in differing_weights(cache, *weights).items()]
        else:
            say(f"encoder '{cache.encoder}' is not available: its weights are not compared")
        lines += [f"{cache.folder}: {fault}" for fault in faults]
    for line in lines:
        say(line)
    if lines:
        raise UserError("Preprocessed arrays and cached embeddings must be intact, and match the plans, the arrays and "
                        "the encoder.", where="samunet_cache verify", found=f"{len(lines)} faults, listed above",
                        mend="Run samunet_preprocess, which rebuilds damaged and outdated files. samunet_cache prune "
                        "removes the files that no command uses.")
    result(f"{len(caches)} caches are intact and match")


def prune_caches(caches: Sequence[Cache], encoder: str | None, *, everything: bool, dry_run: bool) -> None:
    """Remove the files that no command can use, or everything, and print the freed size."""
    from samunet.inputs.embedding_cache import cache_lock, size_text

    total = 0
    for cache in caches:
        with nullcontext() if dry_run else locked(cache_lock(cache.folder)):  # no other command writes there meanwhile
            total += _prune(cache.folder, encoder, everything=everything, dry_run=dry_run)
    result(f"{size_text(total)} {'would be freed' if dry_run else 'freed'}")


def _prune(folder: Path, encoder: str | None, *, everything: bool, dry_run: bool) -> int:
    """Remove one cache, or the files of it that no command can use; returns the freed bytes."""
    from samunet.inputs.cache_encoders import weights_of
    from samunet.inputs.cache_inventory import differing_weights, read_cache, remove, useless_files
    from samunet.inputs.embedding_cache import size_text

    if not folder.is_dir():  # another call has removed it
        return 0
    cache = read_cache(folder)
    if everything:
        files = sorted(folder.iterdir())
    else:
        weights = weights_of(cache.encoder, encoder)
        files = useless_files(cache, differing_weights(cache, *weights) if weights else {})
    size = sum(path.stat().st_size for path in files) if dry_run else remove(cache, files)
    if files:
        say(f"{folder}: {len(files)} files, {size_text(size)}" + ("" if everything else f" ({cache.state()})"))
    return size
