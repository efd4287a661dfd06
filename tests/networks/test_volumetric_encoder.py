"""The volumetric encoder: published size, agreement with the 2D encoder on equal slices, what is trained."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.errors import UserError
from samunet.networks.image_encoder import ImageEncoder, resized_positions
from samunet.networks.sam import EncoderSize, build_image_encoder
from samunet.networks.volumetric_encoder import VolumetricAdapter, VolumetricEncoder
from samunet.planning.volumetric_channels import VolumetricChannels

# 128 px are 8 x 8 tokens, which block 0 and 2 divide into windows of 8, and blocks 1 and 3 attend over as a whole.
SMALL = EncoderSize(24, 4, 3, 8, (1, 3), 128)


def small_encoder() -> ImageEncoder:
    torch.manual_seed(0)
    encoder = build_image_encoder(SMALL, 128)
    for name, parameter in encoder.named_parameters():
        if "pos" in name:  # SAM starts positions at zero, which would hide a fault in them
            nn.init.normal_(parameter, std=0.1)
    return encoder


def volumetric(
    patch: tuple[int, int, int], token: tuple[int, int, int] = (4, 4, 4), *, checkpointed: bool = False,
    untrained: bool = False,
) -> VolumetricEncoder:
    encoder = small_encoder()
    torch.manual_seed(1)
    made = VolumetricEncoder(encoder, 1, patch, token, checkpointed=checkpointed)
    if not untrained:  # adapters whose outputs are zero would hide a fault in them
        for block in made.blocks:
            nn.init.normal_(block.adapter.up.weight, std=0.1)
    return made


def volumes(*shape: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 1, *shape, generator=torch.Generator().manual_seed(2))


def test_trained_parameters_of_vit_b_are_the_published_ones() -> None:
    with torch.device("meta"):
        made = VolumetricEncoder(build_image_encoder("vit_b", 1024), 1, (128,) * 3, (4,) * 3, checkpointed=True)
    adapter = 768 * 384 + 384 + 27 * 384 + 384 + 384 * 768 + 768
    neck = 768 * 256 + 2 * 256 + 27 * 256 * 256 + 2 * 256
    patches = 768 * 16 + 768
    positions = 32 * 768
    norms = 12 * 2 * 2 * 768
    tables = 8 * 27 * 64 + 4 * 127 * 64
    assert round(12 * adapter / 1e6, 2) == 7.22 and round(4 * neck / 1e6, 2) == 7.87
    parts = {"adapter": 12 * adapter, "necks": 4 * neck, "patch_embed": patches, "depth_embed": positions,
             "norm": norms, "rel_pos_d": tables}
    trained = {name: each.numel() for name, each in made.named_parameters() if each.requires_grad}
    found = dict.fromkeys(parts, 0)
    for name, count in trained.items():
        [part] = [part for part in parts if part in name]
        found[part] += count
    assert found == parts
    assert round(sum(trained.values()) / 1e6, 2) == 15.21


def test_channels_follow_the_encoder_s_width() -> None:
    found = {width: VolumetricChannels.of(width) for width in (24, 192, 768, 1280)}
    assert found[192] == VolumetricChannels(96, 64, 512, 32, 8)
    assert found[768] == found[1280] == VolumetricChannels(384, 256, 2048, 128, 16)
    assert found[24] == VolumetricChannels(12, 16, 128, 8, 8)


def test_an_adapter_by_hand() -> None:
    adapter = VolumetricAdapter(2, 1)
    tokens = torch.tensor([[3.0, 1.0], [1.0, 3.0], [-2.0, 5.0]]).view(1, 3, 1, 1, 2)
    assert torch.equal(adapter(tokens), tokens)  # W_up is zero at the start
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, 0.0]]))
        adapter.down.bias.zero_()
        adapter.mix.weight.zero_()
        adapter.mix.weight[0, 0, :, 1, 1] = torch.tensor([1.0, -10.0, 100.0])  # slice before, slice, slice after
        adapter.mix.bias.fill_(0.5)
        adapter.up.weight.copy_(torch.tensor([[1.0], [-2.0]]))
        change = (adapter(tokens) - tokens).view(3, 2)
    # Projected: 3, 1, ReLU(-2) = 0. Mixed: -30 + 100 + 0.5, 3 - 10 + 0 + 0.5 -> ReLU 0, 1 + 0 + 0.5.
    torch.testing.assert_close(change, torch.tensor([[70.5, -141.0], [0.0, 0.0], [1.5, -3.0]]))


def test_equal_slices_have_the_2d_encoder_s_tokens_in_every_block() -> None:
    """What agrees, and why: every token of every slice, as far as the last block.

    The mean over depth of equal slices is that slice, positions of depth are zero, adapters add nothing at the start,
    and attention over equal slices is that over one of them, whatever the table of depth is. A plane of 8 x 8 tokens is
    one window, so there is no shift. Levels are not comparable: the necks are new and see zeros beyond the ends.
    """
    plain, made = small_encoder(), volumetric((12, 32, 32), untrained=True)
    for block in made.blocks:
        nn.init.normal_(block.attn.rel_pos_d)
    image = volumes(1, 32, 32)
    large = functional.interpolate(image[:, :, 0], (128, 128), mode="bilinear").expand(-1, 3, -1, -1)
    with torch.no_grad():
        expected = plain.patch_embed(large) + resized_positions(plain.pos_embed, (8, 8))
        found = made.tokens(image.expand(-1, -1, 12, -1, -1))
        for block, volumetric_block in zip(plain.blocks, made.blocks, strict=True):
            torch.testing.assert_close(found, expected[:, None].expand(-1, 3, -1, -1, -1), rtol=0, atol=1e-5)
            expected, found = block(expected), volumetric_block(found)
        torch.testing.assert_close(found, expected[:, None].expand(-1, 3, -1, -1, -1), rtol=0, atol=1e-5)


def test_levels_are_of_each_quarter_of_the_blocks() -> None:
    made = volumetric((8, 32, 16))
    with torch.no_grad():
        tokens, levels = made.tokens(volumes(8, 32, 16)), made(volumes(8, 32, 16))
        for block, neck, level in zip(made.blocks, made.necks, levels, strict=True):
            tokens = block(tokens)
            torch.testing.assert_close(level, neck(tokens.permute(0, 4, 1, 2, 3)))
            assert level.shape == (1, 16, 2, 8, 4) and level.dtype == torch.float32


@pytest.mark.parametrize(
    "patch, token", [((12, 28, 20), (4, 4, 4)), ((5, 40, 52), (1, 4, 4)), ((9, 48, 30), (3, 16, 10))]
)
def test_volumes_of_a_batch_do_not_see_each_other(patch: tuple[int, int, int], token: tuple[int, int, int]) -> None:
    made, images = volumetric(patch, token), volumes(*patch, batch=2)
    with torch.no_grad():
        both = made(images)
        for index in range(2):
            for level, alone in zip(both, made(images[index : index + 1]), strict=True):
                torch.testing.assert_close(level[index], alone[0], rtol=1e-4, atol=1e-5)


def test_blocks_of_even_index_have_shifted_windows() -> None:
    assert [block.attn.shifted for block in volumetric((8, 16, 16)).blocks] == [True, False, True, False]


def test_each_slice_of_tokens_has_its_position() -> None:
    made, images = volumetric((8, 16, 16)), volumes(8, 16, 16)
    with torch.no_grad():
        before = made.tokens(images)
        made.depth_embed[1] += 2
        change = made.tokens(images) - before
    torch.testing.assert_close(change, torch.tensor([0.0, 2.0])[None, :, None, None, None].expand_as(change))


def test_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointed in (False, True):
        made = volumetric((8, 40, 16), checkpointed=checkpointed).train()
        sum(level.square().mean() for level in made(volumes(8, 40, 16))).backward()
        gradients.append({name: each.grad for name, each in made.named_parameters() if each.requires_grad})
    assert all(each is not None and each.any() for each in gradients[0].values())
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_the_given_encoder_stays_and_the_copy_is_frozen() -> None:
    encoder = small_encoder()
    before = copy.deepcopy(encoder.state_dict())
    made = VolumetricEncoder(encoder, 1, (8, 32, 32), (4, 4, 4), checkpointed=False)
    frozen = {name: each.clone() for name, each in made.named_parameters() if not each.requires_grad}
    # The patch embedding, positions, and of each block qkv, proj, both layers of the perceptron, and two tables.
    assert len(frozen) == 2 + 1 + 4 * (4 + 4 + 2)
    optimizer = torch.optim.AdamW([each for each in made.parameters() if each.requires_grad], 0.1)
    sum(level.square().mean() for level in made(volumes(8, 32, 32))).backward()
    optimizer.step()
    assert all(torch.equal(each, frozen[name]) for name, each in made.named_parameters() if name in frozen)
    assert all(torch.equal(tensor, encoder.state_dict()[name]) for name, tensor in before.items())
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_an_encoder_without_attention_is_refused() -> None:
    with pytest.raises(UserError, match="3D attention needs an encoder with attention"):
        VolumetricEncoder(nn.Identity(), 1, (4, 4, 4), (4, 4, 4), checkpointed=False)
