"""Bytes of the cache and the budget of views, by hand."""

from __future__ import annotations

import pytest

from samunet.planning.cache_rules import bytes_per_picture, cache_bytes_for, encoder_flops, view_pictures_for


def test_cache_bytes_by_hand():
    size, reason = cache_bytes_for(18, 2, 256, 2, "float16")
    assert size == 18 * 512 * 16 * 16 * 2
    assert reason == "18 tiles of 2 cases x 512 channels x 16x16 x 2 bytes"
    size, reason = cache_bytes_for(18, 2, 256, 2, "int8")
    assert size == 18 * 512 * (16 * 16 + 4)
    assert reason == "18 tiles of 2 cases x 512 channels x (16x16 + 4) bytes"


@pytest.mark.parametrize(("input_size", "values"), [(256, 65_536), (1024, 1_048_576)])
def test_bytes_of_a_picture(input_size, values):
    assert bytes_per_picture(input_size, "float16") == 2 * values
    assert bytes_per_picture(input_size, "int8") == values + 1024


def test_flops_by_hand():
    # mini: 12 blocks of width 192 on 256 tokens, all global; 768 values of a patch; the neck's 1x1 and 3x3.
    token = 12 * (12 * 192**2 + 2 * 192 * 256) + 768 * 192 + 192 * 256 + 9 * 256**2
    assert encoder_flops("mini", 256) == 2 * 256 * token
    # vit_b at 1024: 4 of 12 blocks see all 4096 tokens, 8 see windows of 14 x 14.
    token = 12 * 12 * 768**2 + 2 * 768 * (4 * 4096 + 8 * 196) + 768 * 768 + 768 * 256 + 9 * 256**2
    assert encoder_flops("vit_b", 1024) == 2 * 4096 * token
    assert encoder_flops("vit_192x12", 256) == encoder_flops("mini", 256)


def test_flops_agree_with_what_torch_counts():
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from samunet.networks.sam import ENCODER_SIZES, build_image_encoder

    for size in ("mini", "vit_b"):
        side = ENCODER_SIZES[size].native_input_size
        with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
            build_image_encoder(size, side)(torch.empty(1, 3, side, side))
        assert encoder_flops(size, side) == pytest.approx(counter.get_total_flops(), rel=0.03)


@pytest.mark.parametrize(("size", "input_size", "pictures"), [
    ("mini", 256, 800),  # 3000 GFLOP / 3.7245
    ("pixels", 256, 800),
    ("vit_384x12", 256, 200),
    ("vit_b", 512, 0),  # 15, which is no hundred
    ("vit_h", 1024, 0),
    ("vit_8x1", 1024, 400),  # 1 GB / 2 MiB = 476: here the disk decides
])
def test_views_fit_half_a_minute_and_a_gigabyte(size, input_size, pictures):
    assert view_pictures_for(size, input_size, "float16")[0] == pictures


def test_the_reason_of_the_views_states_the_figures():
    assert view_pictures_for("mini", 256, "float16")[1] == (
        "30 s at 100 GFLOP/s (2 cores) encode 805 images of 3.72 GFLOP, 1 GB holds 7629; "
        "the smaller, in whole hundreds")
