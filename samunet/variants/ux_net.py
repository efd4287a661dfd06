"""`ux_net`: 3D UX-Net from scratch, without SAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import nn

from samunet.networks.ux_net import WIDTH, UxNet
from samunet.variants.base import VariantContext
from samunet.variants.patch3d_kind import Patch3dVariant
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay

ITERATIONS = 1000


@dataclass(frozen=True)
class UxNetSettings(TrainingSettings):
    """Settings of `ux_net`."""

    learning_rate: LearningRate = 1e-4
    weight_decay: WeightDecay = 8e-2
    width: Annotated[int, Meta(ge=4, le=192, description="channels of the first stage")] = WIDTH


class UxNetVariant(Patch3dVariant):
    """3D UX-Net (Lee et al., arXiv 2209.15076), a row of MA-SAM's table.

    Deviations: patches of the plan, not 96 x 96 x 96; the house's loss, augmentation, length and falling rate.
    """

    settings_type = UxNetSettings
    settings: UxNetSettings

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """See `Variant`."""
        return ITERATIONS

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        channels = len(self.context.dataset_plan.channel_names)
        return UxNet(channels, self.labels.channels, self.settings.width)
