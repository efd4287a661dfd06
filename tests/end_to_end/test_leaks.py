"""No label outside the draw has an effect: corrupted, or deleted before planning, it changes no byte of any variant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.dataset import load_dataset
from samunet.planning.shots import draw_shots
from samunet.variants.registry import VARIANTS

CASES, SHOTS, DRAW, SLICES = 4, 2, 1, 8
STATES = ("whole", "noise", "deleted")
# Fold `all`, in which every labelled case may be drawn and is validated on. Folds by number follow from which cases
# have a label, so that where labels are deleted they would be other folds.
RUN = ("all", "--shots", str(SHOTS), "--draw", str(DRAW), "--iterations", "2", "-device", "cpu", "-np", "1")
NARROW = {name: ("--set", "width=12") for name in ("swin_unetr", "ux_net", "nnformer")}  # else 53 to 150 million
NAMES = [f"box_{case:03d}" for case in range(CASES)]
DRAWN = sorted(draw_shots(NAMES, None, SHOTS, DRAW))

pytestmark = pytest.mark.slow


def spoil(dataset: Path, state: str) -> None:
    """Replace the labels of the cases outside the draw by noise, or delete them."""
    others = [name for name in NAMES if name not in DRAWN]
    for number, name in enumerate(others):
        path = dataset / "labelsTr" / f"{name}.nii.gz"
        if state == "deleted":
            path.unlink()
        elif state == "noise":
            label = sitk.ReadImage(str(path))
            noise = np.random.default_rng(number).integers(0, 3, label.GetSize()[::-1], np.uint8)
            spoiled = sitk.GetImageFromArray(noise)
            spoiled.CopyInformation(label)
            sitk.WriteImage(spoiled, str(path))
    if state == "deleted":
        content = json.loads((dataset / "dataset.json").read_text())
        (dataset / "dataset.json").write_text(json.dumps({**content, "unlabelled": others}))


def write_prompts(path: Path) -> Path:
    """A box for each class, the same in all cases: what a user typed, whatever labels there are."""
    sides = {"left": {"boxes": [{"min": [4, 6, 2], "max": [13, 20, 6]}]},
             "right": {"boxes": [{"min": [15, 6, 2], "max": [24, 20, 6]}]}}
    path.write_text(json.dumps({"space": "voxel", "cases": dict.fromkeys(NAMES, sides)}))
    return path


def done(workplace, command: str, *arguments: str | Path) -> None:
    finished = workplace.here(command, *arguments)
    assert finished.code == 0, finished.err


@pytest.fixture(scope="module")
def places(tmp_path_factory, workplace_at, make_dataset, small_sam):
    """A planned and preprocessed workplace for each state of the labels outside the draw."""
    found = {}
    for state in STATES:
        workplace = found[state] = workplace_at(tmp_path_factory.mktemp(state))
        dataset = make_dataset(workplace.root / "raw", CASES)
        spoil(dataset, state)
        done(workplace, "plan_and_preprocess", "-d", "5", "--encoder", small_sam, "-np", "1")
        path = workplace.root / "preprocessed" / dataset.name / "samunetPlans.json"
        plans = json.loads(path.read_text())
        (section,) = plans["encoders"].values()
        section["embeddings"].update(view_pictures=SHOTS * SLICES, batch_size=4)  # one view of each drawn case
        path.write_text(json.dumps(plans))
    return found


def same(places, states: Sequence[str], patterns: Iterable[str]) -> dict[str, str]:
    """The digests of what matches, which must be equal in `states`."""
    whole, *others = (places[state].digests(*patterns) for state in states)
    for state, other in zip(states[1:], others, strict=True):
        different = sorted(name for name in {*whole, *other} if whole.get(name) != other.get(name))
        assert other == whole, f"{state}: {different}"
    return whole


def test_the_labels_outside_the_draw_are_corrupted(places) -> None:
    labels = [load_dataset(places[state].root / "raw" / "Dataset005_Boxes") for state in STATES]
    assert [len(dataset.unlabelled) for dataset in labels] == [0, 0, CASES - SHOTS]
    one = next(name for name in NAMES if name not in DRAWN)
    whole, noise = (places[state].digests(f"raw/*/labelsTr/{one}.nii.gz") for state in ("whole", "noise"))
    assert whole and noise and whole != noise


def test_no_plan_and_no_array_of_an_image_changes(places) -> None:
    folder = "preprocessed/*/samunetPlans"
    found = same(places, STATES, [f"{folder}.json", "preprocessed/*/dataset_fingerprint.json",
                                  f"{folder}/arrays/box_???.b2nd",
                          *(f"{folder}/arrays/{name}_seg.b2nd" for name in DRAWN), f"{folder}/embeddings/*/box_???.*"])
    # Plans and fingerprint; an image's array of each case, its embeddings and their signature; two arrays of labels.
    assert len(found) == 2 + 3 * CASES + SHOTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_cache_model_or_prediction_changes(places, small_sam: Path, variant: str, tmp_path: Path) -> None:
    asked = ("--prompts", write_prompts(tmp_path / "prompts.json")) if VARIANTS[variant].prompts else ()
    asked += NARROW.get(variant, ())
    for workplace in places.values():
        done(workplace, "train", "5", variant, *RUN, "--encoder", small_sam, *asked)
    run = f"results/*/{variant}__*/shots{SHOTS}_draw{DRAW}"
    model = [f"{run}/{name}" for name in ("plans.json", "dataset_fingerprint.json", "fold_all/label_statistics.json",
                                          "fold_all/checkpoint_final.safetensors")]
    predicted = [f"{run}/fold_all/validation/{name}.nii.gz" for name in NAMES]
    assert len(same(places, STATES[:2], [*model, *predicted])) == len(model) + CASES
    # Without labels the others are not validated on.
    assert len(same(places, STATES, [*model,
                                     *(path for path, name in zip(predicted, NAMES, strict=True) if name in DRAWN)])
               ) == len(model) + SHOTS
    same(places, STATES, ["preprocessed/*/samunetPlans/embeddings/*/*"])
