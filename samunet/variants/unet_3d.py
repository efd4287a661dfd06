"""`unet_3d`: nnU-Net's plain 3D U-Net from scratch, without SAM."""

from __future__ import annotations

from torch import nn

from samunet.inputs.patches_3d import Axes
from samunet.networks.unet import build_unet
from samunet.planning.sections import UnetPlan
from samunet.planning.unet_rules import plan_unet
from samunet.variants.base import VariantContext
from samunet.variants.patch3d_kind import Patch3dVariant
from samunet.variants.unet_training import UnetTraining


class Unet3dVariant(UnetTraining, Patch3dVariant):
    """nnU-Net's `3d_fullres` configuration (Isensee et al., Nature Methods 18, 2021): patch, topology, loss, optimiser,
    deep supervision.

    Deviations: the batch, see `planning.unet_rules.plan_unet`; the Dice term is taken over the batch, as in `unet`;
    augmentation is that of all 3D patches, see `Patch3dVariant`. The patch is this network's own, not that of the
    plan's `patches_3d`.
    """

    full_precision = False

    @property
    def unet(self) -> UnetPlan:
        """Topology, patch and batch, by nnU-Net's rules."""
        return _unet(self.context)

    @property
    def patch(self) -> Axes:
        """nnU-Net's."""
        z, y, x = self.unet.patch
        return z, y, x

    @classmethod
    def batch_size(cls, context: VariantContext) -> int:
        """nnU-Net's reference batch: 2."""
        return _unet(context).batch_size

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`."""
        return build_unet(self.unet, len(self.context.dataset_plan.channel_names), self.labels.channels)


def _unet(context: VariantContext) -> UnetPlan:
    return plan_unet(context.dataset_plan, context.labels.channels, dimensions=3)
