"""`unet`: nnU-Net's plain 2D U-Net from scratch, the baseline without SAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from samunet.networks.unet import build_unet
from samunet.planning.sections import UnetPlan
from samunet.planning.unet_rules import SMALLEST_BATCH, plan_unet
from samunet.variants.base import VariantContext
from samunet.variants.kinds import PatchVariant
from samunet.variants.losses import deeply_supervised
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay

MOMENTUM = 0.99
ITERATIONS = 1000


@dataclass(frozen=True)
class UnetSettings(TrainingSettings):
    """Settings of `unet`."""

    learning_rate: LearningRate = 1e-2
    weight_decay: WeightDecay = 3e-5


class UnetVariant(PatchVariant):
    """nnU-Net's `2d` configuration (Isensee et al., Nature Methods 18, 2021): topology, loss, optimiser, deep
    supervision.

    The Dice term is taken over the batch, as nnU-Net does in 2D. Deviation: the batch, see
    `planning.unet_rules.plan_unet`, and `training.length` where a run's minutes hold few iterations.
    """

    settings_type = UnetSettings
    settings: UnetSettings
    smallest_batch: ClassVar[int | None] = SMALLEST_BATCH

    @property
    def plan(self) -> UnetPlan:
        """Topology, patch and batch: the plan's, by nnU-Net's rules."""
        return _plan(self.context)

    @property
    def patch(self) -> tuple[int, int]:
        """The plan's."""
        rows, columns = self.plan.patch
        return rows, columns

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """The plan's."""
        return _plan(context).batch_size

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """See `Variant`."""
        return ITERATIONS

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        return build_unet(self.plan, len(self.context.dataset_plan.channel_names), self.labels.channels)

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """nnU-Net's: SGD with Nesterov momentum 0.99."""
        return torch.optim.SGD(parameters, self.learning_rate, momentum=MOMENTUM, nesterov=True,
                               weight_decay=self.weight_decay)

    def logits(self, inputs: Tensor) -> Tensor:
        """Patches float32 (B, C, rows, columns) -> logits (B, K, rows, columns)."""
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


def _plan(context: VariantContext) -> UnetPlan:
    return context.unet_plan or plan_unet(context.dataset_plan, context.labels.channels, dimensions=2)
