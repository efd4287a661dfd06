"""Pictures for the encoder, checked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from samunet.dataset.geometry import Geometry
from samunet.inputs.encoder_input import INPUT_STATISTICS, EncoderInput
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.preprocessing.case import CaseProperties, PreparedCase


def made_case(image: np.ndarray, limits: tuple[float, float] = (0.0, 1.0)) -> PreparedCase:
    shape = image.shape[1:]
    properties = CaseProperties("made", Geometry("SimpleITKIO", shape, (1, 1, 1)), shape, ((0, shape[0]),) * 3, shape,
                                shape, (limits,) * image.shape[0], "", None, {})
    return PreparedCase(image.astype(np.float32), None, properties)


def made_plans(tile: tuple[int, int], composition: str, scheme: str = "nonorm", channels: int = 1, **statistics: float):
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1, 1, 1), (3, 4, 4), False, ("any",) * channels,
                          (scheme,) * channels, (False,) * channels, (statistics,) * channels)
    return dataset, EncoderPlan("untrained", 32, tile, 0.5, composition, 2, "float16", 0, 10)


def pictures(image, tile, composition, picks, family="medsam", limits=(0.0, 1.0), mirror=()):
    plans = made_plans(tile, composition, channels=image.shape[0])
    return EncoderInput(made_case(image, limits), *plans, family).images(picks, mirror)


def test_intensities_are_clipped_to_the_percentiles_and_scaled_to_one():
    image = np.full((1, 1, 4, 4), 3.0)
    image[0, 0, 0] = -50.0
    picture = pictures(image, (4, 4), "repeat", [(0, 0)], limits=(1.0, 5.0))
    # 3 lies halfway between 1 and 5; -50 is clipped to 1, which becomes 0. A voxel is 8 pixels wide.
    assert picture.shape == (1, 3, 32, 32)
    assert picture[0, :, 31, 5].tolist() == [0.5] * 3 and picture[0, :, 0, 5].tolist() == [0.0] * 3


def test_neighbours_are_the_slices_below_and_above_and_repeat_at_the_ends():
    image = np.arange(3.0).reshape(1, 3, 1, 1).repeat(4, 2).repeat(4, 3)
    channels = pictures(image, (4, 4), "neighbours", [(0, 0), (1, 0), (2, 0)], limits=(0.0, 2.0))[:, :, 16, 16]
    assert channels.tolist() == [[0, 0, 0.5], [0, 0.5, 1], [0.5, 1, 1]]


def test_repeat_is_one_slice_three_times():
    image = np.arange(3.0).reshape(1, 3, 1, 1).repeat(4, 2).repeat(4, 3)
    assert pictures(image, (4, 4), "repeat", [(1, 0)], limits=(0.0, 2.0))[0, :, 9, 9].tolist() == [0.5] * 3


def test_rgb_is_one_picture_and_other_channels_are_encoded_alone():
    image = np.stack([np.full((1, 4, 4), value) for value in (0.2, 0.4, 0.6)])
    rgb = pictures(image, (4, 4), "rgb", [(0, 0)])
    assert rgb.shape[0] == 1
    torch.testing.assert_close(rgb[0, :, 3, 3], torch.tensor([0.2, 0.4, 0.6]))
    alone = pictures(image, (4, 4), "repeat", [(0, 0)])
    assert alone.shape[0] == 3
    torch.testing.assert_close(alone[:, 0, 3, 3], torch.tensor([0.2, 0.4, 0.6]))


def test_aspect_ratio_is_kept_and_what_lies_outside_is_zero_after_normalisation():
    picture = pictures(np.ones((1, 1, 4, 2)), (4, 2), "repeat", [(0, 0)], family="mini")
    mean, deviation = INPUT_STATISTICS["mini"][0][0], INPUT_STATISTICS["mini"][1][0]
    # The longer side fills 32 pixels, the shorter 16; the rest of the square is padding.
    assert bool((picture[..., :16] == (1 - mean) / deviation).all())
    assert bool((picture[..., 16:] == 0).all())


def test_an_image_smaller_than_the_tile_lies_in_its_middle():
    picture = pictures(np.ones((1, 1, 2, 4)), (4, 4), "repeat", [(0, 0)])
    rows = picture[0, 0, :, 16]
    assert rows[:4].tolist() == [0.0] * 4 and rows[12:20].tolist() == [1.0] * 8 and rows[-4:].tolist() == [0.0] * 4


def test_mirroring_flips_the_tile_before_it_is_padded():
    image = np.arange(8.0).reshape(1, 1, 4, 2)
    plain, flipped = (pictures(image, (4, 2), "repeat", [(0, 0)], limits=(0, 7), mirror=m) for m in ((), (1,)))
    torch.testing.assert_close(flipped[..., :16], plain[..., :16].flip(-1))
    assert bool((flipped[..., 16:] == 0).all())


def test_z_scores_have_the_same_scale_in_every_case_whatever_its_percentiles():
    dataset, plan = made_plans((4, 4), "repeat", "zscore")
    image = np.full((1, 1, 4, 4), 1.25)
    image[0, 0, 0] = 99.0
    for limits in ((0.0, 1.0), (-2.0, 99.0)):
        picture = EncoderInput(made_case(image, limits), dataset, plan, "medsam").images([(0, 0)])
        # -2.5 deviations are 0, +2.5 are 1: 1.25 is three quarters of the way.
        assert float(picture[0, 0, 20, 8]) == pytest.approx(0.75)
        assert float(picture[0, 0, 0, 8]) == 1.0


def test_ct_is_clipped_to_the_datasets_percentiles_not_the_cases():
    dataset, plan = made_plans((4, 4), "repeat", "ct", mean=100.0, std=50.0, percentile_00_5=0.0, percentile_99_5=300.0)
    # After CT normalisation 0 HU stands at -2 and 300 HU at 4, so 1.0 is halfway.
    picture = EncoderInput(made_case(np.ones((1, 1, 4, 4)), (0.0, 1.0)), dataset, plan, "medsam").images([(0, 0)])
    assert float(picture[0, 0, 8, 8]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("family", "black", "white"),
    [
        # segment-anything: (value * 255 - pixel_mean) / pixel_std with 123.675, 116.28, 103.53 and 58.395, 57.12,
        # 57.375.
        ("sam", (-123.675 / 58.395, -116.28 / 57.12, -103.53 / 57.375),
         (131.325 / 58.395, 138.72 / 57.12, 151.47 / 57.375)),
        ("medsam", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ("mini", (-2.0, -2.0, -2.0), (2.0, 2.0, 2.0)),
    ],
)
def test_each_family_gets_its_input_as_it_was_trained(family, black, white):
    image = np.zeros((1, 1, 4, 4))
    image[0, 0, 2:] = 1.0
    picture = pictures(image, (4, 4), "repeat", [(0, 0)], family=family)
    assert picture[0, :, 0, 5].tolist() == pytest.approx(black, abs=1e-6)
    assert picture[0, :, 31, 5].tolist() == pytest.approx(white, abs=1e-6)


@pytest.mark.parametrize("family", INPUT_STATISTICS)
def test_an_image_smaller_than_the_tile_has_zeros_around_it_whatever_the_family(family):
    # 2 x 2 voxels of the mean of the range in the middle of a tile of 6 x 6, of which each voxel is 16 of 96 pixels.
    dataset, plan = made_plans((6, 6), "repeat")
    picture = EncoderInput(made_case(np.full((1, 1, 2, 2), 0.25)), dataset, replace(plan, input_size=96),
                           family).images([(0, 0)])
    mean, deviation = (torch.tensor(values) for values in INPUT_STATISTICS[family])
    torch.testing.assert_close(picture[0, :, 48, 48], (0.25 - mean) / deviation)
    inner = torch.zeros(96, 96, dtype=torch.bool)
    inner[24:72, 24:72] = True  # the image and half a voxel around it, in which it fades
    assert bool((picture[0, :, ~inner] == 0).all())
