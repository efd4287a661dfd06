from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.networks.fact import FactProjection, SharedFactors, add_fact
from samunet.networks.image_encoder import ImageEncoder
from samunet.networks.pixels import Pixels
from samunet.networks.sam import EncoderSize, build_image_encoder

# 64 px are 4 x 4 tokens: block 0 has windows of 3, which hang over the edge, block 1 attends globally.
SMALL = EncoderSize(24, 2, 3, 3, (1,), 64)


def small_encoder() -> ImageEncoder:
    torch.manual_seed(0)
    encoder = build_image_encoder(SMALL, 64)
    for name, parameter in encoder.named_parameters():
        if "pos" in name:  # SAM starts positions at zero, which would hide a fault in them
            nn.init.normal_(parameter, std=0.1)
    return encoder


def with_fact(encoder: ImageEncoder, dropped: float = 0.0) -> ImageEncoder:
    """A copy with updates as if they had been trained."""
    changed = copy.deepcopy(encoder)
    add_fact(changed, 4, dropped)
    for parameter in changed.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return changed


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_projection_by_hand() -> None:
    frozen, factors = nn.Linear(2, 6), SharedFactors(2, 1)
    projection = FactProjection(frozen, factors, dropped=0.0)
    with torch.no_grad():
        frozen.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1], [1, 0], [0, 1]]))
        frozen.bias.copy_(torch.arange(6.0))
        factors.down.weight.copy_(torch.tensor([[1.0, 2.0]]))
        factors.up.weight.copy_(torch.tensor([[10.0], [100.0]]))
        projection.query.weight.fill_(2.0)
        projection.value.weight.fill_(-1.0)
    # W x + b = (3, 5 | 5, 7 | 7, 9) of x = (3, 4); U x = 11, so S U x = 22 for queries, -11 for values; keys have no
    # update.
    expected = [3 + 220, 5 + 2200, 5, 7, 7 - 110, 9 - 1100]
    assert projection.train()(torch.tensor([3.0, 4.0])).tolist() == expected
    assert projection.eval()(torch.tensor([3.0, 4.0])).tolist() == expected


def test_merged_and_unmerged_agree() -> None:
    changed = with_fact(small_encoder())
    with torch.no_grad():
        unmerged, merged = changed.train()(images()), changed.eval()(images())
    torch.testing.assert_close(merged, unmerged, rtol=0, atol=1e-4)
    assert not torch.allclose(merged, small_encoder()(images()), atol=0.1)


def test_at_the_start_nothing_changes_and_the_frozen_weight_is_never_written() -> None:
    encoder = small_encoder()
    changed = copy.deepcopy(encoder)
    factors = add_fact(changed, 4, 0.1)
    for mode in (True, False):
        assert torch.equal(changed.train(mode)(images()), encoder(images()))
    assert not factors.up.weight.any() and factors.down.weight.all()
    trained = with_fact(encoder).eval()
    trained(images())
    assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in encoder.state_dict().items())


def test_only_what_is_between_the_factors_is_dropped() -> None:
    changed = with_fact(small_encoder(), dropped=1.0)
    assert torch.equal(changed.train()(images()), small_encoder()(images()))  # all of it
    assert not torch.allclose(changed.eval()(images()), small_encoder()(images()), atol=0.1)


def test_all_blocks_share_two_factors_and_have_two_of_their_own() -> None:
    changed = with_fact(small_encoder())
    trained = {name: parameter.numel() for name, parameter in changed.named_parameters() if parameter.requires_grad}
    own = {f"blocks.{block}.attn.qkv.{part}.weight" for block in range(2) for part in ("query", "value")}
    assert trained == {**dict.fromkeys(own, 4 * 4),
                       **dict.fromkeys((f"blocks.0.attn.qkv.factors.{each}.weight" for each in ("down", "up")), 4 * 24)}
    first, second = (block.attn.qkv.factors for block in copy.deepcopy(changed).blocks)
    assert first is second


def test_an_encoder_without_attention_is_refused() -> None:
    with pytest.raises(UserError, match="(?s)needs an encoder with attention.*Pixels"):
        add_fact(Pixels(), 4, 0.1)
