"""`autosam_full`: AutoSAM with nothing frozen."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from samunet.networks.autosam_full import EncoderAndHead
from samunet.networks.autosam_head import AutoSamHead
from samunet.variants.kinds import ImageCropVariant
from samunet.variants.settings import LearningRate, TrainingSettings


@dataclass(frozen=True)
class AutoSamFullSettings(TrainingSettings):
    """Settings of `autosam_full`."""

    learning_rate: LearningRate = 1e-4


class AutoSamFullVariant(ImageCropVariant):
    """The baseline "ft all" of AutoSAM (Hu et al., arXiv 2306.06370, table 1): encoder and head are trained.

    Deviation: a rate of 1e-4 with AdamW, a tenth of the head's, where the authors' code has 5e-4 with Adam for all
        parts.
    """

    settings_type = AutoSamFullSettings
    settings: AutoSamFullSettings

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        context = self.context
        assert context.encoder is not None
        head = AutoSamHead(context.embedding_channels, self.labels.channels, context.encoder_plan.input_size,
                           context.sam_state)
        return EncoderAndHead(context.encoder.module, head)
