"""Forms of `3d_adapter` that are compared with the published one, and nothing that samunet offers.

`register` makes them variants of the process that calls it, for samunet_train and samunet_predict.
"""

from __future__ import annotations

from torch import Tensor, nn

from samunet.networks.adapter_3d import Adapter3d
from samunet.variants.adapter_3d import Adapter3dVariant
from samunet.variants.registry import VARIANTS, VariantEntry


class OwnSlice(nn.Module):
    """An adapter's convolution with kernel (1, 1, 1): of (slice before, slice, slice after) side by side, the slice alone."""

    def __init__(self, bottleneck: int) -> None:
        super().__init__()
        self.own = nn.Linear(bottleneck, bottleneck)

    def forward(self, beside: Tensor) -> Tensor:
        return self.own(beside.chunk(3, -1)[1])


class SlicesAloneVariant(Adapter3dVariant):
    """Stacks, votes, batches and decoder of `3d_adapter`, with kernel (1, 1, 1): no slice sees another."""

    def build_network(self) -> nn.Module:
        network = super().build_network()
        for adapter in adapters(network):
            adapter.mix = OwnSlice(adapter.mix.out_features)
        return network


def adapters(network: nn.Module) -> list[Adapter3d]:
    """All adapters of a network."""
    return [module for module in network.modules() if isinstance(module, Adapter3d)]


FORMS = {"3d_adapter_alone": VariantEntry("adapter_forms:SlicesAloneVariant", "3d_adapter with kernel (1, 1, 1)", "picture_stacks")}


def register() -> None:
    """Let this process' commands know FORMS."""
    VARIANTS.update(FORMS)
