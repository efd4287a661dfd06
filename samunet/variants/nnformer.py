"""`nnformer`: nnFormer from scratch, without SAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from samunet.networks.nnformer import WIDTH, NnFormer
from samunet.variants.base import VariantContext
from samunet.variants.losses import deeply_supervised
from samunet.variants.patch3d_kind import Patch3dVariant
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay
from samunet.variants.unet_training import ITERATIONS, MOMENTUM


@dataclass(frozen=True)
class NnFormerSettings(TrainingSettings):
    """Settings of `nnformer`; `--set width` takes multiples of 6, its heads."""

    learning_rate: LearningRate = 1e-2
    weight_decay: WeightDecay = 3e-5
    width: Annotated[int, Meta(ge=6, le=384, multiple_of=6, description="channels of the first stage, a multiple of 6")
                     ] = WIDTH


class NnFormerVariant(Patch3dVariant):
    """nnFormer (Zhou et al., arXiv 2109.03201) in its Synapse configuration, a row of MA-SAM's table.

    Deep supervision of three stages and SGD, as published. Deviations: patches of the plan, not 64 x 128 x 128; the
    house's augmentation and length; see also `networks.nnformer`.
    """

    settings_type = NnFormerSettings
    settings: NnFormerSettings
    network: NnFormer

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """See `Variant`."""
        return ITERATIONS

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        channels = len(self.context.dataset_plan.channel_names)
        return NnFormer(channels, self.labels.channels, self.patch, self.settings.width)

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """SGD with Nesterov momentum 0.99."""
        return torch.optim.SGD(parameters, self.learning_rate, momentum=MOMENTUM, nesterov=True,
                               weight_decay=self.weight_decay)

    def logits(self, inputs: Tensor) -> Tensor:
        """Patches float32 (B, C, z, y, x) -> logits (B, K, z, y, x)."""
        return self.outputs(inputs)[0]

    def outputs(self, inputs: Tensor) -> list[Tensor]:
        """The logits of the three decoder stages, finest first."""
        return self.network(inputs)

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """Deep supervision on the padded grid; what is padded is background outside the image."""
        assert isinstance(outputs, list)
        return deeply_supervised(outputs, segmentation, self.labels, self.network.padded(self.patch))
