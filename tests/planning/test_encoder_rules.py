from __future__ import annotations

import pytest

from samunet.planning.encoder_rules import (
    HeadMemory,
    batch_size_for,
    canvas_for,
    composition_for,
    head_memory,
    in_plane_extent,
    input_size_for,
    stack_depth_for,
    stack_input_size_for,
    tile_for,
    tiles_of,
    token_voxels,
)
from samunet.planning.encoder_spec import EncoderSpec

MINI = EncoderSpec("untrained", "mini", "mini", 256)
VIT_B = EncoderSpec("vit_b", "vit_b", "sam", 1024)


def test_extent_covers_the_largest_case_up_to_a_quarter_above_the_median():
    shapes = [(9, 40, 30), (9, 40, 30), (9, 45, 30), (9, 44, 90), (9, 41, 32)]
    # rows: largest 45 < 1.25 * 41; columns: 1.25 * 30 = 37.5, not 90.
    assert in_plane_extent(shapes) == (45, 38)


def test_token_voxels_by_hand():
    assert token_voxels(256, 256) == 16
    assert token_voxels(512, 1024) == 8


@pytest.mark.parametrize(("side", "expected"), [(255, 512), (256, 1024), (600, 1024)])
def test_sam_sizes_shrink_their_input_where_tokens_would_be_too_fine(side, expected):
    assert input_size_for(VIT_B, (side, 10))[0] == expected


def test_mini_stays_at_its_native_size():
    assert input_size_for(MINI, (20, 20)) == (256, "native size of untrained")


@pytest.mark.parametrize(
    ("extent", "input_size", "tile"),
    [
        ((59, 43), 256, (59, 43)),  # 3.7 voxels a token
        ((128, 100), 256, (128, 100)),  # exactly 8
        ((129, 100), 256, (86, 67)),  # /1.5 -> 5.4
        ((216, 256), 256, (108, 128)),  # /1.5 -> 10.7, so /2 -> 8
        ((512, 512), 256, (256, 256)),  # never more than three tiles, 16 voxels a token
        ((512, 512), 1024, (512, 512)),
        ((1, 1), 256, (1, 1)),
    ],
)
def test_tile_is_the_largest_whose_token_covers_eight_voxels(extent, input_size, tile):
    assert tile_for(extent, input_size)[0] == tile


@pytest.mark.parametrize(
    ("tile", "input_size", "expected"),
    [
        ((36, 50), 256, 128),  # 50 * 16 / 128 = 6.25 voxels a token; 12.5 at 64
        ((32, 20), 256, 64),  # exactly 8
        ((33, 20), 256, 128),
        ((128, 128), 256, 256),
        ((200, 200), 256, 256),  # 12.5 voxels a token: no less than what frozen encoders see
        ((256, 256), 1024, 512),
    ],
)
def test_3d_adapters_magnify_no_more_than_until_a_token_covers_eight_voxels(tile, input_size, expected):
    side, reason = stack_input_size_for(input_size, tile)
    assert side == expected and f"{token_voxels(max(tile), side):.2g} voxels" in reason


@pytest.mark.parametrize(("tile", "input_size", "canvas"), [
    ((59, 43), 128, (128, 96)),  # 93.3 pixels are six tokens
    ((43, 59), 128, (96, 128)),
    ((64, 64), 256, (256, 256)),
    ((90, 160), 256, (144, 256)),
    ((1, 100), 256, (16, 256)),
])
def test_the_canvas_is_what_the_tile_covers_in_whole_tokens(tile, input_size, canvas):
    assert canvas_for(tile, input_size) == canvas


def test_tile_reason_states_the_figures():
    assert tile_for((129, 100), 256)[1] == (
        "2 tiles an axis over the extent 129x100 (largest case, at most 1.25 x the median); "
        "a token covers 5.4 voxels, at most 8"
    )


def test_composition():
    for colours in (("rgb_to_0_1",) * 3, ("R", "G", "B"), ("red", "green", "blue")):
        assert composition_for(colours, (999.0, 1.0, 1.0), True, 1)[0] == "rgb"
        assert composition_for(colours, (4.0, 1.0, 1.0), True, 9)[0] == "rgb"
    for others in (("rgb_to_0_1",) * 2, ("G", "R", "B"), ("R", "G", "B", "zscore"), ("zscore",) * 3):
        assert composition_for(others, (999.0, 1.0, 1.0), True, 1)[0] == "repeat"
    assert composition_for(("zscore",), (10.0, 1.5, 1.5), True, 9)[0] == "repeat"
    assert composition_for(("zscore",), (3.0, 1.0, 1.0), False, 40)[0] == "neighbours"


@pytest.mark.parametrize(("depth", "expected"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (90, 5)])
def test_stack_depth_is_odd_and_fits_the_median_depth(depth, expected):
    assert stack_depth_for(depth)[0] == expected


def test_head_memory_by_hand():
    # mini, 16x16 tokens, D 256, width 256: input 256 + two 1x1 convolutions of 256 channels at 16x16; two 3x3 of 256 at
    # 16x16 and 128 at 32x32; two of 128 at 32x32 and 64 at 64x64; 64 and 3 classes at 64x64.
    values = (3 * 256 + 2 * 256) * 256 + (128 + 2 * 128) * 1024 + (64 + 64 + 3) * 4096
    memory = head_memory(256, (59, 43), 256, 3)
    assert memory.activations == values * 8
    assert memory.logits == 59 * 59 * 3 * 4 * 6


def test_head_memory_counts_the_layers_that_the_head_has():
    torch = pytest.importorskip("torch")
    from samunet.networks.cnn_head import build_cnn_head

    for input_size, depth in ((256, 2), (1024, 4)):
        side = input_size // 16
        counted = [512 * side**2]
        with torch.device("meta"):
            head = build_cnn_head(512, 5, depth)
            for layer in head:
                if not isinstance(layer, torch.nn.ReLU):
                    layer.register_forward_hook(lambda _layer, _given, made, to=counted: to.append(made.numel()))
            head(torch.empty(1, 512, side, side))
        assert head_memory(input_size, (512, 512), 512, 5).activations == sum(counted) * 8


def test_batch_size_is_what_fits_half_the_target_within_limits():
    memory = HeadMemory(activations=300_000_000, logits=100_000_000)
    assert batch_size_for(memory, 8.0)[0] == 10
    assert batch_size_for(memory, 0.1)[0] == 2
    assert batch_size_for(memory, 80.0)[0] == 16


def test_tiles_of_all_slices():
    # case 1: 10 slices of one tile; case 2: 4 slices of two tiles, as 60 rows need two tiles of 40 at step 0.5.
    assert tiles_of([(10, 40, 40), (4, 60, 40)], (40, 40)) == 18
