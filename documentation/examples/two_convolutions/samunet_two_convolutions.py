"""`two_convolutions`: a head of two convolutions on the frozen encoder's embeddings, with a setting of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import nn

from samunet.variants.kinds import EmbeddingVariant
from samunet.variants.settings import LearningRate, TrainingSettings


@dataclass(frozen=True)
class TwoConvolutionsSettings(TrainingSettings):
    """Settings of `two_convolutions`."""

    learning_rate: LearningRate = 3e-3
    width: Annotated[int, Meta(ge=8, le=1024, description="channels between the two convolutions")] = 64


class TwoConvolutionsVariant(EmbeddingVariant):
    """Embeddings (B, D, g, g) -> logits (B, K, g, g), which the base class scales to the tile."""

    settings_type = TwoConvolutionsSettings
    settings: TwoConvolutionsSettings

    def build_network(self) -> nn.Module:
        """The network, initialised under torch's current seed."""
        width = self.settings.width
        return nn.Sequential(
            nn.Conv2d(self.context.embedding_channels, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, self.labels.channels, 1),
        )
