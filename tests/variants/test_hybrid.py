"""Labels carried to a case: never its own, and back from the checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.inference.predictor import predict_case
from samunet.planning.plans import DatasetPlan, EncoderPlan, HybridPlan, Plans
from samunet.planning.sections import VoxelsPlan
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.view_names import View, view_name
from samunet.preprocessing.views import ViewedArrays
from samunet.variants.base import VariantContext
from samunet.variants.hybrid import HybridVariant
from samunet.variants.hybrid_off import HybridOffVariant, HybridSettings
from samunet.variants.prior_images import PriorImages

LABELS = LabelSpace({"background": 0, "organ": 1})
REGIONS = LabelSpace({"background": 0, "organ": (1,)}, (1,))
SHAPE = (12, 16, 16)
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), SHAPE, False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("untrained", 32, (16, 16), 0.5, "repeat", 2, "float16", 0, 1)


def variant(labels: LabelSpace = LABELS) -> HybridVariant:
    torch.manual_seed(0)
    return HybridVariant(VariantContext(labels, DATASET, SECTION, {}))


def case(name: str, shift: int, labelled: bool = True) -> PreparedCase:
    """A bright ball, moved along the rows, and its label."""
    at = np.stack(np.indices(SHAPE), -1) - (6, 6 + shift, 8)
    inside = ((at / 4.0) ** 2).sum(-1) < 1
    image = gaussian_filter(inside * 2.0, 0.7) + np.random.default_rng(shift).normal(0, 0.05, SHAPE)
    box = tuple((0, side) for side in SHAPE)
    properties = CaseProperties(name, Geometry("SimpleITKIO", SHAPE, (1.0, 1.0, 1.0)), SHAPE, box, SHAPE, SHAPE,
                                ((0.0, 1.0),), name,
                                name, {})
    label = (inside if labelled else np.zeros(SHAPE)).astype(np.int16)[None]
    return PreparedCase(image[None].astype(np.float32), label, properties)


@pytest.fixture
def arrays(tmp_path: Path) -> ViewedArrays:
    store = ArrayStore(tmp_path / "arrays")
    store.folder.mkdir()
    for number, name in enumerate(("a", "b", "c")):
        store.write(case(name, number))
    return ViewedArrays(store, DATASET)


def test_the_channel_behind_the_image_is_where_the_others_labels_come_to_lie(
    arrays: ViewedArrays, tmp_path: Path
) -> None:
    made = variant()
    cases = [arrays.load(name) for name in "abc"]
    made.keep_supports(cases)
    seen = made.with_prior(cases[0])
    assert seen.shape == (2, *SHAPE) and np.array_equal(seen[0], cases[0].image[0])
    overlap = (2 * ((seen[1] > 0.5) & (cases[0].segmentation[0] == 1)).sum()
               / ((seen[1] > 0.5).sum() + cases[0].segmentation.sum()))
    assert overlap > 0.9
    images = PriorImages(arrays, made, "abc", tmp_path)
    made.keep_supports([case("a", 0, labelled=False), *cases[1:]])  # its own label says nothing about it or its views
    for name in ("a", view_name("a", View(1))):
        alone = PriorImages(arrays, variant_of(cases), "abc", make(tmp_path / "own")).get(name)
        np.testing.assert_array_equal(images.get(name), alone)
    assert not np.allclose(images.get("b"),
                           PriorImages(arrays, variant_of(cases), "abc", make(tmp_path / "own")).get("b"))


@pytest.mark.parametrize("labels", [LABELS, REGIONS])
def test_what_is_not_annotated_is_told_by_the_others_where_they_agree(
    arrays: ViewedArrays, tmp_path: Path, labels: LabelSpace
) -> None:
    made = variant(labels)
    images = PriorImages(arrays, made, "abc", tmp_path)
    shares, known = [0.9, 0.6, 0.1, 0.5, 0.9], [1, 1, 1, 0, 1]
    np.save(tmp_path / "a.npy", np.array([shares, known], np.float16)[:, None, None])
    known = np.array([[[UNANNOTATED, UNANNOTATED, UNANNOTATED, UNANNOTATED, 0]]], np.int16)
    # The organ, not decided, background, told by nobody; and what is annotated stays, whatever the others say.
    assert images.completed("a", known).tolist() == [[[1, UNANNOTATED, 0, 0, 0]]]
    untouched = np.ones((1, 1, 4), np.int16)
    assert images.completed("b", untouched) is untouched


def variant_of(cases: list[PreparedCase]) -> HybridVariant:
    made = variant()
    made.keep_supports(cases)
    return made


def make(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_a_single_case_is_carried_to_its_views_alone(arrays: ViewedArrays, tmp_path: Path) -> None:
    images = PriorImages(arrays, variant_of([arrays.load("a")]), ["a"], tmp_path)
    assert not images.possible("a") and images.possible(view_name("a", View(2)))
    view = arrays.load(view_name("a", View(2)))
    prior = images.get(view_name("a", View(2)))[1]
    overlap = 2 * ((prior > 0.5) & (view.segmentation[0] == 1)).sum() / ((prior > 0.5).sum() + view.segmentation.sum())
    assert 0.8 < overlap < 1


def test_files_that_are_there_are_not_made_again(arrays: ViewedArrays, tmp_path: Path, monkeypatch) -> None:
    images = PriorImages(arrays, variant_of([arrays.load(name) for name in "abc"]), "abc", tmp_path)
    first = images.make("b")[0]
    monkeypatch.setattr(HybridVariant, "prior", None)
    np.testing.assert_array_equal(images.make("b")[0], first)


def test_supports_come_back_with_the_network(arrays: ViewedArrays) -> None:
    made, other = variant_of([arrays.load("a"), arrays.load("b")]), variant()
    state = made.state()
    assert {name.split(".")[1] for name in state if name.startswith("atlas.")} == {"00", "01", "grid_voxels"}
    other.load_state(state)
    target = arrays.load("c")
    np.testing.assert_array_equal(other.with_prior(target), made.with_prior(target))
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in state.items())


class Watched(HybridOffVariant):
    """Notes the windows that it is asked for."""

    def inputs_of(self, *given, **named):
        inputs = super().inputs_of(*given, **named)
        self.frame, read, self.asked = inputs.frame, inputs.read, []
        inputs.read = lambda picks: (self.asked.extend(picks), read(picks))[1]
        return inputs


@pytest.mark.parametrize("step, slices, rows", [(None, [0, 4, 9], [0, 6, 12]), (0.75, [0, 9], [0, 12])])
def test_a_step_lays_windows_along_slices_and_rows(step, slices, rows) -> None:
    # Windows of 12 x 16 x 16 on 21 x 28 x 16 voxels: 9 and 12 more than one, 6 and 8 apart, or 9 and 12.
    settings = HybridSettings(transport="off", embeddings="off")
    made = Watched(VariantContext(LABELS, DATASET, SECTION, {}, settings=settings))
    assert made.volume.shape == (12, 16, 16)
    image = np.random.default_rng(0).normal(size=(1, 21, 28, 16)).astype(np.float32)
    large = replace(case("a", 0), image=image)
    plans = Plans("samunetPlans", "Dataset900_Phantom", DATASET, {"untrained": SECTION})
    slabs = list(predict_case([made], large, plans, None, step=step))
    assert np.isfinite(np.concatenate([slab for _, slab in slabs], 1)).all()
    assert made.asked == [(first, tile) for first in slices for tile in range(len(rows))]
    assert made.frame.starts == [(row, 0) for row in rows]


VOXELS = VoxelsPlan((8, 16, 12), (1, 2, 2), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
HYBRID = HybridPlan(6, ((1, 1, 1), (1, 2, 2)), ((3, 3, 3),) * 2, embeddings=False, voxels=VOXELS)


@pytest.mark.parametrize("settings, shape", [
    ({}, (8, 16, 12)), ({"embeddings": "on"}, (6, 16, 16)), ({"start": "pretrained"}, (6, 16, 16))])
def test_without_embeddings_it_reads_the_volumes_that_are_planned_for_voxels(
    settings: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    context = VariantContext(LABELS, DATASET, replace(SECTION, hybrid=HYBRID), {})
    made = HybridOffVariant(replace(context, settings=HybridSettings(**settings)))
    assert made.volume.shape == shape
    assert made.volume.place == ((1, 2, 2) if shape == VOXELS.shape else (1, 1, 1))
