"""Sizes from shapes only, and weights interpolated by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam

from samunet.networks.checkpoints.shapes import encoder_size, encoder_weights, size_name
from samunet.networks.sam import ENCODER_SIZES, EncoderSize, build_image_encoder

HERE = Path("file.pth")
NUMBERS = EncoderSize(4, 2, 2, 2, (1,), 64)


def _state(positions: torch.Tensor, **tables: torch.Tensor) -> dict[str, torch.Tensor]:
    names = {f"image_encoder.blocks.{name[-1]}.attn.rel_pos_{name[0]}": table for name, table in tables.items()}
    return {"image_encoder.pos_embed": positions, **names}


@pytest.mark.parametrize("name", ["mini", "vit_b", "vit_l", "vit_h"])
def test_named_sizes_are_recognised_by_the_shapes_of_their_state(name: str):
    with torch.device("meta"):
        module = build_image_encoder(name, ENCODER_SIZES[name].native_input_size)
    size = encoder_size({f"image_encoder.{key}": tensor for key, tensor in module.state_dict().items()}, HERE)
    assert (size, size_name(size)) == (ENCODER_SIZES[name], name)


def test_any_other_size_is_recognised_too(small_sam: Sam):
    size = encoder_size(small_sam.state_dict(), HERE)
    assert (size, size_name(size)) == (EncoderSize(96, 4, 3, 3, (1, 3), 128), "vit_96x4")


def test_a_known_size_keeps_its_name_at_another_native_input():
    with torch.device("meta"):
        module = build_image_encoder("vit_b", 256)
    size = encoder_size({f"image_encoder.{key}": tensor for key, tensor in module.state_dict().items()}, HERE)
    assert (size_name(size), size.native_input_size, size.window_size) == ("vit_b", 256, 14)


def test_where_only_positions_were_resized_the_longer_tables_are_the_global_ones():
    state = _state(torch.zeros(1, 4, 4, 8), h0=torch.zeros(3, 4), h1=torch.zeros(127, 4))
    assert encoder_size(state, HERE) == EncoderSize(8, 2, 2, 2, (1,), 64)


def test_a_window_larger_than_the_grid_is_still_a_window():
    state = _state(torch.zeros(1, 4, 4, 8), h0=torch.zeros(27, 4), h1=torch.zeros(7, 4))
    assert encoder_size(state, HERE) == EncoderSize(8, 2, 2, 14, (1,), 64)


def test_positions_are_interpolated_bilinearly_without_aligned_corners():
    rows = torch.tensor([0.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 2, 1)
    part = encoder_weights(_state(rows), NUMBERS, 64)
    # Four centres at 0.25, 0.75, 1.25, 1.75 of two cells with centres at 0.5 and 1.5.
    assert part["pos_embed"][0, :, 0, 0].tolist() == [0.0, 1.0, 3.0, 4.0]
    assert torch.equal(part["pos_embed"][0, :, 0, 0], part["pos_embed"][0, :, 3, 0])


def test_global_tables_are_interpolated_linearly_and_those_of_windows_are_kept():
    table = torch.tensor([[0.0], [7.0], [14.0]])
    part = encoder_weights(_state(torch.zeros(1, 2, 2, 4), h0=table, h1=table), NUMBERS, 64)
    # From 3 to 7 rows: the centres of seven cells on three cells' axis.
    by_hand = np.interp((np.arange(7) + 0.5) * 3 / 7 - 0.5, [0, 1, 2], [0, 7, 14])
    assert np.allclose(part["blocks.1.attn.rel_pos_h"][:, 0].numpy(), by_hand, atol=1e-5)
    assert by_hand[[0, 3, 6]].tolist() == [0, 7, 14] and by_hand[2] == pytest.approx(4)
    assert torch.equal(part["blocks.0.attn.rel_pos_h"], table)


def test_at_the_native_size_nothing_changes(small_sam: Sam):
    state = small_sam.state_dict()
    part = encoder_weights(state, encoder_size(state, HERE), 128)
    assert set(part) == set(small_sam.image_encoder.state_dict())
    assert all(torch.equal(tensor, state[f"image_encoder.{key}"]) for key, tensor in part.items())
