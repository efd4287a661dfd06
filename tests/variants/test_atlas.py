from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load_file, save_file
from scipy.ndimage import gaussian_filter

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import UNANNOTATED, LabelSpace, in_slices_alone
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.registration.registration import centred, coarser, register
from samunet.variants import atlas
from samunet.variants.atlas import AtlasVariant, _labels_on, _side_by_side
from samunet.variants.base import VariantContext

PLAIN = LabelSpace({"background": 0, "organ": 1})
IGNORING = LabelSpace({"background": 0, "organ": 1, "ignore": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
SHAPE = (20, 26, 24)


def variant(
    labels: LabelSpace = PLAIN, shape=SHAPE, normalization=("zscore",), spacing_mm=(1.0, 1.0, 1.0), votes=None
) -> AtlasVariant:
    channels = len(normalization)
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), spacing_mm, shape, False, ("MRI",) * channels,
                          normalization,
                          (False,) * channels, ({},) * channels)
    encoder = EncoderPlan("untrained", 256, shape[1:], 0.5, "repeat", 2, "float16", 0, 1)
    return AtlasVariant(VariantContext(labels, dataset, encoder, {}, votes=votes))


def case(image: np.ndarray, segmentation: np.ndarray | None = None) -> PreparedCase:
    image = image if image.ndim == 4 else image[None]
    shape = image.shape[1:]
    box = tuple((0, side) for side in shape)
    properties = CaseProperties("case_7", Geometry("SimpleITKIO", shape, (1.0, 1.0, 1.0)), shape, box, shape, shape,
                                ((0.0, 1.0),), "", None, {})
    labels = None if segmentation is None else segmentation[None].astype(np.int16)
    return PreparedCase(image.astype(np.float32), labels, properties)


def blob(
    centre: tuple[float, ...], radii: tuple[float, ...], shape=SHAPE, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask of an ellipsoid, brighter in its middle, on a noisy ground with a landmark that moves with it."""
    at = np.stack(np.meshgrid(*(np.arange(side) for side in shape), indexing="ij"), -1)
    inside = (((at - centre) / radii) ** 2).sum(-1) < 1
    landmark = (((at - centre + np.array([0, 0, 6])) / 2.0) ** 2).sum(-1) < 1
    image = gaussian_filter(inside * 2.0 + landmark * 3.0, [0.0 if side == 1 else 0.7 for side in shape])
    return image + np.random.default_rng(seed).normal(0, 0.05, shape), inside


def dice(logits: torch.Tensor, truth: np.ndarray) -> float:
    found = logits.numpy().argmax(0) == 1
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def test_finds_what_the_label_lies_on_not_where_it_lay() -> None:
    image, mask = blob((9, 11, 11), (5, 5, 5))
    moved, truth = blob((11, 14, 14), (4, 6, 5), seed=1)
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) < 0.65
    fitted = variant()
    fitted.fit([case(image, mask)])
    assert dice(fitted.predict(case(moved)), truth) > 0.92


def test_a_case_finds_itself_among_others_and_gives_the_same_bytes_with_any_number_of_workers(monkeypatch) -> None:
    first, second = blob((9, 12, 12), (5, 6, 5)), blob((10, 13, 13), (4, 5, 6), seed=1)
    fitted = variant()
    fitted.fit([case(*first), case(*second)])
    monkeypatch.setattr(atlas, "default_workers", lambda: 1)
    logits = fitted.predict(case(first[0] * 100 - 7))  # another scale of intensities
    assert logits.shape == (2, *SHAPE) and logits.dtype == torch.float32
    assert dice(logits, first[1]) > 0.97
    monkeypatch.setattr(atlas, "default_workers", lambda: 3)
    assert torch.equal(logits, fitted.predict(case(first[0] * 100 - 7)))


def test_kept_votes_are_the_same_bytes_without_a_registration(tmp_path, monkeypatch) -> None:
    first, second, target = blob((9, 12, 12), (5, 6, 5)), blob((10, 13, 13), (4, 5, 6), seed=1), blob((10, 12, 13),
                                                                                                      (5, 5, 6), seed=2)
    def fitted(
        *cases: PreparedCase, votes: Path | None = tmp_path, labels: LabelSpace = PLAIN, **more: object
    ) -> AtlasVariant:
        made = variant(labels, votes=votes, **more)
        made.fit(cases)
        return made

    anew = fitted(case(*first), case(*second), votes=None).predict(case(target[0]))
    assert not [*tmp_path.iterdir()]
    assert torch.equal(fitted(case(*first), case(*second)).predict(case(target[0])),
                       anew) and len([*tmp_path.iterdir()]) == 2
    calls = []
    monkeypatch.setattr(atlas, "register", lambda *images: calls.append(images) or register(*images))
    assert torch.equal(fitted(case(*first), case(*second)).predict(case(target[0])), anew) and not calls
    # Whatever one of the two made is found by the other alone; another label, another target, another spacing is
    # another pair.
    fitted(case(*second)).predict(case(target[0]))
    assert not calls
    relabelled = fitted(case(second[0], np.roll(second[1], 1, 0)))
    relabelled.predict(case(target[0]))
    relabelled.predict(case(first[0]))
    fitted(case(*second), spacing_mm=(2.0, 1.0, 1.0)).predict(case(target[0]))
    assert len(calls) == 3
    # As many channels of another meaning.
    fitted(case(*second),
           labels=LabelSpace({"background": 0, "ball": (1, 2), "core": (1,)}, (2, 1))).predict(case(target[0]))
    fitted(case(*second),
           labels=LabelSpace({"background": 0, "ball": (1,), "core": (1, 2)}, (1, 2))).predict(case(target[0]))
    assert len(calls) == 5
    monkeypatch.setattr(atlas, "VERSION", 0)
    fitted(case(*second)).predict(case(target[0]))
    assert len(calls) == 6


def test_where_no_slice_is_annotated_nobody_knows() -> None:
    image, mask = blob((9, 12, 12), (5, 6, 5))
    fitted = variant()
    fitted.fit([case(image, in_slices_alone(mask[None].astype(np.int16), [9])[0])])
    logits, known = fitted.answer(case(image))
    assert logits[1, 9, 12, 12] > logits[0, 9, 12, 12] and torch.equal(logits, fitted.predict(case(image)))
    assert known[9].all() and not known[0].any() and not known[-1].any() and known.shape == SHAPE


def test_a_registration_that_failed_is_not_kept_and_told_again(tmp_path, capsys) -> None:
    fitted = variant(votes=tmp_path)
    fitted.fit([case(*blob((9, 12, 12), (5, 6, 5)))])
    for _ in range(2):
        fitted.predict(case(np.full(SHAPE, 3.0)))
        assert capsys.readouterr().err.startswith("case_7: 1 of 1 training cases")
    assert not [*tmp_path.iterdir()]


def test_saved_and_loaded_predicts_the_same_bytes(tmp_path) -> None:
    fitted = variant()
    smaller = tuple(side - 2 for side in SHAPE)
    fitted.fit([case(*blob((9, 12, 12), (5, 6, 5))), case(*blob((9, 12, 11), (5, 5, 5), smaller, seed=1))])
    state = fitted.state()
    assert state["00.labels"].dtype == torch.uint8 and state["01.image"].shape == smaller
    save_file(state, tmp_path / "atlas.safetensors")
    loaded = variant()
    loaded.load_state(load_file(tmp_path / "atlas.safetensors"))
    target = case(blob((10, 13, 13), (4, 5, 6), seed=2)[0])
    assert torch.equal(loaded.predict(target), fitted.predict(target))


def test_a_loaded_model_retains_the_grid_that_it_was_fitted_on(monkeypatch) -> None:
    """An earlier model does not say its grid, which was the plan's for these 6240 voxels; today's has 15 x 15 x 15."""
    (image, mask), (target, _) = blob((9, 12, 12), (5, 6, 5)), blob((10, 13, 13), (4, 5, 6), seed=2)
    earlier = variant()
    earlier.fit([case(image, mask)])
    monkeypatch.setattr(atlas, "MOST_VOXELS", 20 * 13 * 13)
    fitted = variant()
    fitted.fit([case(image, mask)])
    state, without = fitted.state(), earlier.state()
    assert state["grid_voxels"] == 3380 and state["00.image"].shape == (15, 15, 15)
    del without["grid_voxels"]
    loaded = [variant(), variant()]
    loaded[0].load_state(state)
    loaded[1].load_state(without)
    first, second = (each.predict(case(target)) for each in loaded)
    assert torch.equal(first, fitted.predict(case(target))) and torch.equal(second, earlier.predict(case(target)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("grid", "message"), [(torch.tensor(0), "grid_voxels is 0"),
                                               (torch.tensor([5]), "grid_voxels is 1 of torch.int64, not"),
                                               (torch.tensor(5.0), "grid_voxels is a number of torch.float32, not")])
def test_a_grid_of_no_voxels_or_another_form_is_refused(grid: torch.Tensor, message: str) -> None:
    fitted = variant()
    fitted.fit([case(*blob((9, 12, 12), (5, 6, 5)))])
    with pytest.raises(ValueError, match=message):
        variant().load_state(fitted.state() | {"grid_voxels": grid})


def test_one_slice_is_registered_in_the_plane() -> None:
    shape = (1, 40, 36)
    image, mask = blob((0, 18, 17), (1, 8, 7), shape)
    moved, truth = blob((0, 22, 20), (1, 7, 9), shape, seed=1)
    fitted = variant(shape=shape, spacing_mm=(999.0, 1.0, 1.0))
    fitted.fit([case(image, mask)])
    assert dice(fitted.predict(case(moved)), truth) > 0.92


@pytest.mark.parametrize("shape", [(2, 30, 28), (5, 40, 36)])
def test_few_slices(shape, capsys) -> None:
    middle = (shape[0] - 1) / 2
    image, mask = blob((middle, 14, 14), (9, 6, 6), shape)
    moved, truth = blob((middle, 15, 16), (9, 7, 5), shape, seed=1)
    fitted = variant(shape=shape, spacing_mm=(8.0, 1.0, 1.0))
    fitted.fit([case(image, mask)])
    assert dice(fitted.predict(case(moved)), truth) > 0.9
    assert capsys.readouterr().err == ""


def test_a_flat_image_takes_the_stretched_labels_and_says_so(capsys) -> None:
    image, mask = blob((9, 12, 12), (5, 6, 5))
    fitted = variant()
    fitted.fit([case(image, mask)] * 3)
    logits = fitted.predict(case(np.full(SHAPE, 3.0)))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("case_7: 3 of 3 training cases")
    assert dice(logits, mask) == 1.0


def test_regions_and_ignored_voxels() -> None:
    image, mask = blob((9, 12, 12), (5, 6, 5))
    core = mask & (np.arange(SHAPE[2]) > 12)
    nested = variant(REGIONS)
    nested.fit([case(image, mask + core.astype(int))])
    found = nested.predict(case(image)).numpy() > 0
    assert (found[1] & ~found[0]).sum() == 0
    assert 2 * (found[1] & core).sum() / (found[1].sum() + core.sum()) > 0.95
    # The left half is ignored in one case and labelled in another: only the other has a say there.
    ignoring = variant(IGNORING)
    half = np.where(np.arange(SHAPE[2]) < 12, 2, mask)
    ignoring.fit([case(image, half), case(image, mask)])
    assert dice(ignoring.predict(case(image)), mask) > 0.95


def test_unannotated_slices_have_no_vote(tmp_path) -> None:
    image, mask = blob((9, 12, 12), (5, 6, 5))
    lower = in_slices_alone(mask[None].astype(np.int16), range(9))[0]
    upper = in_slices_alone(mask[None].astype(np.int16), range(9, SHAPE[0]))[0]
    fitted = variant()
    fitted.fit([case(image, lower), case(image, upper)])
    assert dice(fitted.predict(case(image)), mask) > 0.95
    assert fitted.state()["00.labels"].dtype == torch.int16
    save_file(fitted.state(), tmp_path / "atlas.safetensors")
    loaded = variant()
    loaded.load_state(load_file(tmp_path / "atlas.safetensors"))
    assert [support.labels.min() for support in loaded.supports] == [UNANNOTATED] * 2
    np.testing.assert_array_equal(loaded.supports[1].labels, upper)


def test_an_annotated_slice_does_not_fall_between_those_of_a_coarser_grid() -> None:
    labels = np.full((6, 2, 2), UNANNOTATED, np.int16)
    labels[3] = [[1, -1], [0, 2]]
    for plane in range(6):
        rolled = np.roll(labels, plane - 3, 0)
        found = _labels_on((2, 2, 2), rolled)
        assert found[plane // 3].tolist() == [[1, 0], [0, 2]] and (found[1 - plane // 3] == UNANNOTATED).all()
    assert _labels_on((6, 2, 2), labels)[3].tolist() == [[1, 0], [0, 2]]


def test_at_most_the_first_sixteen_cases_are_kept() -> None:
    fitted = variant(shape=(2, 3, 4))
    fitted.fit([case(np.zeros((2, 3, 4)), np.full((2, 3, 4), number % 2)) for number in range(20)])
    assert [int(support.labels.max()) for support in fitted.supports] == [0, 1] * 8


def test_registers_by_the_first_channel_and_rgb_by_the_mean() -> None:
    image = np.stack([np.linspace(0, 1, 24).reshape(2, 3, 4), np.zeros((2, 3, 4)), np.zeros((2, 3, 4))])
    image[2, 0, 0, 0] = 100.0
    several, _ = variant(shape=(2, 3, 4), normalization=("zscore",) * 3)._registration_image(case(image))
    assert several.ravel()[[0, -1]] == pytest.approx([0, 1]) and np.all(np.diff(several.ravel()) >= 0)
    rgb, _ = variant(shape=(2, 3, 4), normalization=("rgb_to_0_1",) * 3)._registration_image(case(image))
    assert rgb.argmax() == 0


def test_large_cases_are_registered_on_a_coarser_grid(monkeypatch) -> None:
    monkeypatch.setattr(atlas, "MOST_VOXELS", 20 * 13 * 13)
    image, mask = blob((9, 12, 12), (5, 6, 5))
    fitted = variant(spacing_mm=(2.0, 1.0, 1.0))
    fitted.fit([case(image, mask)])
    support = fitted.supports[0]
    # 15 * 15 * 15 = 3375 fits into 3380 voxels, 16 * 16 * 16 does not.
    assert support.image.shape == (15, 15, 15)
    assert support.spacing_mm == pytest.approx((2 * 20 / 15, 26 / 15, 24 / 15))
    logits = fitted.predict(case(image))
    assert logits.shape == (2, *SHAPE)
    assert dice(logits, mask) > 0.85


def test_centred_lays_box_over_box() -> None:
    fixed, moving = sitk.Image(10, 20, 30, sitk.sitkFloat32), sitk.Image(20, 20, 15, sitk.sitkFloat32)
    moving.SetSpacing((1.0, 0.5, 2.0))
    transform = centred(fixed, moving)
    # Corners of the boxes lie half a voxel outside the outermost centres.
    assert transform.TransformPoint((-0.5, -0.5, -0.5)) == pytest.approx((-0.5, -0.25, -1.0))
    assert transform.TransformPoint((9.5, 19.5, 29.5)) == pytest.approx((19.5, 9.75, 29.0))


def test_coarser_keeps_the_box_and_linear_ramps() -> None:
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32), (3, 32, 32))
    image = coarser(sitk.GetImageFromArray(np.ascontiguousarray(ramp)), 2)
    assert image.GetSize() == (16, 16, 3)
    assert image.GetSpacing() == (2, 2, 1)
    assert sitk.GetArrayFromImage(image)[1, 8, 2:-2] == pytest.approx(np.arange(12) * 2 + 4.5, abs=1e-3)


def test_transform_carries_points_of_fixed_to_moving() -> None:
    (fixed, _), (moving, _) = blob((9, 12, 12), (5, 6, 5)), blob((11, 14, 13), (5, 6, 5), seed=1)
    images = [sitk.GetImageFromArray((image / 3).astype(np.float32)) for image in (fixed, moving)]
    x, y, z = register(*images).TransformPoint((12.0, 12.0, 9.0))
    assert (z, y, x) == pytest.approx((11, 14, 13), abs=0.8)


def test_voxels_of_any_size_give_the_same_answer() -> None:
    image, mask = blob((9, 12, 12), (5, 6, 5))
    moved, truth = blob((10, 13, 14), (5, 6, 5), seed=1)
    found = []
    for scale in (1.0, 0.01, 100.0):
        fitted = variant(spacing_mm=(2 * scale, scale, scale))
        fitted.fit([case(image, mask)])
        found.append(fitted.predict(case(moved)))
    assert dice(found[0], truth) > 0.92
    assert torch.allclose(found[1], found[0], atol=1e-3) and torch.allclose(found[2], found[0], atol=1e-3)


def test_pairs_side_by_side_come_in_order_and_only_one_more_than_there_are_workers_is_under_way() -> None:
    started = []
    answers = _side_by_side(lambda support: started.append(support) or support * 10, range(6), workers=2)
    assert next(answers) == 0
    assert sorted(started) <= [0, 1, 2, 3]
    assert [*answers] == [10, 20, 30, 40, 50] and sorted(started) == [0, 1, 2, 3, 4, 5]
