"""MA-SAM's way on the shipped encoder at 64 pixels, on two made stacks of three slices."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.inference.predictor import predict_case
from samunet.networks.checkpoints.encoders import Encoder, load_encoder
from samunet.planning.plans import AdapterPlan, DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.training.trainer import Optimization
from samunet.variants.adapter_3d import Adapter3dSettings, Adapter3dVariant
from samunet.variants.base import VariantContext
from samunet.variants.kinds import tile_logits
from samunet.variants.losses import dice_and_cross_entropy

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (4, 64, 48), False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("mini-3", 64, (64, 48), 0.5, "repeat", 4, "float16", 0, 1, adapters=AdapterPlan(3))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("mini", 64)


def adapter(encoder: Encoder, seed: int = 0, trained: bool = True) -> Adapter3dVariant:
    """A variant to train, or, as where a trained model is loaded, one that does not know SAM's decoder."""
    torch.manual_seed(seed)
    return Adapter3dVariant(VariantContext(LABELS, DATASET, SECTION, encoder.sam_state if trained else {}, encoder))


def made() -> tuple[Tensor, Tensor]:
    """Volumes (2, 3, 1, 3, 64, 48) of the tile's canvas, each label brighter than the one before, and label values (2,
    3, 64, 48).
    """
    segmentation = torch.zeros(2, 3, 64, 48, dtype=torch.long)
    for stack in range(2):
        for plane in range(3):
            segmentation[stack, plane, 8 + 4 * plane : 30 + 4 * plane, 10:34] = 1
            segmentation[stack, plane, 40:56, 10 + 6 * stack : 26 + 6 * stack] = 2
    pictures = segmentation.float()[:, :, None, None].repeat(1, 1, 1, 3, 1, 1)
    return pictures + 0.3 * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1)), segmentation


def train(variant: Adapter3dVariant, steps: int) -> tuple[list[float], dict[str, float]]:
    """The loss of each step, and of each trained tensor the largest gradient of all steps."""
    pictures, segmentation = made()
    variant.network.train()
    trained = {name: each for name, each in variant.network.named_parameters() if each.requires_grad}
    optimizer = variant.optimizer(list(trained.values()))
    losses, largest = [], dict.fromkeys(trained, 0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = variant.loss(variant.outputs(pictures), segmentation)
        loss.backward()
        for name, each in trained.items():
            largest[name] = max(largest[name], 0.0 if each.grad is None else float(each.grad.abs().max()))
        optimizer.step()
        losses.append(loss.item())
    return losses, largest


def test_logits_of_every_slice_lie_on_the_tiles_voxels(encoder: Encoder) -> None:
    variant = adapter(encoder)
    variant.network.eval()
    pictures, _ = made()
    with torch.no_grad():
        logits, shown = variant.logits(pictures), variant.network(pictures)
    assert logits.shape == shown.shape == (2, 3, 3, 64, 48)
    torch.testing.assert_close(logits, shown)  # a voxel is a pixel here


def test_logits_of_the_tile_alone_are_those_of_the_square() -> None:
    square = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    section = replace(SECTION, tile_shape=(60, 44))  # 46.9 pixels of columns, which three tokens hold
    torch.testing.assert_close(tile_logits(square[..., :48], section), tile_logits(square, section), rtol=0, atol=0)
    assert tile_logits(square[..., :48], section).shape == (2, 3, 60, 44)


def test_what_is_frozen_stays_bit_for_bit_and_all_the_rest_gets_gradients(encoder: Encoder) -> None:
    given = copy.deepcopy(encoder.module.state_dict())
    variant = adapter(encoder)
    # As after some training: while V is zero, U and what is between them have no gradient.
    torch.nn.init.normal_(variant.network.encoder.factors.up.weight, std=0.1)
    before = copy.deepcopy(variant.network.state_dict())
    _, largest = train(variant, 2)
    after = variant.network.state_dict()
    assert all(torch.equal(tensor, after[f"encoder.encoder.{name}"]) for name, tensor in given.items())
    assert all(torch.equal(tensor, given[name]) for name, tensor in encoder.module.state_dict().items())
    buffers = {name for name, _ in variant.network.named_buffers()}
    assert buffers == {"decoder.positions.positional_encoding_gaussian_matrix"}
    assert all(torch.equal(before[name], after[name]) for name in buffers)
    assert not [name for name in largest if torch.equal(before[name], after[name])]
    # What shifts all scores of a softmax alike changes nothing: a bias of all keys.
    starved = {name for name, gradient in largest.items() if gradient < 1e-7}
    assert starved == {name for name in largest if name.endswith("k_proj.bias")} and len(starved) == 7


def test_the_loss_is_mostly_dice_over_all_slices(encoder: Encoder) -> None:
    _, segmentation = made()
    logits = torch.randn(2, 3, 3, 64, 48, generator=torch.Generator().manual_seed(2))
    dice, entropy = (dice_and_cross_entropy(logits, segmentation, LABELS, share) for share in (1.0, 0.0))
    torch.testing.assert_close(adapter(encoder).loss(logits, segmentation), 0.8 * dice + 0.2 * entropy)


def test_two_stacks_are_learned(encoder: Encoder) -> None:
    losses, _ = train(adapter(encoder), 20)
    assert losses[-1] < 0.5 * losses[0]


def test_state_has_what_is_trained_once_and_the_positions(encoder: Encoder) -> None:
    variant = adapter(encoder)
    state = variant.state()
    trained = {name for name, each in variant.network.named_parameters() if each.requires_grad}
    assert state.keys() == trained | {"decoder.positions.positional_encoding_gaussian_matrix"}
    assert [name for name in state if "factors" in name] == ["encoder.factors.down.weight", "encoder.factors.up.weight"]
    # Adapters of 96 channels, FacT of rank 32, in 12 blocks.
    adapters = 24 * (2 * 192 + 2 * 192 * 96 + 3 * 96 * 96 + 96)
    assert sum(state[name].numel() for name in state
               if name.startswith("encoder.")) == adapters + 2 * 192 * 32 + 12 * 2 * 32 * 32


def test_what_was_trained_is_restored_beside_the_encoder(encoder: Encoder) -> None:
    trained, loaded = adapter(encoder), adapter(encoder, seed=1, trained=False)
    train(trained, 2)
    pictures, _ = made()
    for variant in (trained, loaded):
        variant.network.eval()
    with torch.no_grad():
        assert not torch.equal(loaded.logits(pictures), trained.logits(pictures))
        loaded.load_state(trained.state())
        assert torch.equal(loaded.logits(pictures), trained.logits(pictures))


def test_the_plan_says_how_many_stacks_go_through_and_whether_blocks_are_computed_twice(encoder: Encoder) -> None:
    plain = adapter(encoder)
    assert (plain.micro_batch, plain.batch_size(plain.context), plain.network.encoder.checkpointed) == (2, 2, False)
    planned = replace(SECTION, adapters=AdapterPlan(3, batch_size=4, micro_batch=1, checkpointed=True))
    changed = Adapter3dVariant(VariantContext(LABELS, DATASET, planned, encoder.sam_state, encoder))
    assert (changed.micro_batch, changed.batch_size(changed.context), changed.network.encoder.checkpointed) == (1, 4,
                                                                                                                True)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_one_stack_after_the_other_gives_the_update_of_both_together(
    encoder: Encoder, checkpointed: bool, monkeypatch
) -> None:
    # to tell sums from rounding
    monkeypatch.setattr("samunet.variants.precision.dtype_of_products", lambda _: torch.float32)
    pictures, segmentation = made()
    segmentation[1, :, :, :] *= 0  # Dice is no sum over stacks: one without a class weighs in the other's
    after = []
    for micro_batch in (2, 1):
        torch.manual_seed(0)
        adapters = AdapterPlan(3, micro_batch=micro_batch, checkpointed=checkpointed and micro_batch == 1)
        section = replace(SECTION, adapters=adapters)
        # Parts of a batch would drop other values than the whole batch.
        settings = Adapter3dSettings(dropout=0.0)
        variant = Adapter3dVariant(VariantContext(LABELS, DATASET, section, encoder.sam_state, encoder,
                                                  settings=settings))
        torch.nn.init.normal_(variant.network.encoder.factors.up.weight, std=0.1)
        optimization = Optimization(variant, torch.device("cpu"))
        loss = optimization.step(pictures, segmentation, 1e-3)
        after.append((loss,
                      {name: each.grad for name, each in variant.network.named_parameters() if each.requires_grad}))
    (loss, gradients), (loss_of_parts, gradients_of_parts) = after
    assert loss_of_parts == pytest.approx(loss, abs=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_of_parts[name], gradient, rtol=1e-4, atol=1e-5)
    assert max(float(gradient.abs().max()) for gradient in gradients.values()) > 1e-3


def test_parts_draw_the_same_when_they_are_computed_again(encoder: Encoder) -> None:
    """The gradient is that of the loss that was told: a step against it, with the same draws, makes the loss smaller as
    told.
    """
    pictures, segmentation = made()
    torch.manual_seed(0)
    variant = Adapter3dVariant(VariantContext(LABELS, DATASET, replace(SECTION, adapters=AdapterPlan(3, micro_batch=1)),
                                              encoder.sam_state, encoder))
    weight = variant.network.encoder.factors.up.weight
    torch.nn.init.normal_(weight, std=0.3)
    optimization, losses = Optimization(variant, torch.device("cpu")), []
    for moved in (0.0, 1e-3, -1e-3):
        start = weight.detach().clone()
        with torch.no_grad():
            weight[0, 0] += moved
        torch.manual_seed(5)
        loss = variant.loss(optimization._outputs(pictures), segmentation)
        losses.append(loss.item())
        if moved == 0.0:
            loss.backward()
        with torch.no_grad():
            weight.copy_(start)
    slope = (losses[1] - losses[2]) / 2e-3
    assert float(weight.grad[0, 0]) == pytest.approx(slope, rel=0.05, abs=1e-4)


def test_small_pictures_get_more_iterations(encoder: Encoder) -> None:
    context = adapter(encoder).context
    found = [Adapter3dVariant.iterations(replace(context, encoder_plan=replace(context.encoder_plan, input_size=side)))
             for side in (64, 128, 192, 256, 512)]
    assert found == [2400, 2400, 1067, 600, 600]  # 600 * 4, 600 * 16 / 9


@pytest.mark.parametrize("step, first_slices", [(None, [0, 1, 2, 3]), (1.0, [0, 3]), (0.7, [0, 2, 3])])
def test_a_step_lays_the_stacks_apart(encoder: Encoder, step: float | None, first_slices: list[int]) -> None:
    # Stacks of three on six slices: one at each, or at most three or two slices apart, evenly: 0, 1.5 and 3.
    made, asked = adapter(encoder), []
    made.logits = lambda stacks: asked.append(len(stacks)) or torch.zeros(len(stacks), 3, 3, 64, 48)
    box = ((0, 6), (0, 64), (0, 48))
    shape = (6, 64, 48)
    properties = CaseProperties("a", Geometry("SimpleITKIO", shape, (1.0, 1.0, 1.0)), shape, box, shape, shape,
                                ((0.0, 1.0),), "a", "a", {})
    case = PreparedCase(np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32), None, properties)
    plans = Plans("samunetPlans", "Dataset900_Phantom", DATASET, {"mini-3": SECTION})
    slabs = list(predict_case([made], case, plans, encoder, step=step))
    assert sum(asked) == len(first_slices)
    # A slab is finished where the next stack begins.
    assert [first for first, _ in slabs] == first_slices
