"""`autosam`: SAM's mask decoder with class tokens, on the frozen encoder."""

from __future__ import annotations

from torch import nn

from samunet.networks.autosam_head import AutoSamHead
from samunet.variants.kinds import EmbeddingVariant


class AutoSamVariant(EmbeddingVariant):
    """Trains `networks.autosam_head`, whose docstring names the source and deviations."""

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        context = self.context
        size = context.encoder_plan.input_size
        return AutoSamHead(context.embedding_channels, self.labels.channels, size, context.sam_state)
