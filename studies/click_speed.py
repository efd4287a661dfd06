"""Seconds of `Session.set_image` and of a click on a volume of 128 x 128 x 64 voxels, with `3d_promptable`.

    python studies/click_speed.py --work click_speed --threads 2 --output studies/results/click_speed.jsonl
    python studies/click_speed.py --work click_speed --model MODEL --output studies/results/click_speed.jsonl

Without --model, one is trained for 2 iterations on synthetic tumours. Its answers are large and wrong, so they grow
into many windows, which takes longer than those of a trained model. Then, --rounds times: a new Session's image is set,
an array of 1 mm voxels with a bright ball; --clicks clicks follow, every second one negative, each in another place.
Given are medians and extremes. Appends one JSON line to --output.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from commands import call, work_in
from record import append, facts
from synthetic_tumours import DATASET, make_dataset

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import resolve_paths
from samunet.interaction.session import Session
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.training.run import ensure_trained
from samunet.training.settings import Request

SHAPE, RADIUS = (64, 128, 128), 12.0
VARIANT = "3d_promptable"
TARGETS = {"set_image": 10.0, "click": 0.3}  # seconds, on 2 cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for dataset and model")
    parser.add_argument("--model", type=Path, help="folder of a trained 3d_promptable with a label `tumour`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    work_in(options.work)
    model, image = options.model or model_in(options.work), ball()
    torch.set_num_threads(options.threads)
    seconds: dict[str, list[float]] = {"set_image": [], "click": []}
    for _ in range(options.rounds):
        session = Session(model)
        seconds["set_image"].append(elapsed(lambda each=session: each.set_image(image, (1.0, 1.0, 1.0))))
        random = np.random.default_rng(0)
        for number in range(options.clicks):
            place = tuple(int(each) for each in np.array(SHAPE) // 2 + random.integers(-8, 9, 3))
            seconds["click"].append(elapsed(lambda each=session, at=place, even=number % 2 == 0:
                                            each.add_point(at, "tumour", positive=even)))
    figures = {name: {"median": median(each), "least": min(each), "most": max(each), "target": TARGETS[name]}
               for name, each in seconds.items()}
    for name, row in figures.items():
        print(f"{name}: {row['median']:.2f} s ({row['least']:.2f} to {row['most']:.2f}), target {row['target']:g} s")
    append(options.output, facts() | {"shape": SHAPE, "trained": options.model is not None, "threads": options.threads,
                                      "load": os.getloadavg()[0], "seconds": figures})


def model_in(work: Path) -> Path:
    """The folder of a model of two iterations, trained where there is none."""
    dataset = make_dataset(work / "raw", 2, 1, 0)
    call("plan_and_preprocess", "-d", DATASET, "--no_embeddings", "-np", "1")
    request = Request(dataset.name, VARIANT, "all", DEFAULT_ENCODER, DEFAULT_PLANS_NAME, iterations=2,
                      validate=False, oracle_prompts="point")
    ensure_trained(request, resolve_paths(), trained_by="studies/click_speed.py", workers=1)
    [folder] = (resolve_paths().results / dataset.name).glob(f"{VARIANT}__*")
    return folder


def ball() -> np.ndarray:
    """Noise with a bright ball in the middle, float32 (Z, Y, X)."""
    places = np.stack(np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij"), -1)
    inside = np.linalg.norm(places - np.array(SHAPE) / 2, axis=-1) < RADIUS
    noise = np.random.default_rng(0).normal(100.0, 10.0, SHAPE)
    return (noise + 40.0 * inside).astype(np.float32)


def elapsed(step) -> float:  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
