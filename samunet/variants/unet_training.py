"""How nnU-Net trains its U-Net, on whatever patches: optimiser, deep supervision, length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from samunet.variants.base import TrainedVariant, VariantContext
from samunet.variants.losses import deeply_supervised
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay

MOMENTUM = 0.99
ITERATIONS = 1000


@dataclass(frozen=True)
class UnetSettings(TrainingSettings):
    """Settings of `unet` and its kin."""

    learning_rate: LearningRate = 1e-2
    weight_decay: WeightDecay = 3e-5


class UnetTraining(TrainedVariant):
    """A `PlainConvUNet` trained as nnU-Net does; a variant adds what it reads and builds."""

    settings_type = UnetSettings
    settings: UnetSettings

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """See `Variant`."""
        return ITERATIONS

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """nnU-Net's: SGD with Nesterov momentum 0.99."""
        return torch.optim.SGD(parameters, self.learning_rate, momentum=MOMENTUM, nesterov=True,
                               weight_decay=self.weight_decay)

    def logits(self, inputs: Tensor) -> Tensor:
        """Patches float32 (B, C, ...) -> logits (B, K, ...)."""
        return self.outputs(inputs)[0]

    def outputs(self, inputs: Tensor) -> list[Tensor]:
        """The logits of each decoder stage, finest first; one while the network is in evaluation mode."""
        decoder: Any = self.network.decoder
        decoder.deep_supervision = self.network.training
        logits = self.network(inputs)
        return logits if self.network.training else [logits]

    def loss(self, outputs: Tensor | list[Tensor], segmentation: Tensor) -> Tensor:
        """Deep supervision, in which the coarsest stage weighs nothing."""
        assert isinstance(outputs, list)
        return deeply_supervised(outputs[:-1] or outputs, segmentation, self.labels)
