"""The flags that name a trained model, the same for every command that uses one."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.cli.figures import MOST_CASES, Distinct, fold, whole
from samunet.cli.options import paths_of
from samunet.variants.registry import entry

if TYPE_CHECKING:
    from samunet.inference.model_folder import FoundModel


def add_model(parser: argparse.ArgumentParser, folds: str, *, bundles: bool = True) -> None:
    """`-m -d -v -p --encoder --shots --draw --shot_slices -f`; read them with `found_model`.

    Arguments:
        folds: the help of -f.
        bundles: whether -m may be a bundle.
    """
    model = parser.add_argument_group("model (default: the chosen one, else the last one trained, that matches)")
    model.add_argument("-m", dest="model", type=Path, metavar="FOLDER",
                       help=f"folder of the model{', or its bundle (.zip)' if bundles else ''}; of the flags below, "
                            "only --encoder and -f apply then")
    model.add_argument("-d", dest="dataset", metavar="DATASET",
                       help="dataset id or name, e.g. 4 or Dataset004_Hippocampus")
    model.add_argument("-v", "-c", dest="variant", metavar="VARIANT",
                       help="variant, e.g. cnn_head; it takes the place of nnU-Net's configuration")
    model.add_argument("-p", dest="plans_name", metavar="PLANS", help="name of the plans")
    model.add_argument("--encoder", metavar="NAME",
                       help="encoder that the model was trained with: its id, its name, or the current path of its "
                            "file")
    model.add_argument("--shots", type=whole(1, MOST_CASES), metavar="K",
                       help="number of labelled cases it was trained with")
    model.add_argument("--draw", type=whole(0, MOST_CASES), metavar="N",
                       help="which draw of K cases it was trained with")
    model.add_argument("--shot_slices", type=whole(1, MOST_CASES), metavar="M",
                       help="number of labelled slices it was trained with")
    model.add_argument("-f", dest="folds", nargs="+", type=fold, action=Distinct, metavar="FOLD",
                       help=folds)


def require_variant(options: argparse.Namespace) -> None:
    """Check `-v` before anything heavy is imported.

    Raises:
        UserError: no such variant; lists the known ones.
    """
    if options.variant is not None:
        entry(options.variant)


def found_model(options: argparse.Namespace) -> FoundModel:
    """The model that the flags name, with the folds of `-f` where they are given.

    Raises:
        UserError: see `find_model`.
    """
    from samunet.inference.model_folder import FoundModel, find_model

    found = FoundModel(options.model, None, "named with -m") if options.model else find_model(
        paths_of(options).results, dataset=options.dataset, variant=options.variant, plans_name=options.plans_name,
        encoder=options.encoder, shots=options.shots, draw=options.draw, shot_slices=options.shot_slices,
    )
    return replace(found, folds=options.folds) if options.folds else found
