"""SAMed's way on the shipped encoder at 64 pixels, on four made pictures."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.networks.autosam_full import EncoderAndHead
from samunet.networks.checkpoints.encoders import Encoder, load_encoder
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.variants.base import VariantContext
from samunet.variants.lora import LoraVariant

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (4, 64, 64), False, ("MRI",), ("zscore",),
                      (False,), ({},))
SECTION = EncoderPlan("mini-3", 64, (64, 64), 0.5, "repeat", 4, "float16", 0, 1)
INCREMENTS = {f"encoder.blocks.{block}.attn.qkv.{part}.{matrix}.weight"
              for block in range(12) for part in ("query", "value") for matrix in ("down", "up")}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("mini", 64)


def lora(encoder: Encoder, seed: int = 0, trained: bool = True) -> LoraVariant:
    """A variant to train, or, as where a trained model is loaded, one that does not know SAM's decoder."""
    torch.manual_seed(seed)
    return LoraVariant(VariantContext(LABELS, DATASET, SECTION, encoder.sam_state if trained else {}, encoder))


def made() -> tuple[Tensor, Tensor]:
    """Pictures (4, 1, 3, 64, 64), each label brighter than the one before, and label values (4, 64, 64)."""
    segmentation = torch.zeros(4, 64, 64, dtype=torch.long)
    for index in range(4):
        segmentation[index, 8 + 4 * index : 30 + 4 * index, 10:34] = 1
        segmentation[index, 40:56, 20 + 6 * index : 36 + 6 * index] = 2
    noise = torch.randn(4, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return segmentation[:, None, None] + 0.3 * noise, segmentation


def train(variant: LoraVariant, steps: int) -> tuple[list[float], dict[str, float]]:
    """The loss of each step, and of each trained tensor the largest gradient of all steps."""
    pictures, segmentation = made()
    trained = {name: each for name, each in variant.network.named_parameters() if each.requires_grad}
    optimizer = variant.optimizer(list(trained.values()))
    losses, largest = [], dict.fromkeys(trained, 0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = variant.loss(variant.outputs(pictures), segmentation)
        loss.backward()
        largest = {name: max(largest[name], float(each.grad.abs().max())) for name, each in trained.items()}
        optimizer.step()
        losses.append(loss.item())
    return losses, largest


def test_starts_as_the_same_network_without_increments(encoder: Encoder) -> None:
    variant = lora(encoder)
    pictures, _ = made()
    plain = EncoderAndHead(encoder.module, variant.network.head)
    assert torch.equal(variant.network(pictures), plain(pictures))


def test_trained_parameters_by_hand(encoder: Encoder) -> None:
    trained = {name: each.numel() for name, each in lora(encoder).network.named_parameters() if each.requires_grad}
    assert {name for name in trained if name.startswith("encoder.")} == INCREMENTS
    assert sum(trained[name] for name in INCREMENTS) == 12 * 2 * (2 * 4 * 192)
    assert all(each.requires_grad for each in lora(encoder).network.head.parameters())


def test_what_is_frozen_stays_bit_for_bit_and_the_rest_learns(encoder: Encoder) -> None:
    given = copy.deepcopy(encoder.module.state_dict())
    variant = lora(encoder)
    before = copy.deepcopy(variant.network.state_dict())
    _, largest = train(variant, 3)
    after = variant.network.state_dict()
    assert all(torch.equal(tensor, after[f"encoder.{name}"]) for name, tensor in given.items())
    assert all(torch.equal(tensor, given[name]) for name, tensor in encoder.module.state_dict().items())
    assert largest.keys() == INCREMENTS | {f"head.{name}" for name, _ in variant.network.head.named_parameters()}
    assert not [name for name in largest if torch.equal(before[name], after[name])]
    # What shifts all scores of a softmax alike changes nothing: a bias of all keys, one map added to all classes.
    vain = {name for name in largest if name.endswith("k_proj.bias") or name == "head.hypernetwork.layers.2.bias"}
    assert {name for name, gradient in largest.items() if gradient < 1e-6} == vain and len(vain) == 8


def test_four_pictures_are_learned(encoder: Encoder) -> None:
    losses, _ = train(lora(encoder), 12)
    assert losses[-1] < 0.5 * losses[0]


def test_state_has_what_is_trained_and_the_heads_buffers_alone(encoder: Encoder) -> None:
    variant = lora(encoder)
    state = variant.state()
    head = {f"head.{name}" for name in variant.network.head.state_dict()}
    assert {"head.positions", "head.no_mask"} <= head
    assert state.keys() == INCREMENTS | head
    # 36,864 values of increments; 3.5 million, all the rest, are SAM's decoder. The encoder would be 24.6 MB more.
    assert 4 * sum(state[name].numel() for name in INCREMENTS) == 147_456
    assert 4 * sum(tensor.numel() for tensor in state.values()) < 15e6


def test_what_was_trained_is_restored_beside_the_encoder(encoder: Encoder) -> None:
    trained, loaded = lora(encoder), lora(encoder, seed=1, trained=False)
    train(trained, 2)
    pictures, _ = made()
    assert not torch.equal(loaded.logits(pictures), trained.logits(pictures))
    loaded.load_state(trained.state())
    assert torch.equal(loaded.logits(pictures), trained.logits(pictures))


def test_a_state_that_lacks_a_tensor_or_has_a_frozen_one_or_another_rank_is_refused(encoder: Encoder) -> None:
    variant = lora(encoder)
    state = variant.state()
    name = "encoder.blocks.0.attn.qkv.query.up.weight"
    frozen = {"encoder.blocks.0.attn.qkv.weight": encoder.module.blocks[0].attn.qkv.weight}
    with pytest.raises(ValueError, match="head.class_tokens is missing"):
        variant.load_state({key: tensor for key, tensor in state.items() if key != "head.class_tokens"})
    with pytest.raises(ValueError, match="encoder.blocks.0.attn.qkv.weight is unknown"):
        variant.load_state({**state, **frozen})
    with pytest.raises(ValueError, match=f"{name} is 192 x 2 of torch.float32, not 192 x 4 of torch.float32"):
        variant.load_state({**state, name: state[name][:, :2]})
