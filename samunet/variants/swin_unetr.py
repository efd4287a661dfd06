"""`swin_unetr`: MONAI's Swin UNETR from scratch, without SAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.networks.padding_3d import cropped_to, padded_to, whole_steps
from samunet.variants.base import VariantContext
from samunet.variants.patch3d_kind import Patch3dVariant
from samunet.variants.settings import LearningRate, TrainingSettings, WeightDecay

ITERATIONS = 1000
WIDTH = 48  # as published
STEP = (32, 32, 32)  # voxels that become one of the deepest stage


@dataclass(frozen=True)
class SwinUnetrSettings(TrainingSettings):
    """Settings of `swin_unetr`."""

    learning_rate: LearningRate = 1e-4
    weight_decay: WeightDecay = 1e-5
    width: Annotated[int, Meta(ge=12, le=192, multiple_of=12,
                               description="channels of the first stage, a multiple of 12")] = WIDTH


class SwinUnetrVariant(Patch3dVariant):
    """Swin UNETR (Hatamizadeh et al., arXiv 2201.01266), MONAI's implementation, a row of MA-SAM's table.

    62,187,296 parameters for 1 channel and 14 classes, published as 62.2 M. Deviations: without pretrained weights;
    patches of the plan, padded inside to whole steps of 32 voxels, not 96 x 96 x 96; the house's loss, augmentation,
    length and falling rate.
    """

    settings_type = SwinUnetrSettings
    settings: SwinUnetrSettings

    @classmethod
    def iterations(cls, context: VariantContext) -> int:
        """See `Variant`."""
        return ITERATIONS

    def build_network(self) -> nn.Module:
        """See `TrainedVariant`.

        Raises:
            UserError: MONAI is not installed.
        """
        try:
            from monai.networks.nets.swin_unetr import SwinUNETR
        except ImportError as fault:
            raise UserError("swin_unetr needs the package monai.", where="swin_unetr",
                            found=f"it cannot be imported ({fault})",
                            mend="Install the extra: pip install 'samunet[monai]'.") from fault
        channels = len(self.context.dataset_plan.channel_names)
        return SwinUNETR(channels, self.labels.channels, feature_size=self.settings.width)

    def logits(self, inputs: Tensor) -> Tensor:
        """Patches float32 (B, C, z, y, x) -> logits (B, K, z, y, x)."""
        shape = inputs.shape[2:]
        return cropped_to(self.network(padded_to(inputs, whole_steps(shape, STEP))), shape)
