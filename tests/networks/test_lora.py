from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.networks.image_encoder import ImageEncoder
from samunet.networks.lora import LoraProjection, add_lora
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


def with_increments(encoder: ImageEncoder, rank: int = 4, std: float = 0.3) -> ImageEncoder:
    """A copy with updates as if they had been trained."""
    changed = copy.deepcopy(encoder)
    add_lora(changed, rank)
    for parameter in changed.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=std)
    return changed


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_projection_by_hand() -> None:
    frozen = nn.Linear(2, 6)
    with torch.no_grad():
        frozen.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1], [1, 0], [0, 1]]))
        frozen.bias.copy_(torch.arange(6.0))
        changed = LoraProjection(frozen, rank=1)
        changed.query.down.weight.copy_(torch.tensor([[1.0, 2.0]]))
        changed.query.up.weight.copy_(torch.tensor([[10.0], [100.0]]))
        changed.value.down.weight.copy_(torch.tensor([[1.0, -1.0]]))
        changed.value.up.weight.copy_(torch.tensor([[0.5], [0.25]]))
    # W x + b = (3, 5 | 5, 7 | 7, 9) of x = (3, 4); A x = 11 for queries, -1 for values; keys have no update.
    assert changed(torch.tensor([3.0, 4.0])).tolist() == [3 + 110, 5 + 1100, 5, 7, 7 - 0.5, 9 - 0.25]


def test_the_same_as_an_encoder_whose_weights_have_the_products_added() -> None:
    encoder = small_encoder()
    changed, folded = with_increments(encoder), copy.deepcopy(encoder)
    with torch.no_grad():
        for ours, plain in zip(changed.blocks, folded.blocks, strict=True):
            for update, start in ((ours.attn.qkv.query, 0), (ours.attn.qkv.value, 48)):
                plain.attn.qkv.weight[start : start + 24] += update.up.weight @ update.down.weight
        torch.testing.assert_close(changed(images()), folded(images()), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(changed(images()), encoder(images()), atol=0.1)
        # Blocks in evaluation are computed in parts, in training at once.
        with torch.enable_grad():
            torch.testing.assert_close(changed(images()), folded(images()), rtol=1e-4, atol=1e-4)


def test_at_the_start_nothing_changes_and_the_first_matrix_is_drawn_by_kaimings_rule() -> None:
    encoder = small_encoder()
    changed = copy.deepcopy(encoder)
    add_lora(changed, 4)
    assert torch.equal(changed(images()), encoder(images()))
    for block in changed.blocks:
        for update in (block.attn.qkv.query, block.attn.qkv.value):
            assert not update.up.weight.any()
            # Uniform within the gain sqrt(2 / (1 + 5)) times sqrt(3 / 24).
            assert 0.8 * 24**-0.5 < float(update.down.weight.detach().abs().max()) <= 24**-0.5


def test_only_increments_are_trained_and_sams_names_stay() -> None:
    encoder = small_encoder()
    changed = copy.deepcopy(encoder)
    add_lora(changed, 4)
    trained = {name for name, parameter in changed.named_parameters() if parameter.requires_grad}
    assert trained == {f"blocks.{block}.attn.qkv.{part}.{matrix}.weight"
                       for block in range(2) for part in ("query", "value") for matrix in ("down", "up")}
    assert sum(changed.get_parameter(name).numel() for name in trained) == 2 * 2 * (2 * 4 * 24)
    # A checkpoint with SAM's names still fits: the updates alone are not in it.
    missing, unknown = changed.load_state_dict(encoder.state_dict(), strict=False)
    assert set(missing) == trained and not unknown


def test_an_encoder_without_attention_is_refused() -> None:
    with pytest.raises(UserError, match="(?s)needs an encoder with attention.*Pixels"):
        add_lora(Pixels(), 4)
