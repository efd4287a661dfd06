"""Forms of `3d_adapter` for comparison only; samunet does not offer them.

`register` makes them variants of the process that calls it, for samunet_train and samunet_predict.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from samunet.networks.adapter_3d import Adapter3d
from samunet.networks.lora import LoraProjection
from samunet.variants.adapter_3d import Adapter3dVariant
from samunet.variants.registry import VARIANTS, VariantEntry


class OwnSlice(nn.Module):
    """An adapter's convolution with kernel (1, 1, 1): uses only the slice of (slice before, slice, slice after)."""

    def __init__(self, bottleneck: int) -> None:
        super().__init__()
        self.own = nn.Linear(bottleneck, bottleneck)

    def forward(self, beside: Tensor) -> Tensor:
        return self.own(beside.chunk(3, -1)[1])


class SlicesAloneVariant(Adapter3dVariant):
    """`3d_adapter` with kernel (1, 1, 1): no slice sees another."""

    def build_network(self) -> nn.Module:
        network = super().build_network()
        for adapter in adapters(network):
            adapter.mix = OwnSlice(adapter.mix.out_features)
        return network


class Nothing(nn.Module):
    """What a part of a network adds that is not there."""

    def forward(self, said: Tensor) -> Tensor:
        return said.new_zeros(())


class PublishedDecoderVariant(Adapter3dVariant):
    """`3d_adapter` whose decoder sees only embeddings, as in MA-SAM, and not the image."""

    def build_network(self) -> nn.Module:
        network: Any = super().build_network()
        network.decoder.detail = Nothing()
        return network


class ZeroStartVariant(Adapter3dVariant):
    """Adapters whose output is 0 at the start: W_up is zero, so that training begins at the plain encoder."""

    def build_network(self) -> nn.Module:
        network = super().build_network()
        for adapter in adapters(network):
            nn.init.zeros_(adapter.up.weight)
        return network


class Depthwise(nn.Module):
    """An adapter's convolution with kernel (3, 1, 1), each channel for itself, in place of the dense one.

    Started as PyTorch does.
    """

    def __init__(self, bottleneck: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(3)  # of 3 values that a channel is made of
        self.weight = nn.Parameter(torch.empty(3, bottleneck).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(bottleneck).uniform_(-bound, bound))

    def forward(self, beside: Tensor) -> Tensor:
        return (beside.unflatten(-1, (3, -1)) * self.weight).sum(-2) + self.bias


class DepthwiseVariant(Adapter3dVariant):
    """`3d_adapter` whose adapters mix slices channel by channel."""

    def build_network(self) -> nn.Module:
        network = super().build_network()
        for adapter in adapters(network):
            adapter.mix = Depthwise(adapter.mix.out_features)
        return network


class LoraAdapterVariant(Adapter3dVariant):
    """`3d_adapter` with LoRA, two matrices for each block, in place of FacT's shared low-rank updates.

    Of rank 4 as in `lora`, without dropout.
    """

    lora_rank = 4

    def build_network(self) -> nn.Module:
        network: Any = super().build_network()
        for block in network.encoder.encoder.blocks:
            frozen = block.attn.qkv
            plain = nn.Linear(*frozen.weight.shape[::-1])
            plain.weight, plain.bias = frozen.weight, frozen.bias  # SAM's own
            block.attn.qkv = LoraProjection(plain, self.lora_rank)
        del network.encoder.factors  # all of FacT's that would be left
        return network


def adapters(network: nn.Module) -> list[Adapter3d]:
    """All adapters of a network."""
    return [module for module in network.modules() if isinstance(module, Adapter3d)]


def _entry(name: str, description: str) -> VariantEntry:
    return VariantEntry(f"adapter_forms:{name}", f"3d_adapter {description}", "image_stacks")


FORMS = {
    "3d_adapter_alone": _entry("SlicesAloneVariant", "with kernel (1, 1, 1)"),
    "3d_adapter_published": _entry("PublishedDecoderVariant", "whose decoder does not see the image"),
    "3d_adapter_zero": _entry("ZeroStartVariant", "whose adapters begin at zero"),
    "3d_adapter_depthwise": _entry("DepthwiseVariant", "with a depthwise convolution over slices"),
    "3d_adapter_lora": _entry("LoraAdapterVariant", "with LoRA in place of FacT"),
}


def register() -> None:
    """Let this process' commands know FORMS."""
    VARIANTS.update(FORMS)
