from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace, in_slices_alone
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.variants.base import VariantContext
from samunet.variants.label_prior import LabelPriorVariant

PLAIN = LabelSpace({"background": 0, "organ": 1})
IGNORING = LabelSpace({"background": 0, "organ": 1, "ignore": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))


def prior(labels: LabelSpace, shape: tuple[int, int, int]) -> LabelPriorVariant:
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), shape, False, ("MRI",), ("zscore",),
                          (False,), ({},))
    encoder = EncoderPlan("untrained", 256, shape[1:], 0.5, "repeat", 2, "float16", 0, 1)
    return LabelPriorVariant(VariantContext(labels, dataset, encoder, {}))


def case(segmentation: np.ndarray, *, labelled: bool = True) -> PreparedCase:
    shape = segmentation.shape
    box = tuple((0, side) for side in shape)
    properties = CaseProperties("case", Geometry("SimpleITKIO", shape, (1.0, 1.0, 1.0)), shape, box, shape, shape,
                                ((0.0, 1.0),), "", None, {})
    image = np.full((1, *shape), np.nan, np.float32)  # an image that cannot be read without notice
    return PreparedCase(image, segmentation[None].astype(np.int16) if labelled else None, properties)


def probabilities(variant: LabelPriorVariant, shape: tuple[int, int, int]) -> np.ndarray:
    target = case(np.zeros(shape), labelled=False)
    return variant.labels.activate(variant.predict(target)).numpy()


def test_mean_of_the_labels() -> None:
    first, second = np.zeros((1, 1, 4)), np.zeros((1, 1, 4))
    first[0, 0, 1:3] = 1
    second[0, 0, 2:4] = 1
    variant = prior(PLAIN, (1, 1, 4))
    variant.fit([case(first), case(second)])
    organ = probabilities(variant, (1, 1, 4))[1, 0, 0]
    # Logits are clamped at log 1e-4, so that a probability of 0 comes back as 1e-4.
    assert organ == pytest.approx([0.0001, 0.5, 1, 0.5], abs=2e-4)


def test_stretched_over_another_shape() -> None:
    labels = np.zeros((1, 1, 2))
    labels[0, 0, 1] = 1
    variant = prior(PLAIN, (1, 1, 2))
    variant.fit([case(labels)])
    # Voxel centres of 4 lie at -0.25, 0.25, 0.75, 1.25 in units of the 2: linear between 0 and 1, constant outside.
    assert probabilities(variant, (1, 1, 4))[1, 0, 0] == pytest.approx([0, 0.25, 0.75, 1], abs=2e-4)


def test_each_case_counts_alike_whatever_its_shape() -> None:
    variant = prior(PLAIN, (2, 2, 2))
    variant.fit([case(np.ones((4, 6, 8))), case(np.zeros((2, 2, 2)))])
    assert probabilities(variant, (3, 3, 3))[1] == pytest.approx(np.full((3, 3, 3), 0.5), abs=1e-5)


def test_ignored_voxels_have_no_say() -> None:
    first, second, third = np.zeros((1, 1, 3)), np.zeros((1, 1, 3)), np.zeros((1, 1, 3))
    first[0, 0] = [1, 2, 2]
    second[0, 0] = [1, 1, 2]
    third[0, 0] = [0, 0, 2]
    variant = prior(IGNORING, (1, 1, 3))
    variant.fit([case(first), case(second), case(third)])
    # 2 of 3, 1 of 2, and where nobody knows the organ's share of all known voxels, 3 of 5.
    assert probabilities(variant, (1, 1, 3))[1, 0, 0] == pytest.approx([2 / 3, 1 / 2, 3 / 5], abs=1e-5)


def test_two_cases_of_one_annotated_slice_each() -> None:
    first, second = np.array([[[0, 0]], [[1, 0]], [[1, 1]]]), np.array([[[1, 1]], [[1, 1]], [[0, 0]]])
    variant = prior(PLAIN, (3, 1, 2))
    variant.fit([case(in_slices_alone(first[None], (1,))[0]), case(in_slices_alone(second[None], (2,))[0])])
    organ = probabilities(variant, (3, 1, 2))[1, :, 0]
    # Slice 1 is the first case's, slice 2 the second's; slice 0 nobody knows: one of the four annotated voxels.
    assert organ == pytest.approx(np.array([[0.25, 0.25], [1, 0], [0, 0]]), abs=2e-4)


def test_outside_the_crop_is_background() -> None:
    labels = np.zeros((1, 1, 2))
    labels[0, 0] = [-1, 1]
    variant = prior(PLAIN, (1, 1, 2))
    variant.fit([case(labels)])
    assert probabilities(variant, (1, 1, 2))[0, 0, 0] == pytest.approx([1, 0], abs=2e-4)


def test_regions_overlap() -> None:
    first, second = np.zeros((1, 1, 2)), np.zeros((1, 1, 2))
    first[0, 0] = [1, 2]
    second[0, 0] = [2, 2]
    variant = prior(REGIONS, (1, 1, 2))
    variant.fit([case(first), case(second)])
    found = probabilities(variant, (1, 1, 2))[:, 0, 0]
    assert found[0] == pytest.approx([1, 1], abs=2e-4)
    assert found[1] == pytest.approx([0.5, 1], abs=2e-4)


def test_of_regions_those_that_know_a_voxel_count_there_alone() -> None:
    first, second = np.array([[[2, 2]], [[1, 2]]]), np.array([[[1, 0]], [[1, 0]]])
    variant = prior(REGIONS, (2, 1, 2))
    variant.fit([case(first), case(in_slices_alone(second[None], (1,))[0])])
    whole, core = probabilities(variant, (2, 1, 2))[:, :, 0]
    # Slice 0 is known to the first case alone, slice 1 to both: 1 of 1, then 2 of 2 and 1 of 2.
    assert whole == pytest.approx(np.array([[1, 1], [1, 0.5]]), abs=2e-4)
    assert core == pytest.approx(np.array([[1, 1], [0, 0.5]]), abs=2e-4)


def test_saved_and_loaded(tmp_path) -> None:
    rng = np.random.default_rng(0)
    variant = prior(PLAIN, (3, 4, 5))
    variant.fit([case(rng.integers(0, 2, (3, 5, 5)))])
    save_file(variant.state(), tmp_path / "prior.safetensors")
    loaded = prior(PLAIN, (3, 4, 5))
    loaded.load_state(load_file(tmp_path / "prior.safetensors"))
    target = case(np.zeros((5, 4, 3)), labelled=False)
    assert torch.equal(loaded.predict(target), variant.predict(target))
