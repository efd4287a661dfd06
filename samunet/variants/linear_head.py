"""`linear_head`: AutoSAM's linear head on the frozen encoder."""

from __future__ import annotations

from torch import nn

from samunet.networks.linear_head import build_linear_head
from samunet.variants.kinds import EmbeddingVariant


class LinearHeadVariant(EmbeddingVariant):
    """Trains `networks.linear_head`, whose docstring names the source and deviations, on cached embeddings."""

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        return build_linear_head(self.context.embedding_channels, self.labels.channels)
