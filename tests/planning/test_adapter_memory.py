"""The memory of training 3d_adapter, counted by hand, and how a plan stays within its target."""

from __future__ import annotations

import pytest
import torch

from samunet.networks.adapter_3d import AdaptedEncoder
from samunet.networks.progressive_decoder import ProgressiveDecoder
from samunet.networks.sam import EncoderSize, build_image_encoder
from samunet.planning.adapter_memory import (
    DECODER_PIXEL,
    AdapterNumbers,
    block_values,
    plan_stack_training,
    training_bytes,
)

MINI = AdapterNumbers("mini", (256, 256), 50, 1, 3)
VIT_B = AdapterNumbers("vit_b", (512, 512), 512, 1, 3)


def kept_values(run, module: torch.nn.Module) -> int:
    """Float32 values that autograd keeps of `run`, the module's own left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in module.state_dict().values()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    assert result.requires_grad
    return sum(count for place, count in kept.items() if place not in own) // 4


def test_a_block_keeps_what_is_counted() -> None:
    # 16 x 192, ten of 96 channels, FacT and norms, and three heads with 256 keys.
    assert block_values("mini", 256, 0) == 16 * 192 + 10 * 96 + 9 * 32 + 8 + 3 * 256
    counted = []
    for depth in (1, 2):
        encoder = AdaptedEncoder(build_image_encoder(EncoderSize(192, depth, 3, 0, (), 256), 256), 32, 0.1,
                                 checkpointed=False)
        counted.append(kept_values(lambda encoder=encoder: encoder.train()(torch.zeros(1, 1, 3, 256, 256)), encoder))
    assert counted[1] - counted[0] == 256 * block_values("mini", 256, 0)


def test_the_decoder_keeps_what_is_counted() -> None:
    decoder = ProgressiveDecoder(256, 3, {})
    kept = kept_values(lambda: decoder(torch.zeros(1, 256, 16, 16, requires_grad=True), torch.zeros(1, 3, 256, 256)),
                       decoder)
    assert kept == pytest.approx(DECODER_PIXEL * 256**2, rel=0.05)


def test_windows_count_their_own_keys_and_global_blocks_all() -> None:
    of_block = {block: block_values("vit_b", 32 * 32, block) - block_values("vit_b", 32 * 32, 0) for block in range(12)}
    assert [block for block, more in of_block.items() if more] == [8, 9, 10, 11]  # as many as there are, the last ones
    assert of_block[11] == 12 * (32 * 32 - 14 * 14)


def test_a_canvas_of_half_the_rows_saves_half_of_what_pixels_take() -> None:
    half = AdapterNumbers("mini", (128, 256), 50, 1, 3)
    none = AdapterNumbers("mini", (0, 256), 50, 1, 3)
    whole_of, half_of = (training_bytes(each, 5, 1, checkpointed=True) - training_bytes(none, 5, 1, checkpointed=True)
                         for each in (MINI, half))
    assert 0.4 * whole_of < half_of < 0.55 * whole_of  # keys of a block's attention are fewer, too; logits are as many


def test_what_fits_is_done_the_fastest_way() -> None:
    plan, reason = plan_stack_training(MINI, 5, 8.0)
    assert (plan.slices, plan.micro_batch, plan.checkpointed) == (5, 2, False)
    assert plan.total_bytes == training_bytes(MINI, 5, 2, checkpointed=False) and "within the target of 8 GB" in reason
    ways = {target: plan_stack_training(VIT_B, 5, target)[0] for target in (1.0, 3.0, 4.5, 8.0, 40.0)}
    found = {target: (way.slices, way.micro_batch, way.checkpointed) for target, way in ways.items()}
    assert found[40.0] == (5, 2, False) and found[8.0] == (5, 2, True) and found[4.5] == (5, 1, True)
    assert found[3.0][0] < 5 and found[1.0] == (1, 1, True)
    assert all(way.total_bytes <= target * 1e9 for target, way in ways.items() if target > 1)


def test_a_target_that_nothing_meets_is_told() -> None:
    assert "more than the target of 1 GB" in plan_stack_training(VIT_B, 5, 1.0)[1]
    assert "one stack after the other" in plan_stack_training(VIT_B, 5, 4.5)[1]
