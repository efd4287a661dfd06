"""`hybrid`: a 3D U-Net's stem and decoder, joined with cached embeddings."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from samunet.inputs.volumes import Volumes
from samunet.networks.hybrid import Hybrid
from samunet.variants.base import VariantContext, VolumeVariant
from samunet.variants.losses import deeply_supervised

BATCH = 2
ITERATIONS = 600
DROPPED = 0.1


class HybridVariant(VolumeVariant):
    """Trains `networks.hybrid`; stacks and embeddings are augmented alike.

    Rate, batch, length and dropout are as they were first set: none was compared with others.
    """

    learning_rate: ClassVar[float] = 2e-3
    weight_decay: ClassVar[float] = 1e-2

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        return BATCH

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        return ITERATIONS

    def build_network(self) -> nn.Module:
        context = self.context
        return Hybrid(len(context.dataset_plan.channel_names), context.embedding_channels, self.labels.channels, self.stack, DROPPED)

    def logits(self, inputs: Volumes) -> Tensor:
        return self.network(inputs.image, inputs.embeddings)[0]

    def outputs(self, inputs: Volumes) -> list[Tensor]:
        return self.network(inputs.image, inputs.embeddings)

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        assert isinstance(outputs, list)
        return deeply_supervised(outputs, segmentation, self.labels, self.stack.padded)
