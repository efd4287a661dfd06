"""`3d_promptable_auto`: the network of `3d_promptable` without prompts, for automatic segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from samunet.networks.promptable_3d import Automatic3d
from samunet.variants.base import VariantContext
from samunet.variants.partly_trained import PartlyTrained
from samunet.variants.patch3d_kind import Patch3dVariant
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay

ITERATIONS = 600


@dataclass(frozen=True)
class Promptable3dAutoSettings(TrainingSettings):
    """Settings of `3d_promptable_auto`."""

    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 0.0


class Promptable3dAutoVariant(PartlyTrained, Patch3dVariant):
    """3DSAM-adapter (Gong et al., arXiv 2306.13465; Medical Image Analysis 98, 103324), automatic.

    The published network without its prompt encoder, on the patches of `3d_promptable` and with its differences; all
    classes at once, by the house's loss and sliding window. The authors' automatic form has patches twice as wide.
    """

    settings_type = Promptable3dAutoSettings
    settings: Promptable3dAutoSettings

    holds_encoder: ClassVar[bool] = True

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """See `Variant`."""
        return ITERATIONS

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        context, plan = self.context, self.plan
        assert context.encoder is not None
        return Automatic3d(context.encoder.module, channels=len(context.dataset_plan.channel_names),
                           outputs=self.labels.channels, patch=plan.shape, token=plan.token,
                           checkpointed=plan.checkpointed)
