"""What wider steps between the windows of `hybrid` without embeddings cost in Dice, and what they save.

    samunet_plan_and_preprocess -d 27 --no_embeddings
    python studies/window_step.py -d 27 --output studies/results/window_step.jsonl

One `hybrid_off` without embeddings for each fold is trained on 5 cases of draw 0, then predicts the fold's validation
cases at several steps along all three axes, one core. Dice is taken on the plan's grid, of both folds' cases together,
and compared with the first step's, paired by case. A model that is there already is used.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

import numpy as np
import torch
from record import append, facts

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import Paths, resolve_paths
from samunet.evaluation.case_metrics import case_overlap
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.inference.model_folder import TrainedModel, load_model
from samunet.inference.predictor import predict_case
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.groups import kept_groups
from samunet.preprocessing.case import PreparedCase
from samunet.training.experiment import open_experiment
from samunet.training.run import ensure_trained
from samunet.training.settings import Request

STEPS = (0.5, 0.6, 0.75, 0.9, 1.0)
SHOTS = 5
ALLOWED = 0.002  # of Dice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--folds", nargs="+", default=["1", "2"], help="fold 0 is for the final look (default: 1 2)")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training each model (default: %(default)s)")
    parser.add_argument("--steps", type=float, nargs="+", default=list(STEPS))
    parser.add_argument("--every", type=int, default=3, help="of the validation cases (default: every third)")
    parser.add_argument("--train_only", action="store_true")
    parser.add_argument("--output", help="a JSON line is appended")
    options = parser.parse_args()
    torch.set_num_threads(1)
    paths = resolve_paths()
    models = {fold: trained(options.dataset, fold, options.minutes, paths) for fold in options.folds}
    if options.train_only:
        return
    return


def trained(dataset: str, fold: str, minutes: float, paths: Paths):
    request = Request(dataset, "hybrid", fold, DEFAULT_ENCODER, DEFAULT_PLANS_NAME, minutes=minutes, shots=SHOTS,
                      validate=False, settings={"transport": "off", "embeddings": "off"})
    ensure_trained(request, paths, trained_by="samunet_train", workers=1)


if __name__ == "__main__":
    main()
