"""Our image encoder against segment-anything's ImageEncoderViT with the same random weights."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from samunet.networks import attention
from samunet.networks.attention import (
    attend,
    attend_by_products,
    attend_widened,
    blank_score,
    relative_positions,
    spans,
)
from samunet.networks.checkpoints.shapes import encoder_weights
from samunet.networks.image_encoder import ImageEncoder, fast_dtype
from samunet.networks.sam import ENCODER_SIZES, EncoderSize, build_image_encoder

# vit_b with a quarter of its width, a window block and a global one; 96 wide, heads of 32, windows of 3.
TWIN = EncoderSize(192, 2, 3, 14, (1,), 1024)
SMALL = EncoderSize(96, 4, 3, 3, (1, 3), 128)


def reference(size: EncoderSize, input_size: int, seed: int = 0, *, drawn: bool = True) -> ImageEncoderViT:
    """segment-anything's encoder; `drawn`: positions and biases, which it starts at zero, are random too."""
    torch.manual_seed(seed)
    encoder = ImageEncoderViT(
        img_size=input_size, embed_dim=size.embed_dim, depth=size.depth, num_heads=size.num_heads, use_rel_pos=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), window_size=size.window_size,
        global_attn_indexes=size.global_attn_indexes,
    )
    if drawn:
        for name, parameter in encoder.named_parameters():
            if "_pos" in name or "pos_" in name or name.endswith("bias"):
                nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


def ours(theirs: ImageEncoderViT, size: EncoderSize, input_size: int) -> ImageEncoder:
    encoder = build_image_encoder(size, input_size).eval()
    encoder.load_state_dict(theirs.state_dict())
    return encoder


def resized(theirs: ImageEncoderViT, size: EncoderSize, input_size: int) -> ImageEncoderViT:
    """The same weights with positions interpolated for another input size."""
    state = {f"image_encoder.{name}": tensor for name, tensor in theirs.state_dict().items()}
    encoder = reference(size, input_size)
    encoder.load_state_dict(encoder_weights(state, size, input_size))
    return encoder


def cosine(left: Tensor, right: Tensor) -> float:
    """Of the least alike pair of embeddings."""
    return float(cosine_similarity(left.double().flatten(1), right.double().flatten(1)).min())


def images(count: int, rows: int, columns: int) -> Tensor:
    return torch.randn(count, 3, rows, columns, generator=torch.Generator().manual_seed(1))


def test_a_seed_gives_segment_anythings_weights_under_its_names():
    theirs = reference(SMALL, 128, seed=5, drawn=False).state_dict()
    torch.manual_seed(5)
    mine = build_image_encoder(SMALL, 128).state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("size", "native", "input_size"), [
    (ENCODER_SIZES["mini"], 256, 256),
    (ENCODER_SIZES["mini"], 256, 128),  # 8 x 8 tokens
    (TWIN, 1024, 1024),  # 64 x 64 tokens: windows over both edges
    (TWIN, 1024, 512),  # 32 x 32
    (TWIN, 1024, 256),  # 16 x 16
    (TWIN, 1024, 448),  # 28 x 28: whole windows only
    (TWIN, 1024, 144),  # 9 x 9: one window, larger than the image
])
def test_embeddings_are_segment_anythings(size: EncoderSize, native: int, input_size: int):
    built = reference(size, native)
    theirs = resized(built, size, input_size)
    batch = images(2 if input_size < 512 else 1, input_size, input_size)
    with torch.inference_mode():
        expected = theirs(batch)
        found = ours(theirs, size, input_size)(batch)
        assert found.shape == expected.shape and found.is_contiguous()
        assert cosine(found, expected) >= 0.99999
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        if input_size not in (native, 1024):  # the module of the native size interpolates as it runs
            assert cosine(ours(built, size, native)(batch), expected) >= 0.99999


@pytest.mark.slow
def test_the_whole_vit_b_at_its_own_size():
    theirs = reference(ENCODER_SIZES["vit_b"], 1024)
    with torch.inference_mode():
        expected = theirs(images(1, 1024, 1024))
        assert cosine(ours(theirs, ENCODER_SIZES["vit_b"], 1024)(images(1, 1024, 1024)), expected) >= 0.99999


@pytest.mark.parametrize("shape", [(80, 176), (128, 48)])
def test_images_need_not_be_square(shape: tuple[int, int]):
    theirs = reference(SMALL, 128)
    mine = ours(theirs, SMALL, 128)
    # segment-anything takes positions of the very grid: here the upper left of those that it interpolates to the longer
    # side.
    rows, columns = (side // 16 for side in shape)
    longer = max(rows, columns)
    absolute = nn.functional.interpolate(theirs.pos_embed.detach().permute(0, 3, 1, 2), (longer, longer),
                                         mode="bilinear")
    theirs.pos_embed = nn.Parameter(absolute.permute(0, 2, 3, 1)[:, :rows, :columns])
    for block in theirs.blocks:
        if block.window_size == 0:
            for name, length in (("rel_pos_h", rows), ("rel_pos_w", columns)):
                table = nn.functional.interpolate(getattr(block.attn, name).detach().T[None], 2 * longer - 1,
                                                  mode="linear")[0].T
                setattr(block.attn, name, nn.Parameter(table[longer - length : longer + length - 1]))
    with torch.inference_mode():
        torch.testing.assert_close(mine(images(2, *shape)), theirs(images(2, *shape)), rtol=1e-4, atol=1e-4)


def test_gradients_are_segment_anythings():
    theirs = reference(SMALL, 128)
    mine = ours(theirs, SMALL, 128)
    batch = images(2, 128, 128)
    weights = torch.randn(2, 256, 8, 8, generator=torch.Generator().manual_seed(2))
    seen = []
    for encoder in (theirs, mine):
        given = batch.clone().requires_grad_()
        (encoder(given) * weights).sum().backward()
        seen.append({"images": given.grad,
                     **{name: parameter.grad for name, parameter in encoder.named_parameters()}})
    for name, expected in seen[0].items():
        assert float((seen[1][name] - expected).norm() / expected.norm()) < 1e-4, name


@pytest.mark.parametrize(("size", "input_size"), [(ENCODER_SIZES["mini"], 256), (TWIN, 256)])
def test_fast_mode_keeps_the_embeddings(size: EncoderSize, input_size: int):
    theirs = reference(size, input_size)
    mine = ours(theirs, size, input_size)
    fast = copy.deepcopy(mine).compute_in(torch.bfloat16)
    with torch.inference_mode():
        expected = theirs(images(1, input_size, input_size))
        found = fast(images(1, input_size, input_size))
    assert found.dtype == torch.float32
    assert 0.999 <= cosine(found, expected) < 0.9999999  # bfloat16 was at work
    assert fast.blocks[0].norm1.weight.dtype == fast.pos_embed.dtype == torch.float32


def test_fast_type_is_what_the_processor_multiplies(monkeypatch: pytest.MonkeyPatch):
    for able, dtype in (({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16),
                        ({"avx2": True, "avx512_bf16": False}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able, raising=False)
        assert fast_dtype("cpu") == dtype


def test_equal_images_give_equal_bytes_in_any_batch():
    encoder = ours(reference(ENCODER_SIZES["mini"], 256), ENCODER_SIZES["mini"], 256)
    batch = images(5, 256, 256)
    with torch.inference_mode():
        together = encoder(batch)
        assert torch.equal(together, encoder(batch))
        torch.testing.assert_close(together[4:], encoder(batch[4:]), rtol=1e-4, atol=1e-5)


def test_relative_positions_by_hand():
    table = torch.arange(5.0)[:, None]  # distances -2 .. 2 of query and key
    assert relative_positions(table, 3)[:, 0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    # 3 entries for 5 places: centres at -0.2, 0.4, 1, 1.6, 2.2 of the old ones, clamped to their range.
    stretched = relative_positions(torch.tensor([[0.0], [10.0], [20.0]]), 3)[:, 0]
    torch.testing.assert_close(stretched[:, 0], torch.tensor([10.0, 16.0, 20.0]))


def test_windows_along_an_axis():
    assert list(spans(32, 14)) == [(slice(0, 28), 14), (slice(28, 32), 4)]
    assert list(spans(28, 14)) == [(slice(0, 28), 14)]
    assert list(spans(9, 14)) == [(slice(0, 9), 9)]


def test_one_term_stands_for_all_blank_keys():
    by_row, by_column = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 3, 4)
    weights = (by_row[..., :, None] + by_column[..., None, :]).exp()
    for height, width in ((4, 1), (2, 4), (3, 2)):
        blank = weights.sum((-2, -1)) - weights[..., :height, :width].sum((-2, -1))
        torch.testing.assert_close(blank_score(by_row, by_column, (height, width))[..., 0].exp(), blank, rtol=1e-4,
                                   atol=1e-4)


@pytest.mark.parametrize("blanks", [False, True])
def test_all_ways_to_attend_agree(blanks: bool, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(3)
    query, key, value = torch.randn(3, 3, 2, 12 + blanks, 8).unbind()
    by_row, by_column, blank = (torch.randn(3, 2, 13, 3), torch.randn(3, 2, 13, 4),
                                torch.randn(3, 2, 13, 1) if blanks else None)
    by_row, by_column = by_row[:, :, : 12 + blanks], by_column[:, :, : 12 + blanks]
    terms = (by_row[..., :, None] + by_column[..., None, :]).flatten(3)
    scores = query @ key.transpose(2, 3) / 8**0.5 + (terms if blank is None else torch.cat([terms, blank], 3))
    expected = scores.softmax(3) @ value
    arguments = query, key, value, by_row, by_column, blank
    torch.testing.assert_close(attend(*arguments), expected)
    torch.testing.assert_close(attend_widened(*arguments), expected)
    torch.testing.assert_close(attend_by_products(*arguments), expected)
    for limit in (2 * 13 * 13 * 2, 2 * 13 * 5, 1):  # two windows at once, some queries at once, one query
        monkeypatch.setattr(attention, "SCORES_AT_ONCE", limit)
        torch.testing.assert_close(attend(*arguments), expected)
        torch.testing.assert_close(attend_by_products(*arguments), expected)
