"""Views towards another case's shape: how far they go, with whom, and under which digests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, gaussian_filter

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.files import digest_of_json
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.view_names import View, case_and_view, view_name
from samunet.preprocessing.views import ViewedArrays
from samunet.variants.atlas import AtlasVariant
from samunet.variants.base import VariantContext
from samunet.variants.transported_views import PART, TransportedArrays, cached_name

LABELS = LabelSpace({"background": 0, "organ": 1})
SHAPE = (16, 24, 20)
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), SHAPE, False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("untrained", 32, (24, 20), 0.5, "repeat", 2, "float16", 0, 1)
NAMES = ("a", "b", "c")


def ball(name: str, row: int) -> PreparedCase:
    """A bright ball of radius 4 in the middle of rows `row`, and its label."""
    inside = (((np.stack(np.indices(SHAPE), -1) - (8, row, 10)) / 4.0) ** 2).sum(-1) < 1
    image = gaussian_filter(inside * 2.0, 0.7) + np.random.default_rng(row).normal(0, 0.03, SHAPE)
    box = tuple((0, side) for side in SHAPE)
    properties = CaseProperties(name, Geometry("SimpleITKIO", SHAPE, (1.0, 1.0, 1.0)), SHAPE, box, SHAPE, SHAPE,
                                ((0.0, 1.0),), name,
                                name, {})
    return PreparedCase(image[None].astype(np.float32), inside.astype(np.int16)[None], properties)


@pytest.fixture
def arrays(tmp_path: Path) -> TransportedArrays:
    store = ArrayStore(tmp_path)
    cases = [ball(name, row) for name, row in zip(NAMES, (10, 14, 12), strict=True)]
    for case in cases:
        store.write(case)
    atlas = AtlasVariant(VariantContext(LABELS, DATASET, SECTION, {}))
    atlas.fit(cases)
    return TransportedArrays(ViewedArrays(ArrayStore(tmp_path), DATASET), DATASET, atlas, NAMES)


def row_of(mask: np.ndarray) -> float:
    return center_of_mass(mask)[1]


def test_half_the_way_lies_in_the_middle_and_the_whole_way_on_the_other(arrays: TransportedArrays) -> None:
    case = arrays.load("a")
    stays, half, whole = (arrays._transported(case, "b", part) for part in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(stays.image, case.image)
    np.testing.assert_array_equal(stays.segmentation, case.segmentation)
    assert row_of(half.segmentation[0]) == pytest.approx(12, abs=0.4)
    assert row_of(whole.segmentation[0]) == pytest.approx(14, abs=0.4)
    # Image and labels go together.
    assert row_of(whole.image[0] > 1) == pytest.approx(row_of(whole.segmentation[0]), abs=0.3)


def test_a_case_goes_towards_the_others_never_itself_and_each_view_has_its_own_part(arrays: TransportedArrays) -> None:
    partners = [arrays.partner(view_name("a", View(number, transported=True))) for number in range(1, 30)]
    assert {partner[0] for partner in partners if partner} == {"b", "c"}
    parts = [partner[1] for partner in partners if partner]
    assert len(set(parts)) == len(parts) == 29 and min(parts) >= PART[0] and max(parts) <= PART[1]
    assert arrays.partner("a") is None and arrays.partner(view_name("a", View(1))) is None


def test_other_names_are_what_the_store_below_has(arrays: TransportedArrays) -> None:
    for name in ("a", view_name("a", View(2))):
        np.testing.assert_array_equal(arrays.load(name).image, arrays.inner.load(name).image)
        assert arrays.properties(name) == arrays.inner.properties(name)
    name = view_name("a", View(2, transported=True))
    assert not np.allclose(arrays.load(name).image, arrays.inner.load(name).image)
    np.testing.assert_array_equal(arrays.segmentation(name), arrays.load(name).segmentation)


def test_the_digest_hangs_on_the_partners_image_so_that_cached_embeddings_do(
    arrays: TransportedArrays, tmp_path: Path
) -> None:
    name = view_name("a", View(1, transported=True))
    partner = arrays.partner(name)
    assert partner is not None
    before = arrays.properties(name).image_digest
    other = arrays.inner.load(partner[0])
    ArrayStore(tmp_path).write(replace(other, properties=replace(other.properties, image_digest="another")))
    assert arrays.properties(name).image_digest != before


def test_the_digest_says_whether_slices_are_tilted_and_else_stays_what_it_was(
    arrays: TransportedArrays, tmp_path: Path
) -> None:
    """Of plans that are not anisotropic it is spelled out: cached embeddings hang on it."""
    name, anisotropic = view_name("a", View(1, transported=True)), replace(DATASET, anisotropic=True)
    other, part = arrays.partner(name)
    assert arrays.properties(name).image_digest == digest_of_json([1, part, digest_of_json([1, 101, "a", "a"]), other])
    flat = replace(arrays, inner=ViewedArrays(ArrayStore(tmp_path), anisotropic),
                   dataset_plan=anisotropic).properties(name)
    assert flat.image_digest != arrays.properties(name).image_digest
    assert flat.segmentation_digest != arrays.properties(name).segmentation_digest


def test_views_of_other_partners_are_cached_under_other_names_and_equal_ones_share_theirs(
    arrays: TransportedArrays
) -> None:
    def names(supports: tuple[str, ...]) -> list[str]:
        return [cached_name(replace(arrays, supports=supports), "a", View(number, transported=True))
                for number in range(1, 7)]

    assert names(("a", "b", "c")) == names(("b", "c"))  # the same others
    assert not {*names(("a", "b", "c"))} & {*names(("a", "c", "b"))}  # b in c's place
    name = names(NAMES)[1]
    assert case_and_view(name) == ("a", View(2, transported=True)) and cached_name(arrays, "a",
                                                                                   View(2)) == view_name("a", View(2))
    assert arrays.properties(name).name == name == f"a__view102_{arrays.properties(name).image_digest[:8]}"
    np.testing.assert_array_equal(arrays.load(name).image, arrays.load(view_name("a", View(2, transported=True))).image)
