"""Images of labelled slices whose contrast is known, with all degradations off and then one at a time."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from samunet.pretraining import rendering
from samunet.pretraining.rendering import NEIGHBOURS, REPEAT, RGB, render

BANDS = 4  # labels, one under another in rows of the same height
SIDE = 32
OWN, SHARED = torch.tensor([0, 1]), torch.tensor([0, 0])  # protocols of two volumes


@pytest.fixture
def labels() -> Tensor:
    """Two volumes of one slice of BANDS bands, the same before and after."""
    bands = torch.arange(BANDS, dtype=torch.uint8).repeat_interleave(SIDE // BANDS)
    return bands[:, None].expand(2, 1, 3, SIDE, SIDE).contiguous()


def only(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "COMPOSITION_SHARE", tuple(float(index == kind) for index in range(3)))


def without_degradation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEXTURE", "BIAS", "NOISE"):
        monkeypatch.setattr(rendering, name, 0.0)
    monkeypatch.setattr(rendering, "COARSEST", 1)


def with_contrast(table: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "contrasts", lambda *given: torch.tensor(table).expand(2, 3, -1))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("kind", (NEIGHBOURS, REPEAT, RGB))
def test_images_lie_in_the_unit_range_and_clean_ones_are_one_value_a_label(labels, kind, monkeypatch) -> None:
    only(kind, monkeypatch)
    made = render(labels, BANDS, 1, generator())
    assert float(made.images.min()) >= 0 and float(made.images.max()) <= 1
    bands = made.clean.view(2, BANDS, -1)
    assert float((bands - bands[..., :1]).abs().max()) < 1e-6
    # Texture and noise are there: no band of the image is flat.
    assert float(made.images[:, 0, 1].reshape(2, BANDS, -1).std(-1).min()) > 0


def test_a_repeated_slice_has_three_equal_channels_and_three_contrasts_have_not(labels, monkeypatch) -> None:
    only(REPEAT, monkeypatch)
    images = render(labels, BANDS, 1, generator()).images
    assert torch.equal(images[:, :, 0], images[:, :, 1]) and torch.equal(images[:, :, 1], images[:, :, 2])
    only(RGB, monkeypatch)
    images = render(labels, BANDS, 1, generator()).images
    assert not torch.equal(images[:, :, 0], images[:, :, 1])


def test_repeated_and_coloured_images_show_the_middle_slice_alone(labels, monkeypatch) -> None:
    without_degradation(monkeypatch)
    other = labels.clone()
    other[:, :, 0] = BANDS - 1 - labels[:, :, 0]
    for kind, shown in ((NEIGHBOURS, False), (REPEAT, True), (RGB, True)):
        only(kind, monkeypatch)
        images = (render(each, BANDS, 1, generator()).images for each in (labels, other))
        assert torch.equal(*images) == shown


def test_only_coloured_images_have_a_contrast_for_each_channel() -> None:
    table = rendering.contrasts(torch.tensor([False, True]), BANDS, OWN, generator())
    assert table.shape == (2, 3, BANDS)
    assert torch.equal(table[0, 0], table[0, 1]) and torch.equal(table[0, 0], table[0, 2])
    assert not torch.equal(table[1, 0], table[1, 1]) and not torch.equal(table[1, 1], table[1, 2])


@pytest.mark.parametrize("kind", (NEIGHBOURS, REPEAT, RGB))
def test_undegraded_images_rise_with_the_contrast_table(labels, kind, monkeypatch) -> None:
    only(kind, monkeypatch)
    without_degradation(monkeypatch)
    with_contrast([0.7, 0.1, 0.9, 0.3], monkeypatch)
    made = render(labels, BANDS, 1, generator())
    middles = made.images.view(2, 3, BANDS, SIDE // BANDS, SIDE)[:, :, :, 2:-2]  # softening reaches one pixel
    assert float(middles.amax((3, 4)).sub(middles.amin((3, 4))).max()) < 1e-5
    values = middles.mean((3, 4))
    assert bool((values[..., 1] < values[..., 3]).all()) and bool((values[..., 3] < values[..., 0]).all())
    assert bool((values[..., 0] < values[..., 2]).all())
    # Clean slices go through the same curve.
    torch.testing.assert_close(made.clean.view(2, BANDS, -1).mean(-1)[:, None].expand(-1, 3, -1), values,
                               atol=1e-5, rtol=0)


def test_deviations_about_the_mean_become_the_unit_range(labels, monkeypatch) -> None:
    only(REPEAT, monkeypatch)
    without_degradation(monkeypatch)
    with_contrast([1.0, 0.0, 1.0, 0.0], monkeypatch)
    monkeypatch.setattr(rendering, "RANGE", (2.0, 2.0))
    monkeypatch.setattr(rendering, "GAMMA", (2.0, 2.0))
    # Every draw at the start of its range, so that nothing is softened.
    monkeypatch.setattr(rendering, "uniform", lambda low, high, generator, *shape: torch.full(shape, low))
    clean = render(labels, BANDS, 1, generator()).clean.view(2, BANDS, -1).mean(-1)
    # Mean 1/2, std 1/2: 1 is at (0.5 / (2 * 2 * 0.5) + 0.5) = 0.75, 0 at 0.25; gamma 2 squares them.
    torch.testing.assert_close(clean, torch.tensor([0.5625, 0.0625, 0.5625, 0.0625]).expand(2, -1), atol=1e-3, rtol=0)


def test_lowered_resolution_averages_what_a_coarse_pixel_covers(monkeypatch) -> None:
    monkeypatch.setattr(rendering, "NOISE", 0.0)
    monkeypatch.setattr(rendering, "uniform", lambda low, high, generator, *shape: torch.full(shape, low))
    monkeypatch.setattr(torch, "randint", lambda low, high, shape, **named: torch.tensor([1, 2]))
    image = torch.zeros(2, 1, 3, 4, 4)
    image[..., ::2, :] = 1.0  # rows of 1 and 0
    degraded = rendering._degraded(image, torch.tensor([True, True]), OWN, generator())
    assert torch.equal(degraded[0], image[0])
    assert torch.equal(degraded[1], torch.full((1, 3, 4, 4), 0.5))


def test_a_thick_slice_holds_a_share_of_its_neighbours(monkeypatch) -> None:
    monkeypatch.setattr(rendering, "NOISE", 0.0)
    monkeypatch.setattr(rendering, "COARSEST", 1)
    drawn = iter([torch.tensor([0.3, 0.3])])
    monkeypatch.setattr(rendering, "uniform", lambda low, high, generator, *shape: next(drawn, torch.zeros(shape)))
    image = torch.tensor([0.0, 0.0, 3.0]).view(1, 1, 3, 1, 1).expand(2, 1, 3, 4, 4).contiguous()
    degraded = rendering._degraded(image, torch.tensor([True, False]), OWN, generator())
    assert torch.equal(degraded[0], image[0])  # a slice shown alone has none
    torch.testing.assert_close(degraded[1, 0, :, 0, 0], torch.tensor([0.3, 0.3, 0.7 * 3 + 0.3]))


def test_bias_is_a_smooth_positive_gain_that_channels_share(labels) -> None:
    gain = rendering._bias(labels, generator())
    assert gain.shape == (2, 1, 1, SIDE, SIDE)
    assert float(gain.min()) > 0
    assert float(gain.log().diff(dim=-1).abs().max()) < 0.3  # a field of 3 x 3 nodes over 32 pixels


# --- protocols


def flipped(labels: Tensor, patients: int) -> Tensor:
    """`patients` volumes of the same bands, upside down in every other one."""
    return torch.cat([labels[:1].flip(3) if patient % 2 else labels[:1] for patient in range(patients)])


def intensities(made: rendering.Rendering, labels: Tensor) -> Tensor:
    """(V, BANDS): the clean intensity of each label in each volume, which must be one value."""
    found = torch.empty(len(labels), BANDS)
    for volume, label in product(range(len(labels)), range(BANDS)):
        values = made.clean[volume][labels[volume, :, 1] == label]
        torch.testing.assert_close(values, values[:1].expand_as(values), atol=1e-6, rtol=0)
        found[volume, label] = values[0]
    return found


def test_patients_of_a_shared_family_point_at_its_first_volume(monkeypatch) -> None:
    monkeypatch.setattr(rendering, "SHARED_SHARE", 1.0)
    assert rendering.protocols(8, 4, generator()).tolist() == [0, 0, 0, 0, 4, 4, 4, 4]
    monkeypatch.setattr(rendering, "SHARED_SHARE", 0.0)
    assert rendering.protocols(8, 4, generator()).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    monkeypatch.setattr(rendering, "SHARED_SHARE", 0.7)
    monkeypatch.setattr(rendering, "uniform", lambda *given: torch.tensor([0.69, 0.71, 0.2]))
    assert rendering.protocols(9, 3, generator()).tolist() == [0, 0, 0, 3, 4, 5, 6, 6, 6]


def test_seven_families_of_ten_are_shared() -> None:
    protocol = rendering.protocols(8000, 4, generator()).view(2000, 4)
    own = torch.arange(8000).view(2000, 4)
    shared = (protocol == own[:, :1]).all(1)
    assert torch.equal(protocol[~shared], own[~shared])
    assert float(shared.float().mean()) == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("kind", (NEIGHBOURS, REPEAT, RGB))
def test_a_label_is_as_bright_in_all_patients_of_a_shared_family(labels, kind, monkeypatch) -> None:
    only(kind, monkeypatch)
    without_degradation(monkeypatch)
    monkeypatch.setattr(rendering, "CONTRAST_JITTER", 0.0)
    volumes = flipped(labels, 8)  # upside down, a volume keeps its mean and std
    monkeypatch.setattr(rendering, "SHARED_SHARE", 1.0)
    found = intensities(render(volumes, BANDS, 4, generator()), volumes)
    for family in (found[:4], found[4:]):
        torch.testing.assert_close(family, family[:1].expand_as(family), atol=1e-5, rtol=0)
    assert float((found[0] - found[4]).abs().max()) > 0.05  # families differ
    monkeypatch.setattr(rendering, "SHARED_SHARE", 0.0)
    found = intensities(render(volumes, BANDS, 4, generator()), volumes)
    distances = torch.cdist(found, found) + 9 * torch.eye(8)
    assert float(distances.min()) > 0.05


def test_shared_contrasts_are_equal_up_to_the_jitter(monkeypatch) -> None:
    gray, first = torch.zeros(4000, dtype=torch.bool), torch.zeros(4000, dtype=torch.long)
    table = rendering.contrasts(gray, BANDS, first, generator())[:, 0]
    middle = table.mean(0)
    assert bool((middle > -0.01).all()) and bool((middle < 1.01).all()) and float(middle.std()) > 0.05
    torch.testing.assert_close(table.std(0), torch.full((BANDS,), 0.04), atol=0, rtol=0.05)
    monkeypatch.setattr(rendering, "CONTRAST_JITTER", 0.0)
    table = rendering.contrasts(gray, BANDS, first, generator())[:, 0]
    assert torch.equal(table, table[:1].expand_as(table))


def test_a_quarter_of_labels_are_as_bright_as_others(monkeypatch) -> None:
    monkeypatch.setattr(rendering, "CONTRAST_JITTER", 0.0)
    gray = torch.zeros(4000, dtype=torch.bool)
    table = rendering.contrasts(gray, 4, torch.arange(4000), generator())[:, 0]
    # A hidden label takes the brightness of one of four, perhaps its own: a pair is equal in 2 * 1/4 * 1/4 of all
    # cases, and a little more where both hide.
    assert 0.1 < float((table[:, 0] == table[:, 1]).float().mean()) < 0.15


def test_a_shared_family_has_one_composition(labels, monkeypatch) -> None:
    monkeypatch.setattr(rendering, "NOISE", 0.0)
    monkeypatch.setattr(rendering, "_choices", lambda *given: torch.tensor([REPEAT, RGB, RGB, REPEAT]))
    volumes = flipped(labels, 4)
    for share, expected in ((1.0, [True, True, False, False]), (0.0, [True, False, False, True])):
        monkeypatch.setattr(rendering, "SHARED_SHARE", share)
        images = render(volumes, BANDS, 2, generator()).images
        assert [torch.equal(each[:, 0], each[:, 1]) for each in images] == expected


def test_texture_is_as_strong_as_the_protocol_says_but_each_patients_own(labels, monkeypatch) -> None:
    # Strengths are 1 in the first volume and 0 in the second.
    monkeypatch.setattr(rendering, "uniform",
                        lambda low, high, generator, *shape: torch.tensor([1.0, 0.0])[:, None].expand(shape))
    labels, alone = labels.long(), torch.tensor([True, True])
    own = rendering._texture(labels, BANDS, alone, OWN, generator())
    assert float(own[0].std()) > 0.3 and float(own[1].abs().max()) == 0
    shared = rendering._texture(labels, BANDS, alone, SHARED, generator())
    assert torch.equal(shared[0], own[0]) and float(shared[1].std()) > 0.3
    assert not torch.equal(shared[0], shared[1])


def test_resolution_and_noise_are_the_protocols(monkeypatch) -> None:
    monkeypatch.setattr(rendering, "uniform", lambda low, high, generator, *shape: torch.zeros(shape))
    monkeypatch.setattr(torch, "randint", lambda low, high, shape, **named: torch.tensor([2, 1]))
    image = torch.zeros(2, 1, 3, 4, 4)
    image[..., ::2, :] = 1.0
    alone = torch.tensor([True, True])
    degraded = rendering._degraded(image, alone, SHARED, generator())
    assert torch.equal(degraded, torch.full((2, 1, 3, 4, 4), 0.5))
    # Noise of std 1 in the first volume and none in the second; both at full resolution.
    monkeypatch.setattr(torch, "randint", lambda low, high, shape, **named: torch.tensor([1, 1]))
    drawn = [torch.zeros(2), torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])]
    for protocol, noisy in ((OWN, [True, False]), (SHARED, [True, True])):
        given = iter(drawn)  # thickness, softness, and the two factors of the noise
        monkeypatch.setattr(rendering, "uniform", lambda *_, given=given: next(given))
        changed = (rendering._degraded(image, alone, protocol, generator()) != image).flatten(1)
        assert changed.all(1).tolist() == changed.any(1).tolist() == noisy


def test_mean_and_deviation_are_each_volumes_but_the_curve_is_the_protocols(monkeypatch) -> None:
    image = torch.zeros(2, 1, 3, 32, 32)
    image[0, ..., ::2, :] = 1.0
    image[1] = 10 + 2 * image[0]
    clean = image[:, :, 1]
    drawn = [torch.tensor([2.0, 1.0]), torch.tensor([2.0, 3.0]).log()]  # standard deviations, gamma
    for protocol, expected in ((OWN, [0.75**2, 1.0]), (SHARED, [0.75**2, 0.75**2])):
        given = iter(drawn)
        monkeypatch.setattr(rendering, "uniform", lambda *_, given=given: next(given))
        made = rendering._scaled(image, clean, protocol, generator())
        # The larger value lies one std above the mean: at 1 / (2 * 2) + 1/2, or 1 / (2 * 1) + 1/2.
        torch.testing.assert_close(made.clean.amax((1, 2, 3)), torch.tensor(expected), atol=1e-3, rtol=0)
        assert torch.equal(made.images[:, :, 1], made.clean)
