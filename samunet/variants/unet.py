"""`unet`: nnU-Net's plain 2D U-Net from scratch, the baseline without SAM."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from samunet.networks.unet import build_unet
from samunet.planning.sections import UnetPlan
from samunet.planning.unet_rules import SMALLEST_BATCH, plan_unet
from samunet.variants.base import VariantContext
from samunet.variants.kinds import PatchVariant
from samunet.variants.unet_training import UnetTraining


class UnetVariant(UnetTraining, PatchVariant):
    """nnU-Net's `2d` configuration (Isensee et al., Nature Methods 18, 2021): topology, loss, optimiser, deep
    supervision.

    The Dice term is taken over the batch, as nnU-Net does in 2D. Deviation: the batch, see
    `planning.unet_rules.plan_unet`, and `training.length` where a run's minutes hold few iterations.
    """

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

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        return build_unet(self.plan, len(self.context.dataset_plan.channel_names), self.labels.channels)


def _plan(context: VariantContext) -> UnetPlan:
    return context.unet_plan or plan_unet(context.dataset_plan, context.labels.channels, dimensions=2)
