"""Colour images in the whole search: every candidate is scored, and the chosen one uses colours, which no prior can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import io

from samunet.benchmarking import choice
from samunet.benchmarking.ladder import BASELINES, LADDER
from samunet.variants import hybrid_off

SIDE = 32  # one tile of the small encoder
LABELLED, NEW = 3, 2
LENGTH = 60  # iterations of what is chosen
DATASET = "Dataset007_Fruit"

pytestmark = pytest.mark.slow


def picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (Y, X, 3) and labels uint8 (Y, X): a red disc and a blue box, anywhere, on a cloudy green meadow."""
    random = np.random.default_rng([7, seed])
    rows, columns = np.indices((SIDE, SIDE))
    labels = np.zeros((SIDE, SIDE), np.uint8)
    top, left = random.integers(1, SIDE - 11, 2)
    labels[top : top + 10, left : left + 10] = 2
    # Away from the box: in the corner that is farthest from it.
    middle = np.where(np.array([top, left]) + 5 < SIDE / 2, SIDE - 7, 6)
    labels[np.hypot(rows - middle[0], columns - middle[1]) < 6] = 1
    clouds = gaussian_filter(random.standard_normal((SIDE, SIDE)), 3)
    image = np.array([(70, 140, 60), (200, 50, 50), (50, 60, 190)], float)[labels] + 150 * clouds[..., None]
    return np.clip(image + random.normal(0, 10, image.shape), 0, 255).astype(np.uint8), labels


@pytest.fixture
def dataset(workplace) -> Path:
    """Labelled images, and in imagesTs and labelsTs those that the choice never sees."""
    folder = workplace.root / "raw" / DATASET
    for seed in range(LABELLED + NEW):
        kind = "Tr" if seed < LABELLED else "Ts"
        image, labels = picture(seed)
        for path, array in ((folder / f"images{kind}" / f"fruit_{seed}_0000.png", image),
                            (folder / f"labels{kind}" / f"fruit_{seed}.png", labels)):
            path.parent.mkdir(parents=True, exist_ok=True)
            io.imsave(path, array, check_contrast=False)
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "apple": 1, "plum": 2},
        "numTraining": LABELLED, "file_ending": ".png"}))
    return folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Runs in this process, which has torch loaded, and what is chosen trained for a short while."""
    monkeypatch.setattr(choice, "in_own_process", lambda work, *arguments: work(*arguments))
    monkeypatch.setattr(hybrid_off, "ITERATIONS", LENGTH)

    def shorten(path: Path) -> None:
        plans = json.loads(path.read_text())
        (section,) = plans["encoders"].values()
        assert section["embeddings"]["composition"] == "rgb"  # the encoder sees colours, not three images
        section["embeddings"].update(head_iterations=LENGTH, batch_size=4, view_pictures=0)
        path.write_text(json.dumps(plans))

    return shorten


def dice(predicted: Path, labels: Path) -> float:
    """Mean over images and classes, by hand."""
    scores = []
    for path in sorted(labels.iterdir()):
        found, truth = io.imread(predicted / path.name), io.imread(path)
        scores += [2 * ((found == value) & (truth == value)).sum() / ((found == value).sum() + (truth == value).sum())
                   for value in (1, 2)]
    assert len(scores) == 2 * NEW
    return float(np.mean(scores))


def test_colour_images_in_the_whole_search(workplace, dataset: Path, small_sam: Path, short) -> None:
    def done(command: str, *arguments: str | Path) -> str:
        finished = workplace.here(command, *arguments)
        assert finished.code == 0, finished.err
        return finished.out + finished.err

    encoder = ("--encoder", small_sam)
    done("plan_and_preprocess", "-d", "7", *encoder, "-np", "1", "--verify_dataset_integrity")
    short(workplace.root / "preprocessed" / DATASET / "samunetPlans.json")
    done("find_best_configuration", "-d", "7", *encoder, "--iterations", "4", "-device", "cpu")
    [path] = (workplace.root / "results" / DATASET / "choice").glob("*.json")
    record = json.loads(path.read_text())
    assert [trial["variant"] for trial in record["trials"] if trial["round"] < 2] == [*BASELINES, *LADDER]
    assert not any(trial["faults"] for trial in record["trials"]), record["trials"]

    chosen, prior = workplace.root / "chosen", workplace.root / "prior"
    assert f"chosen: {record['variant']}" in done("predict", "-i", dataset / "imagesTs", "-o", chosen, "-device", "cpu")
    done("train", "7", "label_prior", "all", *encoder, "-np", "1")
    done("predict", "-i", dataset / "imagesTs", "-o", prior, "-d", "7", "-v", "label_prior", "-device", "cpu")
    assert dice(chosen, dataset / "labelsTs") > dice(prior, dataset / "labelsTs") + 0.3
