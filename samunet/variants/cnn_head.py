"""`cnn_head`: AutoSAM's CNN head on the frozen encoder."""

from __future__ import annotations

from torch import nn

from samunet.networks.cnn_head import build_cnn_head
from samunet.variants.kinds import EmbeddingVariant

PUBLISHED_INPUT_SIZE = 512  # an encoder with smaller inputs (mini) gets the small form


class CnnHeadVariant(EmbeddingVariant):
    """Trains `networks.cnn_head`: the 1.8 M form for mini encoders, the published 20.7 M form for SAM's sizes."""

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        depth = 4 if self.context.encoder_plan.input_size >= PUBLISHED_INPUT_SIZE else 2
        return build_cnn_head(self.context.embedding_channels, self.labels.channels, depth)
