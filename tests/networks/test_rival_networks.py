"""3D UX-Net and nnFormer: parameters as published, parts by hand, windows against plain attention."""

from __future__ import annotations

import pytest
import torch

from samunet.networks.nnformer import NnFormer
from samunet.networks.padding_3d import padded_to, whole_steps
from samunet.networks.ux_net import ChannelNorm, UxBlock, UxNet
from samunet.networks.window_attention_3d import WindowAttention3d, offsets


def parameters(network: torch.nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def test_ux_net_has_the_published_parameters() -> None:
    with torch.device("meta"):
        assert parameters(UxNet(1, 13)) == 53_006_461  # 53.01 M in the paper
        # A depthwise convolution of 343 values, a norm, two depthwise ones of 4, a scale; with biases.
        assert parameters(UxBlock(48)) == 48 * (343 + 1 + 2 + 4 + 4 + 4 + 1 + 1)


def test_nnformer_has_the_parameters_of_3d_ux_nets_table_and_nearly_its_own() -> None:
    with torch.device("meta"):
        whole, small = NnFormer(1, 14, (64, 128, 128)), NnFormer(1, 14, (96, 96, 96))
    assert parameters(whole) == 150_054_210
    assert parameters(whole) / 150.5e6 == pytest.approx(1, abs=0.003)
    # 3D UX-Net's table has 149.3 M for one head and windows whose sides are all the shortest axis'.
    coarser_heads = sum(parameters(head) for head in small.heads[1:])
    third = (15 * 11 * 11 - 11**3) * 24 * 4  # offsets of windows 8 x 6 x 6 and 6 x 6 x 6, heads, blocks
    fourth = (7 * 5 * 5 - 5**3) * 48 * 2  # of 4 x 3 x 3 and 3 x 3 x 3
    assert parameters(small) - coarser_heads - third - fourth == 149_320_934


def test_sides_are_whole_steps_and_zeros_follow_the_image() -> None:
    assert whole_steps((10, 33, 32), (16, 32, 32)) == (16, 64, 32)
    assert whole_steps((5, 16, 7), (16, 16, 16)) == (16, 16, 32)  # instance norm needs two voxels
    padded = padded_to(torch.ones(1, 1, 1, 2, 3), (2, 2, 4))
    assert padded[0, 0].tolist() == [[[1, 1, 1, 0]] * 2, [[0, 0, 0, 0]] * 2]


def test_a_block_starts_as_nearly_the_identity_and_norms_are_over_channels() -> None:
    torch.manual_seed(0)
    shown = torch.randn(1, 4, 3, 3, 3)
    assert torch.allclose(UxBlock(4)(shown), shown, atol=1e-4)
    assert ChannelNorm(2)(torch.tensor([1.0, 3.0]).view(1, 2, 1, 1, 1)).flatten().tolist() == pytest.approx([-1, 1])


def test_each_offset_of_a_window_has_one_number() -> None:
    numbers = offsets((2, 2, 3))
    assert numbers.unique().tolist() == list(range(3 * 3 * 5))
    assert numbers[0, 0] == numbers[5, 5] and numbers[0, 1] == numbers[1, 2] != numbers[1, 0]


def test_tokens_see_their_window_alone() -> None:
    torch.manual_seed(0)
    attention = WindowAttention3d(8, 2, (1, 2, 2), (0, 1, 0))
    shown = torch.randn(1, 1, 5, 4, 8)
    before = attention(shown)
    shown[0, 0, 1, 0] += 1.0
    changed = (attention(shown) - before).abs().sum(-1)[0, 0] > 1e-4
    # Shifted by one row, windows are rows 1-2 and 3-4, and row 0, moved behind, is alone; columns 0-1 and 2-3.
    assert changed.nonzero().tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]


def test_a_window_of_the_whole_map_is_attention_with_biases() -> None:
    torch.manual_seed(0)
    attention, shown = WindowAttention3d(4, 1, (1, 2, 2), (0, 0, 0)), torch.randn(1, 1, 2, 2, 4)
    query, key, value = attention.projection(shown.reshape(4, 4)).chunk(3, -1)
    logits = query @ key.T / 2 + attention.bias[offsets((1, 2, 2))][..., 0]
    expected = attention.out(logits.softmax(-1) @ value)
    assert torch.allclose(attention(shown).reshape(4, 4), expected, atol=1e-6)


def test_padded_tokens_are_not_seen() -> None:
    torch.manual_seed(0)
    attention = WindowAttention3d(4, 1, (1, 1, 4), (0, 0, 0))
    with torch.no_grad():
        attention.bias.zero_()
    shown = torch.randn(1, 1, 1, 3, 4)
    query, key, value = attention.projection(shown.reshape(3, 4)).chunk(3, -1)
    expected = attention.out((query @ key.T / 2).softmax(-1) @ value)
    assert torch.allclose(attention(shown).reshape(3, 4), expected, atol=1e-5)
