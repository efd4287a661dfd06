"""Windowed 3D attention: windows by hand, the whole against a plain formula, and equal slices against 2D attention."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.networks.attention import Attention
from samunet.networks.attention_3d import HIDDEN, AxisWindows, WindowAttention3d

WIDTH, HEADS = 12, 3


def plain_attention(window: int = 0, rows: int = 16) -> Attention:
    torch.manual_seed(0)
    attention = Attention(WIDTH, HEADS, window, (rows, rows))
    for table in (attention.rel_pos_h, attention.rel_pos_w):
        nn.init.normal_(table)
    return attention.requires_grad_(False)


def volumetric(window: int = 0, *, shifted: bool) -> WindowAttention3d:
    attention = WindowAttention3d(plain_attention(window), shifted=shifted)
    nn.init.normal_(attention.rel_pos_d, generator=torch.Generator().manual_seed(1))
    return attention


def tokens(*grid: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, *grid, WIDTH, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "length, side, count, shift",
    [(1, 1, 1, 0), (7, 7, 1, 0), (8, 8, 1, 0), (9, 5, 2, 2), (12, 6, 2, 3), (16, 8, 2, 4), (20, 7, 3, 3),
     (32, 8, 4, 4)],
)
def test_windows_are_as_long_as_possible_and_equal(length: int, side: int, count: int, shift: int) -> None:
    assert AxisWindows.of(length, shifted=True) == AxisWindows(length, side, count, shift)
    assert AxisWindows.of(length, shifted=False) == AxisWindows(length, side, count, 0)


def test_places_and_mask_by_hand() -> None:
    axis = AxisWindows.of(9, shifted=True)  # two windows of 5, shifted by 2; place 9 is blank
    device = torch.device("cpu")
    assert axis.places(device).tolist() == [[2, 3, 4, 5, 6], [7, 8, 9, 0, 1]]
    mask = axis.mask(device)
    assert mask is not None and not mask[0].any()
    end, start = [0, 0, HIDDEN, HIDDEN, HIDDEN], [HIDDEN, HIDDEN, HIDDEN, 0, 0]
    assert mask[1][[0, 1, 3, 4]].tolist() == [end, end, start, start]
    assert AxisWindows.of(16, shifted=False).mask(device) is None


def by_formula(attention: WindowAttention3d, volume: Tensor) -> Tensor:
    """softmax over all tokens that share a window along every axis, one pair of tokens at a time."""
    grid = volume.shape[:3]
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid))
    query, key, value = attention.qkv(volume).double().view(-1, 3, HEADS, WIDTH // HEADS).permute(1, 2, 0, 3)
    scores = query @ key.transpose(1, 2) / math.sqrt(WIDTH // HEADS)
    seen = torch.ones(len(places), len(places), dtype=torch.bool)
    for axis, table in enumerate((attention.rel_pos_d, attention.rel_pos_h, attention.rel_pos_w)):
        count = math.ceil(grid[axis] / 8)
        side = math.ceil(grid[axis] / count)
        shift = side // 2 if attention.shifted and count > 1 else 0
        window = (places[:, axis] - shift).div(side, rounding_mode="floor")  # -1: before the first whole window
        seen &= window[:, None] == window
        entries = functional.interpolate(table.T[None], 15, mode="linear")[0].T.double()
        steps = (places[:, axis, None] - places[:, axis] + 7).clamp(0, 14)
        scores += torch.einsum("aqc,qkc->aqk", query, entries[steps])
    weights = scores.masked_fill(~seen, -math.inf).softmax(-1)
    return attention.proj((weights @ value).transpose(0, 1).flatten(1).float()).view(volume.shape)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("grid", [(3, 7, 5), (2, 9, 12), (16, 1, 8), (1, 10, 19)])
def test_it_is_the_formula_on_any_grid(grid: tuple[int, int, int], shifted: bool) -> None:
    attention, volumes = volumetric(shifted=shifted), tokens(*grid, batch=2)
    with torch.no_grad():
        found = attention(volumes)
        for volume, output in zip(volumes, found, strict=True):
            torch.testing.assert_close(output, by_formula(attention, volume), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changed, seen_by", [(0, range(4)), (15, range(12, 16)), (5, range(4, 12))])
@pytest.mark.parametrize("axis", range(3))
def test_no_token_is_seen_beyond_its_window_or_across_the_wrapped_border(
    axis: int, changed: int, seen_by: range
) -> None:
    grid, at = [1, 2, 1], [0, 1, 0]
    grid[axis], at[axis] = 16, changed
    at[1] = changed if axis == 1 else 1
    attention, volume = volumetric(shifted=True), tokens(*grid)
    other = volume.clone()
    other[0, at[0], at[1], at[2]] += 1
    with torch.no_grad():
        moved = (attention(volume) != attention(other)).any(-1)[0]
    moved = moved.any(tuple(number for number in range(3) if number != axis))
    assert moved.nonzero().flatten().tolist() == list(seen_by)


@pytest.mark.parametrize("grid, window", [((3, 8, 8), 0), ((2, 8, 8), 8), ((9, 16, 24), 8)])
def test_equal_slices_are_attention_of_one_slice_in_windows_of_8(grid: tuple[int, int, int], window: int) -> None:
    """For any table of depth: keys of a slice and row and column differ in the depth term only, which is a factor that
    all keys of a slice share. Weights over slices are thus of equal values, and their sum is 1."""
    slice_, attention = tokens(1, *grid[1:])[:, 0], volumetric(window, shifted=False)
    plain = plain_attention(window)
    if not window:  # a global block whose grid is one window of 8
        assert max(grid[1:]) == 8
    with torch.no_grad():
        found = attention(slice_[:, None].expand(-1, grid[0], -1, -1, -1))
        expected = plain(slice_)
    torch.testing.assert_close(found, expected[:, None].expand_as(found), rtol=1e-5, atol=1e-5)


def test_equal_slices_in_shifted_windows_agree_except_at_the_border() -> None:
    """Segment Anything has no shifted windows, so its attention is rolled. That mixes opposite borders, as the mask
    here does not: only the windows away from the border, rows and columns 4 to 19 of 24, can agree."""
    slice_, attention, plain = tokens(1, 24, 24)[:, 0], volumetric(8, shifted=True), plain_attention(8)
    with torch.no_grad():
        found = attention(slice_[:, None].expand(-1, 9, -1, -1, -1))
        expected = plain(slice_.roll((-4, -4), (1, 2))).roll((4, 4), (1, 2))[:, None].expand_as(found)
    agree = ((found - expected).abs() < 1e-5).all(-1).all(1)[0]
    assert agree[4:20, 4:20].all() and not agree[:4].any() and not agree[:, 20:].any()


def test_the_table_of_depth_starts_as_the_mean_and_alone_is_trained() -> None:
    plain = plain_attention()
    attention = WindowAttention3d(plain, shifted=True)
    assert torch.equal(attention.rel_pos_d, (plain.rel_pos_h + plain.rel_pos_w) / 2)
    assert [name for name, each in attention.named_parameters() if each.requires_grad] == ["rel_pos_d"]
    assert attention.qkv.weight is plain.qkv.weight


def test_gradients_with_blank_tokens_are_those_of_the_formula() -> None:
    attention, volume = volumetric(shifted=True), tokens(2, 9, 3)
    gradients = []
    for compute in (lambda each: attention(each), lambda each: by_formula(attention, each[0])):
        each = volume.clone().requires_grad_()
        attention.zero_grad()
        compute(each).square().sum().backward()
        gradients.append((each.grad, attention.rel_pos_d.grad.clone()))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
