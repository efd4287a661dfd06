"""Augmented copies of training cases, and the store that makes them by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import UNANNOTATED
from samunet.files import digest_of_array, digest_of_json
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.preprocessing.arrays import AnnotatedArrays
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.view_names import View, case_and_view, digest_in_name, view_name
from samunet.preprocessing.views import (
    ViewedArrays,
    clean_images,
    random_matrix,
    view_of,
    views_for,
)

SHAPE = (10, 24, 20)


def plan(anisotropic: bool = False) -> DatasetPlan:
    return DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1, 1, 1), SHAPE, anisotropic, ("any",), ("zscore",),
                       (False,),
                       ({},))


def ball_case(name: str = "one") -> PreparedCase:
    """A bright ball of label 1 on a dark, nearly flat ground."""
    z, y, x = np.indices(SHAPE)
    inside = ((z - 4.5) / 3) ** 2 + ((y - 11.5) / 6) ** 2 + ((x - 9.5) / 6) ** 2 < 1
    image = (np.where(inside, 2.0, -0.5) + 0.001 * y).astype(np.float32)[None]
    segmentation = inside.astype(np.int16)[None]
    properties = CaseProperties(name, Geometry("SimpleITKIO", SHAPE, (1, 1, 1)), SHAPE, ((0, 10), (0, 24), (0, 20)),
                                SHAPE,
                                SHAPE, ((-0.5, 2.0),), digest_of_array(image), digest_of_array(segmentation), {})
    return PreparedCase(image, segmentation, properties)


def test_a_view_is_the_same_each_time_and_another_for_each_number_and_case():
    first, again, second = (view_of(ball_case(), View(number), plan()) for number in (1, 1, 2))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.segmentation, again.segmentation)
    assert not np.array_equal(first.image, second.image)
    assert not np.array_equal(first.image, view_of(ball_case("two"), View(1), plan()).image)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_labels_are_warped_as_the_image_is(number):
    made = view_of(ball_case(), View(number), plan())
    bright = made.image[0] > (made.image[0].max() + made.image[0].min()) / 2
    label = made.segmentation[0] == 1
    # The ball moved, yet its label still covers what is bright.
    assert 2 * (bright & label).sum() / (bright.sum() + label.sum()) > 0.9
    assert not np.array_equal(label, ball_case().segmentation[0] == 1)
    assert made.image.dtype == np.float32 and made.segmentation.dtype == np.int16


def test_thick_slices_are_not_tilted_against_each_other():
    case = ball_case()
    columns = np.broadcast_to(np.arange(10)[:, None, None], SHAPE).astype(np.int16)[None]
    made = view_of(PreparedCase(case.image, columns, case.properties), View(1), plan(anisotropic=True))
    # Labels that number the slices stay in their slices.
    assert np.array_equal(made.segmentation, columns)


def test_the_store_makes_views_by_name_and_knows_their_properties_without_making_them(tmp_path: Path):
    case = ball_case()
    ArrayStore(tmp_path).write(case)
    store = ViewedArrays(ArrayStore(tmp_path), plan())
    made = store.load(view_name("one", View(3)))
    expected = view_of(case, View(3), plan())
    assert np.array_equal(made.image, expected.image)
    assert np.array_equal(store.segmentation(view_name("one", View(3))), expected.segmentation)
    assert store.properties(view_name("one", View(3))) == made.properties == expected.properties
    digests = {store.properties(name).image_digest
               for name in ("one", view_name("one", View(1)), view_name("one", View(2)))}
    assert len(digests) == 3
    assert np.array_equal(store.load("one").image, case.image)


def test_digests_say_whether_slices_are_tilted_and_else_stay_what_they_were(tmp_path: Path):
    """Those of plans that are not anisotropic are spelled out: cached embeddings of views hang on them."""
    case, name = ball_case(), view_name("one", View(3))
    case = replace(case, properties=replace(case.properties, image_digest="image", segmentation_digest="labels"))
    ArrayStore(tmp_path).write(case)
    tilted, flat = (ViewedArrays(ArrayStore(tmp_path), plan(anisotropic)).properties(name)
                    for anisotropic in (False, True))
    assert tilted.image_digest == digest_of_json([1, 3, "one", "image"])
    assert tilted.segmentation_digest == digest_of_json([1, 3, "one", "labels"])
    assert flat.image_digest != tilted.image_digest and flat.segmentation_digest != tilted.segmentation_digest
    assert flat == view_of(case, View(3), plan(anisotropic=True)).properties
    # One slice makes the same view by either plan.
    single = replace(case, image=case.image[:, :1], segmentation=case.segmentation[:, :1],
                     properties=replace(case.properties, shape=(1, 24, 20)))
    ArrayStore(tmp_path / "single").write(single)
    assert len({ViewedArrays(ArrayStore(tmp_path / "single"), plan(each)).properties(name).image_digest
                for each in (False, True)}) == 1


@pytest.mark.parametrize("anisotropic", [False, True])
def test_slices_whose_labels_are_not_used_stay_unused_through_the_warp(tmp_path: Path, anisotropic: bool):
    case = ball_case()
    # Labels that number the slices tell where each voxel of a view comes from.
    numbers = np.broadcast_to(np.arange(10)[:, None, None], SHAPE).astype(np.int16)[None]
    ArrayStore(tmp_path).write(PreparedCase(case.image, numbers, case.properties))
    store = ArrayStore(tmp_path)
    whole, some = (ViewedArrays(inner, plan(anisotropic)) for inner in (store, AnnotatedArrays(store, {"one": (2, 7)})))
    for name in ("one", view_name("one", View(1)), view_name("one", View(2))):
        labels = whole.segmentation(name)
        expected = np.where(np.isin(labels, (2, 7)), labels, UNANNOTATED)
        assert np.array_equal(some.segmentation(name), expected) and np.array_equal(some.load(name).segmentation,
                                                                                    expected)
        assert np.array_equal(some.load(name).image, whole.load(name).image)
        assert some.properties(name) == whole.properties(name)
    assert np.array_equal(AnnotatedArrays(ArrayStore(tmp_path), {"two": (1,)}).segmentation("one"), numbers)


def test_views_fit_a_budget_of_pictures():
    assert views_for(180, 800) == 4  # 4 x 180 = 720 of 800
    assert views_for(36, 800) == 6  # never more
    assert views_for(5700, 800) == 0
    assert views_for(10, 0) == 0


def test_clean_images_by_hand():
    # 10 slices of 24 x 20: tiles of 16 x 20 at half a tile's step start at rows 0 and 8.
    section = EncoderPlan("untrained", 64, (16, 20), 0.5, "repeat", 2, "float16", 0, 10)
    assert clean_images(ball_case().properties, plan(), section) == 20
    two = replace(plan(), channel_names=("a", "b"))
    assert clean_images(ball_case().properties, two, section) == 40
    assert clean_images(ball_case().properties, two, replace(section, composition="rgb")) == 20


def test_names_of_views():
    assert case_and_view(view_name("a__view", View(12))) == ("a__view", View(12))
    assert case_and_view("a__view") == ("a__view", None)
    assert case_and_view("a__view2x") == ("a__view2x", None)
    carried = view_name("a", View(2, transported=True), "0123456789abcdef")
    assert carried == "a__view102_01234567" and case_and_view(carried) == ("a", View(2, transported=True))
    assert digest_in_name(carried) == "01234567"
    assert digest_in_name("a__view2") is digest_in_name("a") is None


def test_a_scale_above_1_takes_places_from_nearer_to_the_middle():
    # Objects look larger: of twice the size on three axes, or on the two in the plane, a voxel has 1/8 or 1/4 of its
    # source.
    matrix = random_matrix(np.random.default_rng(0), (2.0, 2.0), 0.0, flat=False)
    assert np.linalg.det(matrix) == pytest.approx(1 / 8)
    assert matrix @ matrix.T == pytest.approx(np.eye(3) / 4)
    flat = random_matrix(np.random.default_rng(0), (2.0, 2.0), 0.0, flat=True)
    assert flat[0].tolist() == [1.0, 0.0, 0.0] and np.linalg.det(flat) == pytest.approx(1 / 4)
