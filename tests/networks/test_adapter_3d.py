from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from samunet.networks.adapter_3d import AdaptedEncoder, Adapter3d
from samunet.networks.image_encoder import ImageEncoder
from samunet.networks.progressive_decoder import ProgressiveDecoder
from samunet.networks.sam import EncoderSize, build_image_encoder
from samunet.planning.adapter_memory import adapter_channels, trained_values

# 64 px are 4 x 4 tokens: block 0 has windows of 3, which hang over the edge, block 1 attends globally.
SMALL = EncoderSize(24, 2, 3, 3, (1,), 64)
IOU_HEAD = 2 * (256 * 256 + 256) + 256 * 13 + 13
# methods: adapters, FacT, decoder and all of them, in millions, with 12 classes and background.
PUBLISHED = {"vit_b": (24.82, 0.074, 5.24, 30.1), "vit_l": (59.10, 0.115, 5.24, 64.5),
             "vit_h": (91.41, 0.147, 5.24, 96.8)}


def small_encoder() -> ImageEncoder:
    torch.manual_seed(0)
    encoder = build_image_encoder(SMALL, 64)
    for name, parameter in encoder.named_parameters():
        if "pos" in name:  # SAM starts positions at zero, which would hide a fault in them
            nn.init.normal_(parameter, std=0.1)
    return encoder


def adapted(dropped: float = 0.0, checkpointed: bool = False) -> AdaptedEncoder:
    encoder = small_encoder()
    torch.manual_seed(1)
    return AdaptedEncoder(encoder, 4, dropped, checkpointed=checkpointed)


def stacks(*sides: int, slices: int = 5) -> Tensor:
    return torch.randn(1, slices, 3, *sides, generator=torch.Generator().manual_seed(2))


def test_an_adapter_by_hand() -> None:
    adapter = Adapter3d(2, 1)
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, 0.0]]))
        adapter.mix.weight.copy_(torch.tensor([[1.0, 10.0, 100.0]]))  # slice before, slice, slice after
        adapter.mix.bias.fill_(0.5)
        adapter.up.weight.copy_(torch.tensor([[1.0], [2.0]]))
        tokens = torch.tensor([[3.0, 1.0], [1.0, 3.0], [3.0, 1.0]]).view(1, 3, 1, 1, 2)
        said = (adapter(tokens) - tokens).view(3, 2)
    # Normalised and projected the slices are 1, -1, 1; mixed 0 + 10 - 100, 1 - 10 + 100, -1 + 10 + 0, and 0.5 each.
    # GELU keeps the last two and makes 0 of the first.
    torch.testing.assert_close(said, torch.tensor([[0.0, 0.0], [91.5, 183.0], [9.5, 19.0]]), rtol=1e-4, atol=1e-4)


def test_mixing_is_a_dense_convolution_of_three_slices() -> None:
    adapter, tokens = Adapter3d(8, 4), torch.randn(2, 5, 3, 2, 8)
    convolution = nn.Conv3d(4, 4, (3, 1, 1), padding="same")
    with torch.no_grad():
        convolution.weight.copy_(adapter.mix.weight.unflatten(1, (3, 4)).transpose(1, 2)[..., None, None])
        convolution.bias.copy_(adapter.mix.bias)
        low = adapter.down(adapter.norm(tokens)).permute(0, 4, 1, 2, 3)
        expected = tokens + adapter.up(nn.functional.gelu(convolution(low)).permute(0, 2, 3, 4, 1))
        torch.testing.assert_close(adapter(tokens), expected)


@pytest.mark.parametrize("sides", [(64, 64), (48, 80)])
def test_with_v_and_the_adapters_outputs_zero_it_is_the_plain_encoder(sides: tuple[int, int]) -> None:
    changed, images = adapted(dropped=0.1), stacks(*sides)
    assert not changed.factors.up.weight.any()
    for adapters in changed.adapters:
        nn.init.zeros_(adapters.before_attention.up.weight)
        nn.init.zeros_(adapters.before_perceptron.up.weight)
    plain = small_encoder()(images[0])
    for mode in (True, False):
        torch.testing.assert_close(changed.train(mode)(images)[0], plain, rtol=0, atol=1e-5)


def test_a_slice_sees_two_slices_on_each_side_for_every_block() -> None:
    changed, images = adapted().eval(), stacks(64, 64, slices=6)
    other = images.clone()
    other[:, 0] += 1.0
    moved = (changed(other) - changed(images)).abs().amax((0, 2, 3, 4)) > 1e-5
    assert moved.tolist() == [True] * 5 + [False]  # two blocks reach four slices
    for adapters in changed.adapters:
        for adapter in (adapters.before_attention, adapters.before_perceptron):
            with torch.no_grad():  # as a kernel of one slice
                adapter.mix.weight.view(-1, 3, adapter.down.out_features)[:, [0, 2]] = 0
    alone = (changed(other) - changed(images)).abs().amax((0, 2, 3, 4)) > 1e-5
    assert alone.tolist() == [True] + [False] * 5


def test_stacks_of_a_batch_do_not_see_each_other() -> None:
    changed, images = adapted().eval(), torch.cat([stacks(64, 64), 2 * stacks(64, 64)])
    together = changed(images)
    for index in range(2):
        torch.testing.assert_close(together[index], changed(images[index : index + 1])[0], rtol=1e-5, atol=1e-5)


def test_checkpointing_draws_the_same_and_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointed in (False, True):
        changed = adapted(0.5, checkpointed).train()
        nn.init.normal_(changed.factors.up.weight, std=0.3)
        torch.manual_seed(3)
        changed(stacks(64, 64)).square().mean().backward()
        gradients.append({name: each.grad for name, each in changed.named_parameters() if each.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_the_given_encoder_stays_and_the_copy_is_frozen() -> None:
    encoder = small_encoder()
    before = copy.deepcopy(encoder.state_dict())
    changed = AdaptedEncoder(encoder, 4, 0.1, checkpointed=False)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(tensor, encoder.state_dict()[name]) for name, tensor in before.items())
    trained = {name for name, parameter in changed.named_parameters() if parameter.requires_grad}
    between = {f"encoder.blocks.{block}.attn.qkv.{part}.weight" for block in range(2) for part in ("query", "value")}
    assert {name for name in trained if not name.startswith("adapters.")} == {"factors.down.weight",
                                                                              "factors.up.weight"} | between
    assert len(trained) == 2 + 4 + 2 * 2 * 6  # norm (2), down, mix (2), up


@pytest.mark.parametrize("size", PUBLISHED)
def test_trained_parameters_are_the_published_ones(size: str) -> None:
    with torch.device("meta"):
        encoder = AdaptedEncoder(build_image_encoder(size, 512), 32, 0.1, checkpointed=True)
        decoder = ProgressiveDecoder(256, 13, {})
    trained = {name: parameter.numel() for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    adapters = sum(count for name, count in trained.items() if name.startswith("adapters."))
    fact = sum(trained.values()) - adapters
    heads = sum(parameter.numel() for parameter in decoder.parameters() if parameter.requires_grad)
    # The head that rates masks has no loss there, and is not here.
    assert trained_values(size, 13) == adapters + fact + heads
    found = adapters / 1e6, fact / 1e6, (heads + IOU_HEAD) / 1e6, (adapters + fact + heads) / 1e6
    assert found == pytest.approx(PUBLISHED[size], rel=0.01)


def test_adapters_are_as_narrow_as_the_encoder() -> None:
    assert [adapter_channels(width) for width in (192, 384, 768, 1024, 1280)] == [96, 192, 384, 384, 384]
