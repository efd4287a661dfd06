"""`hybrid_off`: a 3D U-Net's stem and decoder, joined with cached embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta
from torch import Tensor, nn

from samunet.inputs.volumes import Volumes
from samunet.networks.hybrid import Hybrid
from samunet.variants.base import VariantContext
from samunet.variants.kinds import VolumeVariant
from samunet.variants.losses import deeply_supervised
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay

ITERATIONS = 600


@dataclass(frozen=True)
class HybridSettings(TrainingSettings):
    """Settings of `hybrid`."""

    learning_rate: LearningRate = 2e-3
    weight_decay: WeightDecay = 1e-2
    transport: Annotated[Literal["off", "augment", "prior", "selftrain"],
                         Meta(description="use of labels that registration transports from case to case")] = "prior"
    dropout: Annotated[float,
                       Meta(ge=0, lt=1, description="chance with which all embeddings of a volume are dropped")] = 0.1
    batch_size: Annotated[int, Meta(ge=1, le=64, description="volumes in a batch; memory grows with it")] = 2


class HybridOffVariant(VolumeVariant):
    """Trains `networks.hybrid`; volumes and embeddings are augmented alike.

    Rate, batch, length and dropout are untuned defaults.
    """

    settings_type = HybridSettings
    settings: HybridSettings

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """Volumes of one iteration."""
        return cls.settings_in(context).batch_size

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """See `Variant`."""
        return ITERATIONS

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        context = self.context
        return Hybrid(len(context.dataset_plan.channel_names), context.embedding_channels, self.labels.channels,
                      self.volume,
                      self.settings.dropout)

    def logits(self, inputs: Volumes) -> Tensor:
        """Volumes -> logits (B, K, N, rows, columns)."""
        return self.network(inputs.image, inputs.embeddings)[0]

    def outputs(self, inputs: Volumes) -> list[Tensor]:
        """The logits of each decoder stage, finest first."""
        return self.network(inputs.image, inputs.embeddings)

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """Deep supervision: the loss of every stage."""
        assert isinstance(outputs, list)
        return deeply_supervised(outputs, segmentation, self.labels, self.volume.padded)
